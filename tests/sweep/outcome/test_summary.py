"""What a finished sweep says: leaderboard rows, selection.json, the W&B summary, the model's card."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from gaelp_ray.checkpoint import plain
from gaelp_ray.evidence.intervals import summarise
from gaelp_ray.records import PER_FLIGHT, SCORE, FlightTotals
from gaelp_ray.results import Candidate, Raced, RaceFacts, TrialResult, TrialStatus
from gaelp_ray.sweep.outcome import publishing, summary
from gaelp_ray.sweep.outcome.eligibility import Eligibility
from gaelp_ray.sweep.outcome.race import CONTROL, Verdict
from gaelp_ray.sweep.outcome.selection import select
from gaelp_ray.sweep.planning.constraints import constraints_of
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.sweep.store.folder import SweepFolder
from gaelp_ray.tracking.artifacts import Publication

COLUMNS = [
    *("rank", "trial", "role", "agent", "status", SCORE, f"{SCORE}_low", f"{SCORE}_high", "estimator"),
    *("roas", "roas_low", "roas_high", "delivery"),
    *(
        "optimality",
        "cpa",
        "ineligible",
        "search_score",
        "search_se",
        "reflown_score",
        "shrinkage",
        "rests_on",
        "flights",
        "race_flights",
        "race_score",
        "dropped_round",
        "dropped_by",
        "weights",
        "seeds",
        "config_id",
        "iterations",
        "env_steps",
        "seconds",
        "params",
        "error",
    ),
]


def trial(name: str, score: float, **fields) -> TrialResult:
    known = {
        "status": TrialStatus.COMPLETED,
        "params": {"dual.shade": score},
        "config": {"agent_type": "PPO"},
        "metrics": {SCORE: score, "delivered_roas": score},
        "iterations": 4,
        "env_steps": 1000,
        "seconds": 2.5,
    }
    return TrialResult(name, **(known | fields))


def arm(label: str, role: str, roas: float, delivery: float, result: TrialResult | None) -> Candidate:
    rng = np.random.default_rng(1)
    budget = rng.uniform(80.0, 120.0, 50)
    cost = delivery * budget
    revenue = roas * cost * rng.normal(1.0, 0.01, 50)
    sums = {"cost": cost, "revenue": revenue, "expected_revenue": revenue, "budget": budget}
    flights = FlightTotals(steps=168, **{name: np.ones(50) for name in PER_FLIGHT} | sums)
    race = Raced(256, 1.5, 2, "trip-00") if label == "trip-01" else Raced(300, roas + 0.5)
    weights = {"seed": 3, "kept": "best"}
    if role == "reference":
        return Candidate(label, role, summarise(flights, 0.9), confirmed=True)
    return Candidate(label, role, summarise(flights, 0.9), result, race, label != "trip-01", weights)


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
DELIVER = Eligibility(0.9)
FACTS = RaceFacts(arms=3, rounds=2, flights=600, budget=900, error=0.1)
WON = replace(select(ARMS, Verdict("winner", "trip-00", "above"), DELIVER, 0.9), race=FACTS)
TIED = select(ARMS, Verdict("tie", "trip-default", CONTROL, ("trip-00",)), DELIVER, 0.9)
LOST = select([ARMS[2]], Verdict("none", None), DELIVER, 0.9)


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
    record = summary.selection_record(plan, WON, board())
    read = json.loads(json.dumps(plain(record), allow_nan=False))
    assert (read["sweep"], read["decision"], read["winner"]["trial"]) == ("trip", "winner", "trip-00")
    assert read["winner"]["params"] == {"dual.shade": 5.0}
    assert read["winner"]["config"] == {"agent_type": "PPO"}
    assert read["winner"]["evaluation"]["confidence"] == 0.9
    low, high = read["winner"]["intervals"]["optimality"]
    assert low <= read["winner"]["evaluation"]["optimality"] <= high
    assert read["winner"]["intervals"]["roas"] == [
        read["winner"]["evaluation"][f"roas_{end}"] for end in ("low", "high")
    ]
    assert (read["versus_default"]["verdict"], read["versus_reference"]["verdict"]) == ("above", "above")
    assert read["versus_default"]["low"] < read["versus_default"]["difference"] < read["versus_default"]["high"]
    assert list(read["ineligible"]) == ["trip-01"]
    assert (read["episodes"], read["confidence"], read["min_delivery"]) == (1024, 0.95, 0.95)
    assert read["constraints"] == {}
    assert (read["metric"], len(read["leaderboard"])) == ("delivered_roas", 7)


def test_selection_record_without_a_winner_says_so(plan):
    record = summary.selection_record(plan, LOST, summary.rows(LOST, TRIALS, "delivered_roas", "maximize"))
    json.dumps(plain(record), allow_nan=False)
    assert (record["decision"], record["winner"]) == ("none", None)
    assert record["reason"].startswith("no eligible trial")
    assert record["versus_default"] is record["versus_reference"] is None


def test_summary_of_the_select_run(plan):
    logged = summary.run_summary(summary.selection_record(plan, WON, board()))
    assert (logged["decision"], logged["winner"]) == ("winner", "trip-00")
    assert logged["winner/roas"] == ARMS[1].evaluation.metrics.roas
    assert logged["winner/roas_low"] < logged["winner/roas"] < logged["winner/roas_high"]
    assert logged["reason"] == WON.reason


@pytest.mark.parametrize(
    "publication", [Publication("offline", "trip-best"), Publication("offline", None, "CommError: no answer")]
)
def test_the_decision_is_kept_with_what_wandb_has_of_it(plan, tmp_path, monkeypatch, publication):
    monkeypatch.setattr(publishing, "publish", lambda *_: publication)
    folder = SweepFolder.new(tmp_path, "trip")
    folder.path.mkdir()
    assert publishing.conclude(plan, None, folder, LOST, TRIALS) == publication
    expected = {"name": publication.artifact, "mode": "offline", "error": publication.error, "version": None}
    expected |= {"aliases": [], "gate": None}
    assert folder.read_selection()["artifact"] == expected and folder.read_selection()["reason"] == LOST.reason


def test_summary_of_the_select_run_without_a_winner(plan):
    record = summary.selection_record(plan, LOST, board())
    assert summary.run_summary(record) == {"decision": "none", "rule": "", "reason": LOST.reason}


def test_card_says_what_the_model_is_and_what_it_earned(plan):
    assert WON.winner is not None
    text = summary.card(plan, WON)
    metrics, interval = WON.winner.evaluation.metrics, WON.winner.evaluation.score_interval
    assert text.startswith("# trip-best\n")
    assert "PPO bidder for the market `airfrance-search`" in text
    assert "| value (90% interval) |" in text
    score = f"{metrics.expected_delivered_roas:.3f} ({interval.low:.3f} to {interval.high:.3f})"
    assert f"| score: delivered ROAS (realised revenue / budget) | {score} |" in text
    assert f"| ROAS (realised revenue / cost) | {metrics.roas:.3f} (" in text
    ends = summary.about.ends(WON.winner.evaluation)
    for name, value, form in [
        ("delivery", "95.0% of the budget", "{:.1%}"),
        ("cpa", f"{metrics.cpa:.2f} USD", "{:.2f}"),
    ]:
        low, high = ends[name]
        assert f"{value} ({form.format(low)} to {form.format(high)}) |" in text
    assert "- `dual.shade`: 5.0" in text
    assert WON.reason in text
    assert "gaelp-ray evaluate DIR" in text and 'load_best("DIR")' in text and "Limits" in text
    assert plan.market.hash in text and "Trained by" not in text
    assert "Trained by the W&B run `team/demo/trip-00-abc`." in summary.card(plan, WON, "team/demo/trip-00-abc")
    ahead = metrics.delivered_roas - ARMS[0].evaluation.metrics.delivered_roas
    row = f"{ahead:+.3f}; +1.000 in the search, on the flights that selected it |"
    assert f"| expected_delivered_roas above the default configuration | {row}" in text
    assert "flights that had no part in choosing" in text and "winner of the sweep `trip`" in text


def test_card_lists_only_parameters_that_the_kept_agent_reads(plan):
    sampled = {"agent_type": "BayesDual", "learning_rate": 0.01, "ppo.epochs": 2, "dual.shade": 5.0}
    kept = trial("trip-00", 5.0, params=sampled, config={"agent_type": "BayesDual"})
    won = select([arm("trip-00", "candidate", 5.0, 0.95, kept)], Verdict("winner", "trip-00"), DELIVER, 0.9)
    listed = summary.card(plan, won).partition("sweep chose\n\n")[2].partition("\n\n## Use")[0]
    assert listed == "- `agent_type`: BayesDual\n- `dual.shade`: 5.0"


def test_card_of_the_control_arm_names_no_parameters_and_a_tie_is_said(plan):
    text = summary.card(plan, TIED)
    assert "- all defaults" in text and "choice among equals of the sweep `trip`" in text and CONTROL in text


def test_a_tie_is_told_with_its_rule_and_whom_it_ties_with(plan):
    record = summary.selection_record(plan, TIED, board())
    assert (record["decision"], record["winner"]["trial"]) == ("tie", "trip-default")
    assert (record["rule"], record["tied"]) == (CONTROL, ["trip-00"])
    logged = summary.run_summary(record)
    assert (logged["decision"], logged["rule"], logged["tied"]) == ("tie", CONTROL, "trip-00")


def test_luck_is_what_did_not_last_of_the_advantage_over_the_control_arm(plan):
    fresh, of_control = (ARMS[n].evaluation.metrics.delivered_roas for n in (1, 0))
    record = summary.selection_record(plan, WON, board())
    names = ("search_score", "reflown_score", "search_advantage", "fresh_advantage", "shrinkage")
    winner = {name: record["winner"][name] for name in names}
    advantage = {"search_advantage": 1.0, "fresh_advantage": fresh - of_control}
    lost = {"shrinkage": pytest.approx(1.0 - (fresh - of_control))}
    assert winner == {"search_score": 5.0, "reflown_score": fresh} | advantage | lost
    assert record["winner"]["shrinkage"] == summary.run_summary(record)["winner/shrinkage"] == board()[0]["shrinkage"]
    # The reference line, the control arm, an arm that was not confirmed, and those that were not flown.
    assert [row["shrinkage"] for row in board()[1:]] == [None] * 6


def test_a_control_arm_that_is_selected_has_no_advantage_over_itself(plan):
    record = summary.selection_record(plan, TIED, board())
    assert record["winner"]["search_advantage"] is record["winner"]["shrinkage"] is None
    assert "above the default configuration" not in summary.card(plan, TIED)


def test_row_says_what_its_numbers_rest_on_and_how_its_race_went():
    names = ("rests_on", "flights", "race_flights", "race_score", "dropped_round", "dropped_by", "weights")
    won, line, _, dropped, other = (tuple(row[name] for name in names) for row in board()[:5])
    assert won == ("confirmation", 50, 300, 5.5, None, "", {"seed": 3, "kept": "best"})
    assert line == ("confirmation", 50, 0, None, None, "", {})
    assert dropped == ("race", 50, 256, 1.5, 2, "trip-00", {"seed": 3, "kept": "best"})
    assert other == ("", 0, 0, None, None, "", {})


def test_what_the_race_took_is_recorded(plan):
    record = summary.selection_record(plan, WON, board())
    assert record["race"] == {"arms": 3, "rounds": 2, "flights": 600, "budget": 900, "error": 0.1, "attempt": 1}
    assert summary.run_summary(record)["race/flights"] == 600
    assert summary.selection_record(plan, LOST, board())["race"] is None


def test_summary_of_a_sweep_that_was_decided_by_an_earlier_version(plan):
    record = summary.selection_record(plan, WON, board())
    for name in ("race", "rule", "tied"):
        del record[name]
    for name in ("search_score", "reflown_score", "shrinkage"):
        del record["winner"][name]
    assert summary.run_summary(record)["winner"] == "trip-00"


def test_trials_that_were_not_flown_are_listed_best_first_for_either_goal():
    nobody = LOST.__class__((), {}, None, "none completed")
    trials = [
        TrialResult(f"t{cpa}", TrialStatus.COMPLETED, {}, {"agent_type": "PPO"}, metrics={"cpa": cpa})
        for cpa in (90.0, 10.0, 50.0)
    ]
    assert [row["search_score"] for row in summary.rows(nobody, trials, "cpa", "minimize")] == [10.0, 50.0, 90.0]
    assert [row["search_score"] for row in summary.rows(nobody, trials, "cpa", "maximize")] == [90.0, 50.0, 10.0]
