"""Sweeps over an environment of one's own: what the plan refuses and remarks, and real sweeps on real Ray."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from gaelp_ray.checkpoint import Model, load_model, save_model
from gaelp_ray.cli.live import LiveSweep
from gaelp_ray.cli.main import main
from gaelp_ray.cli.tables import evaluation_table
from gaelp_ray.config import GAELPExperimentConfig, nest
from gaelp_ray.errors import SweepFileError
from gaelp_ray.evidence.intervals import summarise
from gaelp_ray.records import PER_FLIGHT, FlightTotals
from gaelp_ray.results import Candidate, TrialResult, TrialStatus
from gaelp_ray.sweep.listener import Silence
from gaelp_ray.sweep.outcome.eligibility import Eligibility
from gaelp_ray.sweep.outcome.final import final_stage
from gaelp_ray.sweep.outcome.race import Rules, Verdict
from gaelp_ray.sweep.outcome.reflight import _with_other_budgets
from gaelp_ray.sweep.outcome.selection import no_winner, select
from gaelp_ray.sweep.planning.applicability import inapplicable
from gaelp_ray.sweep.planning.constraints import constraints_of
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.sweep.session import ray_session
from gaelp_ray.sweep.store.folder import SweepFolder
from gaelp_ray.training import Stream, evaluate, flight_seed, make_untrained, train
from gaelp_ray.worlds import world_of

HEAD = "name: small\nmethod: grid\nmetric: {name: delivered_roas, goal: maximize}\n"
TRIAL = "trial:\n  env: shop:Shop\n  ppo.reference: none\n"
SWEPT = "parameters:\n  learning_rate: {values: [0.001, 0.01]}\n"

KEYS = {
    "method": "grid",
    "metric": {"name": "delivered_roas", "goal": "maximize"},
    "parameters": {"learning_rate": {"values": [0.001, 0.01]}},
    "trial": {"env": "shop:Shop", "num_episodes": 32, "batch_size": 16, "ppo.reference": "none"},
    "select": {"top_k": 2, "episodes": 300, "include_default": False, "min_delivery": 0.1},
    "tracking": {"mode": "disabled"},
}


@pytest.fixture
def refused(shop, tmp_path):
    """The lines that refuse a sweep file over a shop of this text."""

    def refused(text, changes=None):
        shop(changes)
        (tmp_path / "small.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(SweepFileError) as found:
            plan_sweep((tmp_path / "small.yaml").relative_to(tmp_path))
        return list(found.value.problems)

    return refused


@pytest.fixture
def gaelp_ray(monkeypatch, capsys):
    """Runs a command line: (exit code, stdout, stderr)."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["gaelp-ray", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return run


AT_ENV = "small.yaml:5:3: trial.env: "


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("shop:Shop", "shop", ["small.yaml:5:3: trial.env: 'shop' is no import path: write module:Class, such as"]),
        ("shop:Shop", "nowhere:Shop", [AT_ENV + "env 'nowhere:Shop': no module 'nowhere' in "]),
        ("shop:Shop", "shop:Shp", [AT_ENV + "env 'shop:Shp': shop ("]),
        ("  ppo.reference: none\n", "", [AT_ENV + "ppo.reference: PPO would correct BayesDual, which bids in markets"]),
        ("reference: none", "reference: PID", ["small.yaml:6:3: trial.ppo.reference: PPO would correct PID, which"]),
        ("ppo.reference: none", "ppo: {epochs: 2, reference: PID}", ["small.yaml:6:20: trial.ppo.reference: PPO"]),
        ("ppo.reference: none", "agent_type: PID", ["small.yaml:6:3: trial.agent_type: PID bids in markets only"]),
        ("ppo.reference: none", "agent_type: PPPO", ["small.yaml:6:3: trial.agent_type: unknown agent 'PPPO'"]),
        ("none\n", "none\n  num_episodes: 0\n", ["small.yaml:7:3: trial.num_episodes: 0 should be greater than or eq"]),
        ("learning_rate: {values: [0.001, 0.01]}", "env: {values: [shop:Shop, shop:Other]}",
         ["small.yaml:8:3: parameters.env: every trial of a sweep has the same env: put it under `trial`"]),
        ("learning_rate: {values: [0.001, 0.01]}", "agent_type: {values: [PPO, BayesDual, CEM]}",
         ["small.yaml:8:30: parameters.agent_type.values.1: BayesDual bids in markets only",
          "small.yaml:8:41: parameters.agent_type.values.2: CEM bids in markets only"]),
        ("learning_rate: {values: [0.001, 0.01]}", "ppo.reference: {value: PID}",
         ["small.yaml:8:3: parameters.ppo.reference: PPO would correct PID"]),
        ("learning_rate: {values: [0.001, 0.01]}", "ppo: {parameters: {reference: {values: [PID]}}}",
         ["small.yaml:8:43: parameters.ppo.parameters.reference.values.0: PPO would correct PID"]),
    ],
)  # fmt: skip
def test_what_cannot_fly_is_refused_at_its_place(refused, old, new, lines):
    text = HEAD + TRIAL + SWEPT
    assert old in text
    found = refused(text.replace(old, new))
    assert len(found) == len(lines)
    for line, expected in zip(found, lines, strict=True):
        assert line.startswith(expected)


