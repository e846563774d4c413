"""What a finished sweep says: leaderboard rows, selection.json, the W&B summary, the model's card."""

import json
import math

import numpy as np
import pytest

from gaelp_ray.checkpoint import plain
from gaelp_ray.records import PER_FLIGHT, FlightTotals
from gaelp_ray.results import Candidate, TrialResult, TrialStatus
from gaelp_ray.sweep.outcome import summary
from gaelp_ray.sweep.outcome.selection import select
from gaelp_ray.sweep.planning.constraints import constraints_of
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.tracking.artifacts import Publication
from gaelp_ray.training import summarise

COLUMNS = [
    *("rank", "trial", "role", "agent", "status", "roas", "roas_low", "roas_high", "delivery", "delivered_roas"),
    *(
        "optimality",
        "cpa",
        "ineligible",
        "search_score",
        "search_se",
        "seeds",
        "config_id",
        "iterations",
        "env_steps",
        "seconds",
        "params",
        "error",
    ),
]
OFFLINE = Publication("offline", "trip-best")


def trial(name: str, score: float, **fields) -> TrialResult:
    known = {
        "status": TrialStatus.COMPLETED,
        "params": {"dual.shade": score},
        "config": {"agent_type": "PPO"},
        "metrics": {"delivered_roas": score},
        "iterations": 4,
        "env_steps": 1000,
        "seconds": 2.5,
    }
    return TrialResult(name, **(known | fields))


def arm(label: str, role: str, roas: float, delivery: float, result: TrialResult | None) -> Candidate:
    rng = np.random.default_rng(1)
    budget = rng.uniform(80.0, 120.0, 50)
    cost = delivery * budget
    sums = {"cost": cost, "revenue": roas * cost * rng.normal(1.0, 0.01, 50), "budget": budget}
    flights = FlightTotals(steps=168, **{name: np.ones(50) for name in PER_FLIGHT} | sums)
    return Candidate(label, role, summarise(flights, 0.9), result)


TRIALS = [
    trial("trip-default", 4.0, is_default=True, params={}),
    trial("trip-00", 5.0),
    trial("trip-01", 9.0),
    trial("trip-02", 1.0),
    trial("trip-03", 2.0),
    trial("trip-04", math.nan, status=TrialStatus.FAILED, error="ValueError: diverged", metrics=None),
]
ARMS = [
    arm("trip-default", "default", 4.0, 0.95, TRIALS[0]),
    arm("trip-00", "candidate", 5.0, 0.95, TRIALS[1]),
    arm("trip-01", "candidate", 60.0, 0.01, TRIALS[2]),
    arm("line", "reference", 4.5, 0.99, None),
]
WON = select(ARMS, 0.9, 0.9)
LOST = select([ARMS[2]], 0.9, 0.9)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "trip.yaml"
    path.write_text("method: random\nrun_cap: 5\nparameters: {dual.shade: {min: 0.0, max: 2.0}}\n", encoding="utf-8")
    return plan_sweep(path)


def board():
    return summary.rows(WON, TRIALS, "delivered_roas", "maximize")


def test_flown_arms_come_first_in_their_ranking_then_the_others_by_search_score():
    labels = [row["trial"] for row in board()]
    assert labels == ["trip-00", "line", "trip-default", "trip-01", "trip-03", "trip-02", "trip-04"]
    assert [row["rank"] for row in board()] == [1, 2, 3, 4, 5, 6, 7]


def test_every_row_has_every_column_in_one_order():
    assert {tuple(row) for row in board()} == {tuple(COLUMNS)}


def test_row_of_a_flown_arm_holds_its_flights_and_its_trial():
    row = board()[0]
    evaluation = ARMS[1].evaluation
    assert row["role"] == "candidate"
    assert row["roas"] == evaluation.metrics.roas
    assert (row["roas_low"], row["roas_high"]) == (evaluation.roas_interval.low, evaluation.roas_interval.high)
    assert row["delivery"] == pytest.approx(0.95)
    assert (row["search_score"], row["params"], row["env_steps"]) == (5.0, {"dual.shade": 5.0}, 1000)


def test_row_of_the_reference_line_has_no_trial():
    row = board()[1]
    assert (row["role"], row["agent"], row["search_score"], row["params"]) == ("reference", "BayesDual", None, {})


def test_row_of_an_ineligible_arm_says_why():
    assert board()[3]["ineligible"].startswith("delivers 1.00% of the budget, below min_delivery")
    assert [row["trial"] for row in board() if row["ineligible"]] == ["trip-01"]


def test_row_of_a_trial_that_was_not_flown_has_no_roas():
    row = board()[4]
    assert (row["role"], row["roas"], row["search_score"], row["error"]) == ("not re-flown", None, 2.0, "")


