"""What a person reads before a sweep and after it: the final stage's bounds, parameters in vain, who may not win."""

from __future__ import annotations

import io
import json
import sys

import pytest
from rich.console import Console

from gaelp_ray.cli.main import main
from gaelp_ray.cli.tables import leaderboard, plan_table, remarks
from gaelp_ray.sweep.plan import plan_sweep

BASE = "method: grid\nparameters:\n  agent_type: {values: [PPO, BayesDual]}\n  ppo.epochs: {values: [2]}\n"
IN_VAIN = "ppo.epochs does not apply to BayesDual: BayesDual reads dual.*"


@pytest.fixture
def file(tmp_path):
    def write(text: str):
        path = tmp_path / "trip.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def shown(show, *arguments, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width)
    show(*arguments, console)
    return console.file.getvalue()


def planned(path, width: int = 160) -> list[str]:
    return shown(plan_table, plan_sweep(path), width=width).splitlines()


@pytest.mark.parametrize(
    ("select", "line"),
    [
        ("{}", "final stage: best 5 and the control arm on 2,048 fresh flights, delivery at least 90%"),
        (
            "{constraints: {max_cpa: 200, min_ctr: 0.01}}",
            "final stage: best 5 and the control arm on 2,048 fresh flights, delivery at least 90%, max_cpa 200, "
            "min_ctr 0.01",
        ),
        ("{include_default: false, top_k: 2}", "final stage: best 2 on 2,048 fresh flights, delivery at least 90%"),
    ],
)
def test_plan_says_what_the_final_stage_asks_of_a_winner(file, select, line):
    assert line in planned(file(f"{BASE}select: {select}\n"))


@pytest.mark.parametrize("width", [40, 160])
def test_plan_says_which_parameters_do_not_apply_one_in_a_line(file, width):
    lines = planned(file(f"{BASE}trial: {{num_episodes: 64}}\nprogram: x.py\n"), width)
    assert lines[-3:] == [
        "not used here (keys of W&B's launcher): program",
        IN_VAIN,
        "num_episodes does not apply to BayesDual, which learns nothing",
    ]


def test_nothing_is_remarked_where_everything_applies(file):
    text = "method: grid\nparameters: {dual.shade: {values: [0.1]}}\ntrial: {agent_type: BayesDual}\n"
    assert shown(remarks, plan_sweep(file(text))) == ""


def test_plan_as_json_has_the_constraints_and_what_does_not_apply(file, monkeypatch, capsys):
    path = file(f"{BASE}select: {{constraints: {{max_cpa: 200}}}}\n")
    monkeypatch.setattr(sys, "argv", ["gaelp-ray", "plan", str(path), "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    facts = json.loads(capsys.readouterr().out)
    assert not ended.value.code
    assert facts["sweep"]["select"]["constraints"] == {"max_cpa": 200}
    assert facts["inapplicable"] == [
        {
            "parameter": "ppo.epochs",
            "agents": ["BayesDual"],
            "applies_to": ["PPO on BayesDual"],
            "text": IN_VAIN,
        }
    ]


MEASURED = {"roas": 5.0, "roas_low": 4.0, "roas_high": 6.0, "delivery": 0.95, "optimality": 0.9}


def row(trial: str, role: str, ineligible: str) -> dict:
    rest = {"rank": 1, "agent": "PPO", "status": "completed", "search_score": 5.0, "error": ""}
    measured = dict.fromkeys(MEASURED) if role == "not re-flown" else MEASURED
    return {"trial": trial, "role": role, "ineligible": ineligible, **rest, **measured}


def test_leaderboard_says_what_an_arm_breaks():
    dear = "cpa 213.40 is above max_cpa 200"
    rows = [row("a", "candidate", ""), row("b", "candidate", dear), row("c", "not re-flown", f"in validation, {dear}")]
    a, b, c = shown(leaderboard, rows, width=200).splitlines()[1:]
    assert "not eligible" not in a and "●" in a
    assert f"not eligible: {dear}" in b and "●" not in b
    assert f"not eligible: in validation, {dear}" in c