def test_the_environment_is_flown_before_anything_starts(refused):
    (line,) = refused(HEAD + TRIAL + SWEPT, {'"revenue": self.revenue, ': ""})
    assert line == f"{AT_ENV}env 'shop:Shop': the last info of a flight has no 'revenue'; it has 'cost', 'budget'"


def test_a_control_arm_that_is_not_flown_need_not_fly(shop, tmp_path):
    shop()
    swept = "parameters:\n  ppo.reference: {values: [none]}\n"
    path = tmp_path / "small.yaml"
    path.write_text(f"{HEAD}trial: {{env: shop:Shop}}\n{swept}select: {{include_default: false}}\n", encoding="utf-8")
    (trial,) = plan_sweep(path).trials
    assert trial.config.ppo.reference == "none"


def test_fields_of_markets_do_not_apply(shop, tmp_path, gaelp_ray):
    shop()
    market = "  market: airfrance-search\n  departures: nominal\n  reward_function: regret\n  dual.shade: 0.1\n"
    swept = "parameters:\n  auction: {values: [first_price]}\n  learning_rate: {values: [0.1]}\n"
    path = tmp_path / "small.yaml"
    path.write_text(HEAD + TRIAL + market + swept, encoding="utf-8")
    found = {record.parameter: record for record in inapplicable(plan_sweep(path))}
    assert list(found) == ["auction", "market", "departures", "reward_function", "dual.shade"]
    assert found["auction"].text == "auction does not apply to shop:Shop, which is no market"
    assert found["dual.shade"].text.startswith("dual.shade does not apply to PPO without a reference")
    assert all(record.applies_to == () for record in found.values())
    code, out, _ = gaelp_ray("plan", path)
    assert code == 0
    assert "departures does not apply to shop:Shop, which is no market\n" in out
    assert "3 trials" not in out and "environment shop:Shop" in out and "flights of your own environment" in out


