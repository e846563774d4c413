"""What a final stage's outcome is: the best return on the budget among eligible arms, compared on common flights."""

import math

import numpy as np
import pytest

from gaelp_ray.agents import make_agent, reference_bidder
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.evidence.intervals import summarise
from gaelp_ray.market import load_market
from gaelp_ray.records import PER_FLIGHT, FlightTotals
from gaelp_ray.results import Candidate, Raced, Selection, TrialResult, TrialStatus
from gaelp_ray.sweep.outcome import selection as module
from gaelp_ray.sweep.outcome.eligibility import Eligibility
from gaelp_ray.sweep.outcome.race import CONTROL, Rules, Verdict, decide, race
from gaelp_ray.sweep.outcome.selection import finalists, next_finalists
from gaelp_ray.sweep.planning.constraints import constraints_of
from gaelp_ray.training import Stream, evaluate

FLIGHTS = 200
rng = np.random.default_rng(5)
BUDGET = rng.uniform(80.0, 120.0, FLIGHTS)
LUCK = rng.gamma(4.0, 0.25, FLIGHTS)  # what a flight's hidden market gives to every bidder alike


def totals(cost: np.ndarray, revenue: np.ndarray, budget: np.ndarray) -> FlightTotals:
    given = {"cost": cost, "revenue": revenue, "expected_revenue": revenue, "budget": budget}
    return FlightTotals(steps=168, **{name: np.ones(len(cost)) for name in PER_FLIGHT} | given)


def flown(roas: float, delivery: float = 0.95, own: float = 0.02, seed: int = 0) -> FlightTotals:
    """Flights with that ROAS in the long run: the common luck of each flight, and a little of the arm's own."""
    own_luck = np.random.default_rng(seed).normal(1.0, own, FLIGHTS)
    cost = delivery * BUDGET
    return totals(cost, roas * cost * LUCK * own_luck, BUDGET)


def arm(label: str, totals: FlightTotals, role: str = "candidate", config=None) -> Candidate:
    trial = TrialResult(label, TrialStatus.COMPLETED, {}, config or {}, is_default=role == "default")
    return Candidate(label, role, summarise(totals, 0.95), None if role == "reference" else trial)


def select(arms, min_delivery: float, confidence: float, constraints=()) -> Selection:
    """The outcome of a race of one round, in which these arms have flown these flights."""
    eligibility = Eligibility(min_delivery, constraints)
    racing = {a.label: a.evaluation.totals for a in arms if a.role != "reference"}
    control = next((a.label for a in arms if a.role == "default"), None)
    verdict = Verdict("none", None)
    if racing:
        rules = Rules(confidence, FLIGHTS * len(racing), eligibility, round=FLIGHTS)
        run = race(list(racing), rules, lambda left, number, flights: {label: racing[label] for label in left})
        verdict = decide(run, control, {})
    return module.select(arms, verdict, eligibility, confidence)


def trial(name: str, score: float | None, **fields) -> TrialResult:
    metrics = None if score is None else {"expected_roas": score, "cpa": score}
    known = {"status": TrialStatus.COMPLETED, "params": {}, "config": {"name": name}, "metrics": metrics}
    return TrialResult(name, **(known | fields))


ANY = Eligibility(0.0)


def names(results) -> list[str]:
    return [result.trial for result in results]


def test_finalists_are_the_best_by_search_score():
    results = [trial("a", 1.0), trial("b", 3.0), trial("c", 2.0), trial("d", 4.0)]
    assert names(finalists(results, "roas", "maximize", 2, ANY)) == ["d", "b"]


def test_finalists_of_a_metric_to_minimise_are_the_lowest():
    results = [trial("a", 1.0), trial("b", 3.0), trial("c", 2.0)]
    assert names(finalists(results, "cpa", "minimize", 2, ANY)) == ["a", "c"]


@pytest.mark.parametrize(
    "loser",
    [
        trial("x", 99.0, status=TrialStatus.FAILED, error="ValueError"),
        trial("x", 99.0, status=TrialStatus.INTERRUPTED),
        trial("x", math.nan),
        trial("x", math.inf),
        trial("x", None),
    ],
    ids=["failed", "interrupted", "nan", "infinite", "unmeasured"],
)
@pytest.mark.parametrize("is_default", [False, True])
def test_trial_without_a_finished_measurement_is_never_final(loser, is_default):
    loser = TrialResult(**{**vars(loser), "is_default": is_default})
    assert names(finalists([loser, trial("a", 1.0)], "roas", "maximize", 5, ANY)) == ["a"]


