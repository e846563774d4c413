"""The final stage as a whole, without Ray: who flies what, and that what is told is of flights that did not choose."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from synthetic_arms import Truth
from synthetic_sky import DEFAULT, TRIALS, A, B, Ear, Sky, by_label, trial

from gaelp_ray.records import SCORE
from gaelp_ray.results import TrialStatus
from gaelp_ray.sweep.outcome.final import REFERENCE
from gaelp_ray.sweep.outcome.race import CLEAR, CONTROL
from gaelp_ray.training import Stream


def test_the_best_race_and_who_is_kept_the_control_arm_and_the_reference_line_are_confirmed(stage):
    sky = Sky({"b": Truth(6.0)})
    selection, after = stage(sky, TRIALS)
    assert (selection.decision, selection.rule, selection.tied) == ("winner", CLEAR, ())
    assert selection.winner is not None and selection.winner.label == "b"
    confirmed = ("b", "default", REFERENCE)
    assert sky.flown == [(Stream.SELECTION, ("a", "b", "default"), 256), (Stream.CONFIRMATION, confirmed, 512)]
    assert after == TRIALS
    assert set(by_label(selection)) == {"a", "b", "default", REFERENCE}


def test_numbers_of_who_is_kept_are_of_the_confirmation_and_of_no_flight_of_the_race(stage):
    sky = Sky({"b": Truth(6.0)})
    selection, _ = stage(sky, TRIALS)
    arms, parts = by_label(selection), [(0, 256), (1, 256)]
    for label in ("b", "default", REFERENCE):
        expected = sky.flights(label, [0, Stream.CONFIRMATION, 0], parts)
        assert arms[label].confirmed and (arms[label].evaluation.totals.revenue == expected.revenue).all()
    raced = sky.flights("b", [0, Stream.SELECTION], [(0, 256)])
    assert not np.isin(raced.budget, arms["b"].evaluation.totals.budget).any()
    assert arms["b"].race is not None and arms["b"].race.score == raced.pooled().delivered_roas
    assert not arms["a"].confirmed and len(arms["a"].evaluation.totals) == 256
    assert selection.versus_default is not None and selection.versus_reference is not None
    told = arms["b"].evaluation.metrics.delivered_roas - arms["default"].evaluation.metrics.delivered_roas
    assert selection.versus_default.difference == pytest.approx(told)


def test_who_was_dropped_is_told_when_and_by_whom(stage):
    selection, _ = stage(Sky({"b": Truth(6.0), "a": Truth(5.0, delivery=0.2)}), TRIALS)
    found = {c.label: (c.race.dropped, c.race.by, c.race.flights) for c in selection.ranking if c.race}
    assert found == {"a": (1, "", 256), "default": (1, "b", 256), "b": (None, "", 256)}


def test_a_tie_keeps_the_control_arm_which_is_confirmed_alone(stage):
    sky = Sky({})
    selection, _ = stage(sky, TRIALS)
    assert (selection.decision, selection.rule) == ("tie", CONTROL)
    assert selection.winner is not None and selection.winner.label == "default" and selection.versus_default is None
    assert set(selection.tied) == {"a", "b"}
    assert sky.flown[-1] == (Stream.CONFIRMATION, ("default", REFERENCE), 512)
    assert len(np.unique(by_label(selection)["a"].evaluation.totals.budget)) == 512  # every round flies others


def test_the_budget_is_that_of_the_file_or_that_many_flights_for_each_arm(stage):
    facts = stage(Sky({}), TRIALS)[0].race
    assert facts is not None
    assert (facts.arms, facts.budget, facts.flights, facts.error, facts.attempt) == (
        3,
        1536,
        1536,
        pytest.approx(0.05),
        1,
    )
    sky = Sky({})
    facts = stage(sky, TRIALS, "{top_k: 2, episodes: 512, budget: 1000, confidence: 0.9}")[0].race
    assert facts is not None
    assert (facts.budget, facts.flights, facts.rounds, facts.error) == (1000, 999, 2, pytest.approx(0.1))
    assert [flights for _, _, flights in sky.flown] == [256, 77, 512]


def test_whoever_does_not_deliver_when_confirmed_is_passed_over_and_others_flights_confirm_the_next(stage):
    sky = Sky({"b": Truth(6.0), "a": Truth(5.5), ("b", int(Stream.CONFIRMATION)): Truth(6.0, delivery=0.5)})
    selection, _ = stage(sky, TRIALS)
    assert selection.winner is not None and (selection.winner.label, selection.decision) == ("a", "winner")
    assert selection.ineligible["b"].startswith("when confirmed, delivers 49") and selection.ranking[-1].label == "b"
    assert selection.race is not None and selection.race.attempt == 2
    assert sky.seeds[-2:] == [(Stream.CONFIRMATION, 0), (Stream.CONFIRMATION, 1)]
    assert sky.flown[-1][1] == ("a", "default", REFERENCE)
    fresh = sky.flights("default", [0, Stream.CONFIRMATION, 1], [(0, 256), (1, 256)])
    assert (by_label(selection)["default"].evaluation.totals.revenue == fresh.revenue).all()
    told = selection.winner.evaluation.metrics.delivered_roas - fresh.pooled().delivered_roas
    assert selection.versus_default is not None and selection.versus_default.difference == pytest.approx(told)


def test_bounds_on_sums_count_for_the_confirmation_only(stage):
    select = "{top_k: 2, episodes: 512, constraints: {min_conversions: 512, max_conversions: 512}}"
    assert stage(Sky({"b": Truth(6.0)}), TRIALS, select)[0].decision == "winner"
    below = stage(
        Sky({"b": Truth(6.0)}), TRIALS, select.replace("512, max_conversions: 512", "500, max_conversions: 511")
    )[0]
    assert (below.decision, below.winner) == ("none", None)
    assert "when confirmed, conversions 512.00 is above max_conversions 511" in below.reason


def test_where_none_may_win_every_reason_is_told(stage):
    low = {name: Truth(5.0, delivery=0.5) for name in ("a", "b", "c", "default")}
    sky = Sky(low)
    selection, after = stage(sky, TRIALS)
    assert (selection.decision, selection.winner, after) == ("none", None, TRIALS)
    assert selection.reason.startswith("no eligible trial: all 4 evaluated arms are ineligible: ")
    assert (
        "The largest delivery seen is 50." in selection.reason and "--set select.min_delivery=0.5`" in selection.reason
    )
    assert sky.flown == [(Stream.SELECTION, ("a", "b", "default"), 256), (Stream.SELECTION, ("c",), 256)]


@pytest.mark.parametrize("control", [Truth(5.0), Truth(5.0, delivery=0.5)])
def test_next_eligible_trials_race_where_no_finalist_is_eligible(stage, control):
    low = {name: Truth(9.0, delivery=0.5) for name in ("a", "b")}
    sky = Sky(low | {"c": Truth(6.0), "default": control})
    selection, after = stage(sky, TRIALS)
    assert (selection.decision, after) == ("winner", TRIALS)
    assert selection.winner is not None and selection.winner.label == "c"
    assert {"a", "b"} <= set(selection.ineligible) and set(by_label(selection)) == {"a", "b", "c", "default", REFERENCE}
    second = ("c", "default") if control.delivery > 0.9 else ("c",)
    assert [arms for stream, arms, _ in sky.flown if stream == Stream.SELECTION] == [("a", "b", "default"), second]
    assert sky.flown[-1][:2] == (Stream.CONFIRMATION, ("c", "default", REFERENCE))
    assert selection.versus_default is not None and selection.race is not None and selection.race.arms == 4


def test_next_trials_do_not_race_where_their_validation_broke_a_bound(stage):
    low = Sky({name: Truth(5.0, delivery=0.5) for name in ("a", "b", "default")})
    late = trial("c", 1.0, metrics={SCORE: 1.0, "delivery": 0.5})
    selection, _ = stage(low, [A, B, late, DEFAULT])
    assert selection.decision == "none" and "c" not in by_label(selection)


@pytest.mark.parametrize("stream", [Stream.SELECTION, Stream.CONFIRMATION])
def test_a_trial_that_cannot_be_flown_has_failed_and_the_next_best_is_kept(stage, stream):
    sky = Sky({"b": Truth(6.0), "a": Truth(5.5)}, lost={("b", stream)})
    selection, after = stage(sky, TRIALS)
    assert selection.winner is not None and selection.winner.label == "a" and "b" not in by_label(selection)
    assert after[1] == replace(B, status=TrialStatus.FAILED, error="in the final stage, ValueError: no")
    assert [t for t in after if t.trial != "b"] == [t for t in TRIALS if t.trial != "b"]


def test_where_nobody_can_be_flown_the_errors_are_told(stage):
    sky = Sky({}, lost={(name, Stream.SELECTION) for name in ("a", "b", "default")})
    selection, after = stage(sky, [A, B, trial("c", 1.0, status=TrialStatus.STOPPED, metrics=None), DEFAULT])
    assert selection.decision == "none" and not selection.ranking
    assert selection.reason == "no eligible trial: 3 of 4 failed: in the final stage, ValueError: no"
    assert sum(t.status is TrialStatus.FAILED for t in after) == 3


def test_without_finalists_nothing_flies(stage):
    sky, none = Sky({}), [trial("a", math.nan)]
    selection, after = stage(sky, none)
    assert (selection.decision, after, sky.flown) == ("none", none, [])


def test_the_same_seeds_decide_the_same(stage):
    one, other = (stage(Sky({"b": Truth(5.2)}), TRIALS)[0] for _ in range(2))
    assert (one.reason, one.race, one.rule, one.tied) == (other.reason, other.race, other.rule, other.tied)


def test_the_best_of_a_trials_models_races_by_flights_of_their_own(stage, tmp_path):
    last, best = tmp_path / "seed-0", tmp_path / "best" / "seed-0"
    best.mkdir(parents=True)
    sky = Sky({str(last): Truth(5.0), str(best): Truth(6.0), "a": Truth(6.0)})
    selection, after = stage(sky, [replace(A, checkpoint=str(last)), DEFAULT])
    assert sky.flown[0] == (Stream.WEIGHTS, (str(last), str(best)), 256)
    assert sky.models["a"] == str(best)
    assert selection.winner is not None and selection.winner.trial is not None
    assert selection.winner.trial.checkpoint == str(best) and selection.winner.weights == {"kept": "best"}
    assert after[0].checkpoint == str(last)  # the search's own record is what it was


def test_the_listener_hears_every_step(stage):
    ear = Ear()
    stage(Sky({"b": Truth(6.0)}), TRIALS, listener=ear)
    assert ear.heard == [
        ("racing the best", 768, 1536),
        ("racing the best", 768, 768),
        ("confirming the choice", 1536, 1536),
    ]