def test_a_sweep_and_its_model(shop, sweep_file, tmp_path, gaelp_ray):
    """What workers found is what one process finds; nothing shows NaN; the winner is used from its folder."""
    shop()
    path = sweep_file(**KEYS)
    code, out, _ = gaelp_ray("sweep", path)
    assert code == 0
    assert "nan" not in out and "optimality -" in out
    folder = tmp_path / "results/small"
    record = json.loads((folder / "selection.json").read_text())
    rows = {row["trial"]: row for row in record["leaderboard"]}
    for trial in plan_sweep(path).trials:
        env, agent = make_untrained(trial.config)
        assert len(list(train(env, agent, trial.config))) == 2
        raced = rows[trial.name]["race_flights"]
        flown = evaluate(agent, world_of(trial.config), raced, [0, Stream.SELECTION])
        assert rows[trial.name]["race_score"] == pytest.approx(flown.metrics.delivered_roas, rel=1e-6)
        if trial.name == record["winner"]["trial"]:
            flown = evaluate(agent, world_of(trial.config), 300, [0, Stream.CONFIRMATION, 0])
        assert rows[trial.name]["roas"] == pytest.approx(flown.metrics.roas, rel=1e-6)
        assert rows[trial.name]["delivery"] == pytest.approx(flown.metrics.delivery, rel=1e-6)
    assert len({row["roas"] for row in rows.values()}) == 2
    winner = record["winner"]["evaluation"]
    assert winner["optimality"] is None and 0.1 < winner["delivery"] < 1.0 and 1.5 < winner["roas"] < 2.5
    with (folder / "leaderboard.csv").open() as file:
        assert [row["optimality"] for row in csv.DictReader(file)] == ["", ""]
    card = (folder / "best/card.md").read_text()
    assert "| optimality | - |" in card and "the environment `shop:Shop`" in card and "nan" not in card

    # Not the worker's folder: the model is found from anywhere on this machine.
    assert load_model(folder / "best").market.folder == str(tmp_path)
    code, out, _ = gaelp_ray("best", "small", "-o", "mine")
    assert code == 0 and f"PPO for shop:Shop, ROAS {winner['roas']:.3f}" in out
    code, out, _ = gaelp_ray("evaluate", "mine", "--episodes", 64)
    assert code == 0 and "nan" not in out
    assert [line.split()[-1] for line in out.splitlines() if line.strip().startswith(("optimality", "CPC"))] == [
        "-"
    ] * 2
    code, out, err = gaelp_ray("evaluate", "mine", "--market", "airfrance-search")
    assert (code, out) == (2, "")
    assert err == "error: the model flies in the environment 'shop:Shop', no market: leave --market out\n"


def test_arms_that_cannot_be_re_flown_have_failed_and_the_others_are_compared(shop, sweep_file, tmp_path):
    # One flight of the final stage, which no plan and no trial knows, has a budget that grows with the cost. And the
    # largest bid costs less than nothing.
    seed = np.random.SeedSequence(flight_seed([0, Stream.SELECTION, 0])).generate_state(1)[0]
    changes = {
        "super().reset(seed=seed)": f"super().reset(seed=seed)\n        self.grows = float(seed == {seed})",
        '"cost": self.cost': '"cost": -1.0 if float(action[0]) == 9.0 else self.cost',
        '"budget": 50.0': '"budget": 50.0 + self.grows * self.cost',
    }
    shop(changes)
    plan = plan_sweep(sweep_file(**KEYS | {"select": {**KEYS["select"], "top_k": 3}}))
    trials = [untrained_trial(plan.trials[0].config.replace({"seed": n}), tmp_path / str(n)) for n in range(2)]
    trials.append(untrained_trial(plan.trials[0].config.replace({"seed": 2}), tmp_path / "dear", bias=10.0))
    with ray_session({}):
        selection, after = final_stage(plan, trials, Silence())
    assert selection.winner is not None and [arm.label for arm in selection.ranking] == ["0"]
    assert after[0] == trials[0] and [trial.status for trial in after[1:]] == [TrialStatus.FAILED] * 2
    assert [trial.error for trial in after[1:]] == [
        "in the final stage, its flights had other budgets than those of 0: no action may change a flight's budget",
        "in the final stage, OwnEnvError: env 'shop:Shop': the last info of a flight has cost -1.0, not a finite "
        "number of at least 0",
    ]


def untrained_trial(config, folder, bias=0.0):
    """A trial that left an untrained policy, whose action is shifted."""
    agent = make_untrained(config)[1]
    state = agent.state_dict()
    state["parameter_5"] = state["parameter_5"] + np.float32(bias)
    agent.load_state_dict(state)
    save_model(folder, Model(agent, config, world_of(config), {}))
    result = trial_result(folder.name, TrialStatus.COMPLETED, metrics={"expected_delivered_roas": 2.0})
    return replace(result, config=config.to_dict(), checkpoint=str(folder))


def trial_result(name, status, error=None, metrics=None):
    return TrialResult(name, status, {}, {"agent_type": "PPO"}, metrics=metrics, error=error)