def test_control_arm_is_final_whatever_its_score():
    results = [trial("default", 0.1, is_default=True), *(trial(str(n), float(n)) for n in range(5))]
    assert names(finalists(results, "roas", "maximize", 2, ANY)) == ["4", "3", "default"]


def test_one_configuration_counts_once_with_its_better_score():
    same = {"ppo": {"epochs": 2}, "seed": 0}
    turned = {"seed": 0, "ppo": {"epochs": 2}}
    results = [trial("a", 3.0, config=same), trial("b", 4.0, config=turned), trial("c", 1.0), trial("d", 2.0)]
    assert names(finalists(results, "roas", "maximize", 2, ANY)) == ["b", "d"]


def test_winner_has_the_best_roas_and_the_ranking_falls():
    selection = select([arm("low", flown(4.0)), arm("high", flown(6.0)), arm("mid", flown(5.0))], 0.9, 0.95)
    assert selection.winner is not None
    assert selection.winner.label == "high"
    assert [c.label for c in selection.ranking] == ["high", "mid", "low"]
    assert not selection.ineligible


def test_near_zero_bidder_of_the_simulator_has_the_best_roas_and_loses():
    market = load_market("airfrance-search")
    miser = GAELPExperimentConfig(agent_type="constant", constant={"bid_multiplier": 0.05})
    agents = {"miser": make_agent(miser, market.landscape), "honest": reference_bidder(market.landscape)}
    seeds = [0, Stream.SELECTION]
    arms = [Candidate(label, "candidate", evaluate(agent, market, 32, seeds)) for label, agent in agents.items()]
    selection = select(arms, 0.9, 0.95)
    assert arms[0].evaluation.metrics.roas > 2 * arms[1].evaluation.metrics.roas
    assert selection.winner is arms[1]
    assert list(selection.ineligible) == ["miser"]
    assert selection.ineligible["miser"].startswith("delivers 0.3")
    assert [c.label for c in selection.ranking] == ["honest", "miser"]


def test_arm_that_spent_nothing_is_ineligible_even_if_nothing_need_be_delivered():
    selection = select([arm("idle", flown(5.0, delivery=0.0)), arm("poor", flown(1.0, delivery=0.1))], 0.0, 0.95)
    assert selection.winner is not None
    assert selection.winner.label == "poor"
    assert "spent nothing" in selection.ineligible["idle"]


def test_nobody_eligible_means_no_winner_and_every_reason():
    selection = select([arm("a", flown(9.0, delivery=0.1)), arm("b", flown(5.0, delivery=0.0))], 0.9, 0.95)
    assert selection.winner is None
    assert selection.reason.startswith("no eligible trial: all 2 evaluated arms are ineligible: ")
    assert "a (delivers 10.00% of the budget" in selection.reason
    assert "b (spent nothing" in selection.reason
    assert selection.versus_default is selection.versus_reference is None


def test_no_arm_at_all_means_no_winner():
    selection = select([], 0.9, 0.95)
    assert (selection.winner, selection.ranking) == (None, ())
    assert "none completed" in selection.reason


def test_equal_arms_are_called_a_tie_which_keeps_the_control_arm():
    selection = select([arm("a", flown(5.0, seed=2)), arm("default", flown(5.0, seed=1), "default")], 0.9, 0.95)
    assert selection.winner is not None
    assert (selection.winner.label, selection.decision, selection.tied) == ("default", "tie", ("a",))
    assert selection.rule == CONTROL and selection.versus_default is None
    assert selection.reason == (
        "tie between default and a among the arms that deliver the budget; selected default by tie-break: control arm; "
        "it is the default configuration: no trial is certainly better"
    )