def test_row_of_a_trial_that_was_passed_over_says_what_it_broke_in_validation():
    bound = constraints_of({"min_delivered_roas": 1.5})
    said = {row["trial"]: row["ineligible"] for row in summary.rows(WON, TRIALS, "delivered_roas", "maximize", bound)}
    assert said["trip-02"] == "in validation, delivered_roas 1.00 is below min_delivered_roas 1.5"
    assert said["trip-03"] == said["trip-04"] == ""
    assert said["trip-01"] == WON.ineligible["trip-01"]


def test_row_of_a_failed_trial_has_its_reason():
    row = board()[-1]
    assert (row["trial"], row["status"], row["error"]) == ("trip-04", "failed", "ValueError: diverged")


def test_leaderboard_of_wandb_has_texts_and_numbers_only():
    leaderboard = summary.table(board())
    assert leaderboard.columns == COLUMNS
    assert len(leaderboard.rows) == 7
    kinds = {type(cell) for row in leaderboard.rows for cell in row}
    assert kinds <= {int, float, str, type(None)}
    assert leaderboard.rows[0][COLUMNS.index("params")] == "dual.shade=5.0"


def test_selection_record_is_strict_json_with_the_decision(plan):
    record = summary.selection_record(plan, WON, board(), OFFLINE)
    read = json.loads(json.dumps(plain(record), allow_nan=False))
    assert (read["sweep"], read["decision"], read["winner"]["trial"]) == ("trip", "winner", "trip-00")
    assert read["winner"]["params"] == {"dual.shade": 5.0}
    assert read["winner"]["config"] == {"agent_type": "PPO"}
    assert read["winner"]["evaluation"]["confidence"] == 0.9
    assert (read["versus_default"]["verdict"], read["versus_reference"]["verdict"]) == ("above", "above")
    assert read["versus_default"]["low"] < read["versus_default"]["difference"] < read["versus_default"]["high"]
    assert list(read["ineligible"]) == ["trip-01"]
    assert (read["episodes"], read["confidence"], read["min_delivery"]) == (2048, 0.95, 0.9)
    assert read["constraints"] == {}
    assert (read["metric"], len(read["leaderboard"])) == ("delivered_roas", 7)
    assert read["artifact"] == {"name": "trip-best", "mode": "offline", "error": None}


def test_selection_record_without_a_winner_says_so(plan):
    nothing = Publication("offline", None, "CommError: no answer")
    record = summary.selection_record(plan, LOST, summary.rows(LOST, TRIALS, "delivered_roas", "maximize"), nothing)
    json.dumps(plain(record), allow_nan=False)
    assert (record["decision"], record["winner"]) == ("none", None)
    assert record["reason"].startswith("no eligible trial")
    assert record["versus_default"] is record["versus_reference"] is None
    assert record["artifact"]["error"] == "CommError: no answer"


def test_summary_of_the_select_run():
    logged = summary.run_summary(WON)
    assert (logged["decision"], logged["winner"]) == ("winner", "trip-00")
    assert logged["winner/roas"] == ARMS[1].evaluation.metrics.roas
    assert logged["winner/roas_low"] < logged["winner/roas"] < logged["winner/roas_high"]
    assert logged["reason"] == WON.reason


def test_summary_of_the_select_run_without_a_winner():
    assert summary.run_summary(LOST) == {"decision": "none", "reason": LOST.reason}


def test_card_says_what_the_model_is_and_what_it_earned(plan):
    assert WON.winner is not None
    text = summary.card(plan, WON.winner, WON.reason)
    metrics, interval = WON.winner.evaluation.metrics, WON.winner.evaluation.roas_interval
    assert text.startswith("# trip-best\n")
    assert "PPO bidder for the market `airfrance-search`" in text
    assert f"ROAS | {metrics.roas:.3f} (90% interval {interval.low:.3f} to {interval.high:.3f})" in text
    assert "95.0% of the budget" in text
    assert f"{metrics.cpa:.2f} USD" in text
    assert "- `dual.shade`: 5.0" in text
    assert WON.reason in text
    assert "gaelp-ray evaluate" in text


def test_card_of_the_control_arm_names_no_parameters(plan):
    assert "- all defaults" in summary.card(plan, ARMS[0], "it won")


def test_trials_that_were_not_flown_are_listed_best_first_for_either_goal():
    nobody = LOST.__class__((), {}, None, "none completed")
    trials = [
        TrialResult(f"t{cpa}", TrialStatus.COMPLETED, {}, {"agent_type": "PPO"}, metrics={"cpa": cpa})
        for cpa in (90.0, 10.0, 50.0)
    ]
    assert [row["search_score"] for row in summary.rows(nobody, trials, "cpa", "minimize")] == [10.0, 50.0, 90.0]
    assert [row["search_score"] for row in summary.rows(nobody, trials, "cpa", "maximize")] == [90.0, 50.0, 10.0]