def test_a_sweep_whose_trials_all_failed_says_why(shop, sweep_file):
    shop()
    plan = plan_sweep(sweep_file(**KEYS))
    trials = [trial_result(t.name, TrialStatus.FAILED, "OwnEnvError: no revenue") for t in plan.trials]
    selection, same = final_stage(plan, trials, Silence())
    assert (selection.winner, same) == (None, trials)
    assert selection.reason == "no eligible trial: 2 of 2 failed: OwnEnvError: no revenue"


def test_several_reasons_are_counted():
    failed = [trial_result(str(n), TrialStatus.FAILED, f"KeyError: {n % 2}") for n in range(3)]
    blind = trial_result("blind", TrialStatus.COMPLETED, metrics={"optimality": math.nan})
    assert no_winner([*failed, blind], "optimality").reason == (
        "no eligible trial: 1 of 4 measured no optimality, 3 of 4 failed: KeyError: 0; and 1 other reasons"
    )


def totals(budget, roas=2.0):
    cost = np.array([10.0, 12.0, 14.0])
    columns = {name: np.zeros(3) for name in PER_FLIGHT}
    return FlightTotals(
        5,
        **columns | {"cost": cost, "revenue": roas * cost, "expected_revenue": roas * cost, "budget": np.array(budget)},
    )


def test_arms_with_other_budgets_are_not_compared():
    flights = {"a": totals([20.0, 20.0, 20.0]), "b": totals([20.0, 20.0, 19.0]), "c": totals([20.0, 20.0, 20.0])}
    assert _with_other_budgets(flights) == {
        "b": "its flights had other budgets than those of a: no action may change a flight's budget"
    }
    assert _with_other_budgets({}) == {}


def test_without_a_budget_every_arm_may_win():
    flown = {f"roas{roas}": totals([0.0] * 3, roas) for roas in (2.0, 3.0)}
    arms = [Candidate(label, "candidate", summarise(flights, 0.95)) for label, flights in flown.items()]
    free, bound = Eligibility(0.9), Eligibility(0.9, constraints_of({"max_roas": 2.5}))
    certain = Rules(0.95, 6, free).sequence(2)
    assert [rule.certainly(flown["roas3.0"], certain) for rule in (free, bound)] == [True, False]
    selection = select(arms, Verdict("winner", "roas3.0"), free, 0.95)
    assert selection.winner is arms[1] and selection.ineligible == {}
    assert selection.reason == "roas3.0 has the highest delivered ROAS of the arms"
    bounded = select(arms, Verdict("winner", "roas2.0"), bound, 0.95)
    assert bounded.reason == "roas2.0 has the highest delivered ROAS of the arms that keep max_roas 2.5"


def test_what_was_not_measured_is_shown_as_a_dash(shop, tmp_path, gaelp_ray, capsys):
    shop()
    config = GAELPExperimentConfig(**nest(KEYS["trial"]))
    folder = SweepFolder.new(tmp_path / "results", "small")
    save_model(folder.best, Model(make_untrained(config)[1], config, world_of(config), {}))
    flown = summarise(totals([0.0] * 3), 0.95)
    folder.write_start({"name": "small"}, {})
    folder.write_end({"winner": {"trial": "a", "evaluation": flown.as_dict()}, "reason": "", "leaderboard": []}, [{}])
    code, out, _ = gaelp_ray("best", "small")
    assert code == 0 and "ROAS 2.000 (2.000 to 2.000), delivery -\n" in out
    evaluation_table(flown, world_of(config), Console(width=100))
    printed = capsys.readouterr().out
    assert "safety" not in printed  # counted against a market's limits, which there are none of
    lines = [line.split() for line in printed.splitlines()]
    assert [words[-1] for words in lines if words[0] in ("delivery", "optimality", "CTR", "CPC")] == ["-"] * 4
    live = io.StringIO()
    row = LiveSweep(plan_sweep(write(tmp_path)), Console(file=live, width=160))
    row.trial_changed("small-00", "completed", {"iterations": 2, "validation": flown.metrics.as_dict()})
    assert "[1/2] small-00 PPO completed 2/4 2.000 - -" in live.getvalue()


def write(folder):
    path = folder / "small.yaml"
    path.write_text(HEAD + TRIAL + SWEPT + "select: {include_default: false}\n", encoding="utf-8")
    return path