def test_who_was_kept_is_compared_with_the_control_arm_on_the_flights_that_confirm_it():
    arms = [arm("a", flown(5.0, seed=2)), arm("default", flown(5.0, seed=1), "default")]
    selection = module.select(arms, Verdict("winner", "a"), Eligibility(0.9), 0.95)
    assert selection.versus_default is not None and selection.versus_default.verdict == "tie"
    assert "tie with the default configuration (+0." in selection.reason


def test_ranking_has_who_was_kept_first_then_who_was_never_dropped():
    told = {"kept": (5.0, None), "open": (4.9, None), "early": (6.0, 1), "late": (4.0, 3)}
    arms = [
        Candidate(label, "candidate", summarise(flown(roas), 0.95), race=Raced(256, roas, dropped))
        for label, (roas, dropped) in told.items()
    ]
    selection = module.select(arms, Verdict("tie", "kept", tied=("open",)), Eligibility(0.9), 0.95)
    assert [c.label for c in selection.ranking] == ["kept", "open", "early", "late"]


def test_bounds_on_sums_are_judged_on_the_flights_that_confirm_alone():
    bound = Eligibility(0.9, constraints_of({"max_cost": 1.0}))
    for confirmed in (False, True):
        arms = [Candidate("a", "candidate", summarise(flown(5.0), 0.95), confirmed=confirmed)]
        selection = module.select(arms, Verdict("winner", "a"), bound, 0.95)
        assert bool(selection.ineligible) == confirmed


def test_faults_that_are_known_are_told_although_the_flights_do_not_show_them():
    arms = [arm("a", flown(5.0)), arm("b", flown(6.0))]
    known = {"b": "when confirmed, it delivers too little"}
    selection = module.select(arms, Verdict("winner", "a"), Eligibility(0.9), 0.95, known)
    assert selection.ineligible == known and [c.label for c in selection.ranking] == ["a", "b"]


def test_clear_difference_to_the_control_arm_is_called_above():
    selection = select([arm("a", flown(5.2, seed=1)), arm("default", flown(5.0, seed=2), "default")], 0.9, 0.95)
    assert selection.versus_default is not None
    assert selection.versus_default.verdict == "above"
    assert selection.versus_default.difference == pytest.approx(0.2, abs=0.05)
    assert "above the default configuration (+0." in selection.reason


def test_winning_control_arm_is_said_to_be_the_default():
    selection = select([arm("a", flown(4.5)), arm("default", flown(5.0), "default")], 0.9, 0.95)
    assert selection.winner is not None
    assert selection.winner.label == "default"
    assert selection.versus_default is None
    assert selection.reason.endswith("it is the default configuration: no trial is certainly better")


@pytest.mark.parametrize(
    ("roas", "words"),
    [
        (5.5, "below BayesDual with its default constants (-0."),
        (4.5, "above BayesDual with its default constants (+0."),
    ],
)
def test_winner_is_measured_against_the_reference_line_which_never_wins(roas, words):
    selection = select([arm("a", flown(5.0, seed=1)), arm("line", flown(roas, seed=2), "reference")], 0.9, 0.95)
    assert selection.winner is not None
    assert selection.winner.label == "a"
    assert words in selection.reason
    assert {c.label for c in selection.ranking} == {"a", "line"}


def test_reference_line_is_not_among_the_reasons_why_nobody_won():
    arms = [arm("a", flown(9.0, delivery=0.1)), arm("line", flown(5.0, delivery=0.1), "reference")]
    selection = select(arms, 0.9, 0.95)
    assert list(selection.ineligible) == ["a", "line"]
    assert "a (delivers" in selection.reason and "line" not in selection.reason


def test_reference_line_alone_is_no_winner():
    assert select([arm("line", flown(5.0), "reference")], 0.9, 0.95).winner is None


def test_control_arm_that_spent_nothing_is_beaten_by_all_that_was_earned():
    idle = totals(np.zeros(FLIGHTS), np.zeros(FLIGHTS), BUDGET)
    selection = select([arm("a", flown(5.0)), arm("d", idle, "default")], 0.0, 0.95)
    earned = flown(5.0).pooled().delivered_roas
    assert selection.versus_default is not None and selection.versus_default.difference == pytest.approx(earned)
    assert "nan" not in selection.reason and "which is not eligible: spent nothing" in selection.reason


