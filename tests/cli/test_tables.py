"""What a person reads after a sweep, and what was in vain: who may not win, and why."""

from __future__ import annotations

import io

from rich.console import Console

from gaelp_ray.cli.tables import leaderboard, remarks
from gaelp_ray.sweep.planning.plan import plan_sweep


def shown(show, *arguments, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width)
    show(*arguments, console)
    return console.file.getvalue()


def test_nothing_is_remarked_where_everything_applies(file):
    text = "method: grid\nparameters: {dual.shade: {values: [0.1]}}\ntrial: {agent_type: BayesDual}\n"
    assert shown(remarks, plan_sweep(file(text))) == ""


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