def test_baseline_with_equal_flights_is_called_the_same_bidder_and_not_a_tie():
    selection = select([arm("a", flown(5.0)), arm("line", flown(5.0), "reference")], 0.9, 0.95)
    assert selection.reason.endswith("; it bids the same as BayesDual with its default constants")


def test_underspender_with_the_best_roas_ranks_below_the_arm_that_earns_more():
    """5 % more ROAS on 91.5 % of the budget: 3.9 % less revenue."""
    saver, honest = arm("saver", flown(5.25, delivery=0.915)), arm("honest", flown(5.0, delivery=1.0))
    selection = select([saver, honest], 0.9, 0.95)
    assert saver.evaluation.metrics.roas > honest.evaluation.metrics.roas
    assert not selection.ineligible and selection.decision == "winner" and selection.winner is honest


@pytest.mark.parametrize(("delivery", "bound", "words"), [(0.8999, 0.9, "89.99%"), (0.97, 0.975, "min_delivery 97.5%")])
def test_a_near_miss_is_not_rounded_away(delivery, bound, words):
    selection = select([arm("a", flown(5.0, delivery=delivery))], bound, 0.95)
    assert words in selection.ineligible["a"]


# Flights of flown() have one conversion each, at a cost of 0.95 x budget: a CPA of about 95 at ROAS 1 and at ROAS 9.
CPA = flown(5.0).pooled().cpa
DEAR = flown(9.0, delivery=1.2)
MAX_CPA = constraints_of({"max_cpa": round(CPA * 1.1, 2)})
NEAR = flown(9.0, delivery=1.07)


def test_arm_that_breaks_a_constraint_has_the_best_roas_and_does_not_win():
    arms = [arm("dear", DEAR), arm("kept", flown(5.0)), arm("poor", flown(4.0))]
    unbound, bound = select(arms, 0.9, 0.95), select(arms, 0.9, 0.95, MAX_CPA)
    assert unbound.winner is arms[0]
    assert bound.winner is arms[1]
    said = f"cpa {DEAR.pooled().cpa:.2f} is above max_cpa {MAX_CPA[0].bound}"
    assert bound.ineligible == {"dear": said}
    assert [c.label for c in bound.ranking] == ["kept", "poor", "dear"]
    assert bound.reason == (
        f"kept has the highest delivered ROAS of the arms that deliver the budget and keep max_cpa {MAX_CPA[0].bound}"
    )


def test_arm_that_breaks_a_constraint_by_a_little_leaves_it_open_who_is_best():
    selection = select([arm("near", NEAR), arm("kept", flown(5.0))], 0.9, 0.95, MAX_CPA)
    assert selection.decision == "tie" and selection.winner is not None and selection.winner.label == "kept"
    assert selection.reason == (
        "tie between kept and near: kept is the only arm that keeps all bounds so far, the others may still turn out "
        "to be eligible"
    )


def test_all_reasons_of_an_arm_are_said_together():
    constraints = constraints_of({"min_roas": 20.0, "max_ctr": 0.5})
    selection = select([arm("a", flown(5.0, delivery=0.5))], 0.9, 0.95, constraints)
    roas = flown(5.0, delivery=0.5).pooled().roas
    assert selection.winner is None
    assert selection.reason == (
        "no eligible trial: a (delivers 50.00% of the budget, below min_delivery 90%; "
        f"roas {roas:.2f} is below min_roas 20.0 and ctr 1.00 is above max_ctr 0.5). The largest delivery seen is "
        "50.0% (a): give the market a budget that it can spend (`gaelp-ray calibrate --budget`), or accept less with "
        "`--set select.min_delivery=0.5`"
    )


def test_arm_whose_metric_was_not_measured_keeps_no_bound_on_it():
    clickless = FlightTotals(**{**vars(flown(9.0)), "conversions": np.zeros(FLIGHTS)})
    arms = [arm("clickless", clickless), arm("kept", flown(5.0))]
    selection = select(arms, 0.9, 0.95, constraints_of({"max_cpa": 1e9}))
    assert selection.winner is arms[1]
    assert selection.ineligible == {"clickless": "cpa was not measured (max_cpa 1000000000.0)"}


def test_control_arm_is_bound_like_any_other():
    arms = [arm("d", DEAR, "default"), arm("a", flown(5.0))]
    selection = select(arms, 0.9, 0.95, MAX_CPA)
    assert selection.winner is arms[1]
    assert list(selection.ineligible) == ["d"]
    assert select(arms[:1], 0.9, 0.95, MAX_CPA).winner is None


@pytest.mark.parametrize(
    ("role", "name"), [("default", "the default configuration"), ("reference", "BayesDual with its default constants")]
)
def test_ineligible_baseline_is_compared_and_its_broken_bound_named(role, name):
    selection = select([arm("line", DEAR, role), arm("a", flown(5.0))], 0.9, 0.95, MAX_CPA)
    assert selection.winner is not None and selection.winner.label == "a"
    comparison = selection.versus_default if role == "default" else selection.versus_reference
    assert comparison is not None and comparison.verdict == "below"
    assert f"below {name} (-" in selection.reason
    assert selection.reason.endswith(f"), which is not eligible: {selection.ineligible['line']}")


def test_baseline_that_hardly_spends_is_compared_by_its_return_on_the_whole_budget():
    idler = arm("line", flown(80.0, delivery=0.01), "default")
    selection = select([idler, arm("a", flown(5.0))], 0.9, 0.95, constraints_of({"max_roas": 10.0}))
    assert selection.versus_default is not None and selection.versus_default.verdict == "above"
    assert "not eligible: delivers 1.00% of the budget, below min_delivery 90%; roas" in selection.reason


def delivering(name: str, score: float, delivery: float, **fields) -> TrialResult:
    return trial(name, score, metrics={"expected_roas": score, "delivery": delivery}, **fields)


def test_trials_that_deliver_are_finalists_before_better_ones_that_do_not():
    results = [delivering("idle", 80.0, 0.01), delivering("b", 5.0, 0.96), delivering("a", 6.0, 0.99)]
    assert names(finalists(results, "roas", "maximize", 2, Eligibility(0.95))) == ["a", "b"]
    assert names(finalists(results, "roas", "maximize", 3, Eligibility(0.95))) == ["a", "b", "idle"]
    unbudgeted = [delivering("low", 1.0, math.nan), delivering("high", 2.0, math.nan)]
    assert names(finalists(unbudgeted, "roas", "maximize", 1, Eligibility(0.95))) == ["high"]


def test_next_finalists_are_trials_whose_validation_kept_all_bounds():
    left = [delivering("idle", 80.0, 0.01), delivering("b", 5.0, 0.96), delivering("d", 9.0, 0.97, is_default=True)]
    assert names(next_finalists(left, "roas", "maximize", 2, Eligibility(0.95))) == ["b"]


def priced(name: str, roas: float, cpa: float, **fields) -> TrialResult:
    return trial(name, roas, metrics={"expected_roas": roas, "cpa": cpa}, **fields)


def test_trials_that_keep_the_constraints_are_finalists_before_better_ones_that_do_not():
    results = [
        priced("dear", 9.0, 300.0),
        priced("b", 1.0, 100.0),
        priced("a", 2.0, 100.0),
        priced("nan", 8.0, math.nan),
    ]
    bound = Eligibility(0.0, constraints_of({"max_cpa": 200}))
    assert names(finalists(results, "roas", "maximize", 2, ANY)) == ["dear", "nan"]
    assert names(finalists(results, "roas", "maximize", 2, bound)) == ["a", "b"]


def test_best_of_those_that_break_a_constraint_fill_up_what_is_left():
    results = [priced("c", 3.0, 300.0), priced("d", 4.0, 300.0), priced("a", 1.0, 100.0), priced("e", 2.0, 300.0)]
    bound = Eligibility(0.0, constraints_of({"max_cpa": 200}))
    assert names(finalists(results, "roas", "maximize", 3, bound)) == ["a", "d", "c"]
    assert names(finalists(results, "roas", "minimize", 3, bound)) == ["a", "e", "c"]


def test_control_arm_is_final_whatever_it_breaks():
    results = [priced("a", 1.0, 100.0), priced("default", 0.5, 300.0, is_default=True)]
    assert names(finalists(results, "roas", "maximize", 1, Eligibility(0.0, constraints_of({"max_cpa": 200})))) == [
        "a",
        "default",
    ]
