"""A play-off keeps the leader of a tied race only where it is above the control arm on flights that chose nobody."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from synthetic_arms import Field, Truth, equal
from synthetic_sky import TRIALS, Ear, Sky, by_label

from gaelp_ray.records import Interval
from gaelp_ray.results import Comparison, PlayOff, Selection, TrialStatus
from gaelp_ray.sweep.outcome.eligibility import Eligibility
from gaelp_ray.sweep.outcome.final import REFERENCE
from gaelp_ray.sweep.outcome.playoff import ABOVE, leader, play_off
from gaelp_ray.sweep.outcome.race import CONTROL, Race, Rules, Verdict, decide, race
from gaelp_ray.sweep.outcome.summary import run_summary, selection_record
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.training import Stream

FLIGHTS = 1024
FRESH = 1000  # added to a race's seed


def raced(field: Field, confidence: float = 0.95) -> Race:
    """Too short to tell a small difference."""
    return race(list(field.truths), Rules(confidence, 128 * len(field.truths), Eligibility(0.9)), field.fly)


def played(
    field: Field, fresh: Field | None = None, control: str | None = "a", **how
) -> tuple[Verdict, PlayOff | None]:
    state = raced(field, **how)
    flown = fresh or replace(field, seed=field.seed + FRESH)
    return play_off(state, decide(state, control, {}), control, lambda pair: flown.fly(pair, 0, FLIGHTS))


def test_a_leader_that_is_better_by_little_is_kept_and_ties_with_the_others():
    verdict, found = played(equal(3, 1, b=0.03, c=0.03))
    assert found is not None and found.won and found.flights == FLIGHTS
    assert verdict == Verdict("tie", found.leader, ABOVE, tuple({"b", "c"} - {found.leader}))


def test_a_leader_that_was_only_open_against_the_control_arm_wins():
    verdict, found = played(equal(2, 1, b=0.03))
    assert verdict == Verdict("winner", "b", ABOVE)
    assert found is not None and found.comparison is not None and 0.0 < found.comparison.interval.low


def test_a_leader_by_luck_is_not_kept():
    field = equal(2, 1, b=0.03)
    state = raced(field)
    tie = decide(state, "a", {})
    verdict, found = play_off(state, tie, "a", lambda pair: equal(2, 2).fly(pair, 0, FLIGHTS))
    assert verdict == tie == Verdict("tie", "a", CONTROL, ("b",))
    assert found is not None and found.comparison is not None and not found.won
    assert 0.0 in found.comparison.interval


def test_a_leader_that_is_below_the_control_arm_on_fresh_flights_is_not_kept():
    verdict, found = played(equal(2, 1, b=0.03), fresh=equal(2, 5, b=-0.1))
    assert verdict.kept == "a"
    assert found is not None and found.comparison is not None and found.comparison.verdict == "below"


@pytest.mark.parametrize(
    ("field", "control"),
    [
        (equal(2, 1, a=0.03), "a"),  # it leads
        (equal(2, 1, b=0.03), None),  # there is none
        (equal(2, 1, b=0.03), "elsewhere"),  # it takes no part
        (equal(2, 1, b=0.5), "a"),  # the race has told
    ],
)
def test_there_is_none_where_the_control_arm_is_not_in_question(field, control):
    state = raced(field)
    verdict = decide(state, control, {})
    assert leader(state, verdict, control) is None
    assert play_off(state, verdict, control, lambda pair: pytest.fail("nobody flies")) == (verdict, None)


def test_the_leader_is_the_best_of_those_that_may_win():
    field = Field({"a": Truth(5.0), "b": Truth(5.8, delivery=0.899), "c": Truth(5.1)}, 3)
    state = raced(field)
    verdict = decide(state, "a", {})
    assert not state.fit("b") and state.score("b") > state.score("c") > state.score("a")
    assert leader(state, verdict, "a") == "c"


@pytest.mark.parametrize("short", ["a", "b"])
def test_an_arm_that_does_not_deliver_on_fresh_flights_says_nothing(short):
    field = equal(2, 1, b=0.03)
    fresh = Field({**equal(2, 5, b=0.2).truths, short: Truth(9.0 if short == "b" else 1.0, delivery=0.5)}, 5)
    verdict, found = played(field, fresh=fresh)
    assert verdict.kept == "a" and found == PlayOff("b", FLIGHTS, None)


def test_an_arm_that_cannot_fly_says_nothing():
    field = equal(2, 1, b=0.03)
    state = raced(field)
    verdict = decide(state, "a", {})
    fresh = equal(2, 5, b=0.2)
    assert play_off(state, verdict, "a", lambda pair: fresh.fly(["a"], 0, FLIGHTS)) == (
        verdict,
        PlayOff("b", FLIGHTS, None),
    )
    assert play_off(state, verdict, "a", lambda pair: {}) == (verdict, PlayOff("b", 0, None))


@pytest.mark.parametrize("confidence", [0.6, 0.9])
def test_among_equals_the_leader_is_kept_no_more_often_than_stated(confidence):
    kept = [played(equal(2, seed), confidence=confidence)[0].kept == "b" for seed in range(300)]
    # The race may find it above with half of its error; else it must lead, every other time, and win the play-off.
    stated = (1.0 - confidence) / 2.0
    assert np.mean(kept) <= stated + 2.0 * np.sqrt(stated / 300)
    assert np.mean(kept) > 0.0


# In the final stage.

CLEARLY = {(arm, int(Stream.PLAYOFF)): Truth(5.3) for arm in "ab"}


def test_the_leader_of_a_tie_and_the_control_arm_play_off_on_flights_of_their_own(stage):
    sky, ear = Sky({"b": Truth(5.04), "a": Truth(5.04)} | CLEARLY), Ear()
    selection, _ = stage(sky, TRIALS, listener=ear)
    leads = selection.play_off.leader if selection.play_off else ""
    assert sky.flown[-2:] == [
        (Stream.PLAYOFF, (leads, "default"), 512),
        (Stream.CONFIRMATION, (leads, "default", REFERENCE), 512),
    ]
    assert (selection.decision, selection.rule) == ("tie", ABOVE)
    assert selection.winner is not None and selection.winner.label == leads
    assert set(selection.tied) == {"a", "b"} - {leads}
    assert ear.heard[-2:] == [("playing off the tie", 1024, 1024), ("confirming the choice", 1536, 1536)]
    flights = by_label(selection)[leads].evaluation.totals
    played = sky.flights(leads, [0, Stream.PLAYOFF, 0], [(0, 256), (1, 256)])
    assert not np.isin(flights.budget, played.budget).any()


def test_a_leader_that_loses_its_play_off_is_not_kept(stage):
    sky = Sky({"b": Truth(5.04), ("b", int(Stream.PLAYOFF)): Truth(5.0)})
    selection, _ = stage(sky, TRIALS)
    assert selection.winner is not None and selection.winner.label == "default"
    assert selection.play_off is not None and selection.play_off.leader == "b" and not selection.play_off.won
    assert selection.rule == CONTROL and "b" in selection.tied


@pytest.mark.parametrize(("lost", "kept"), [("b", "default"), ("default", "b")])
def test_who_cannot_fly_the_play_off_has_failed(stage, lost, kept):
    sky = Sky({"b": Truth(5.04)}, lost={(lost, Stream.PLAYOFF)})
    selection, after = stage(sky, TRIALS)
    assert selection.winner is not None and selection.winner.label == kept
    assert [trial.trial for trial in after if trial.status is TrialStatus.FAILED] == [lost]


def test_a_leader_that_breaks_a_bound_when_confirmed_is_followed_by_another_play_off(stage):
    short = {("b", int(Stream.CONFIRMATION)): Truth(5.2, delivery=0.5)}
    sky = Sky({"b": Truth(5.05), "a": Truth(5.04)} | CLEARLY | short)
    selection, _ = stage(sky, TRIALS)
    assert [arms for stream, arms, _ in sky.flown if stream == Stream.PLAYOFF] == [("b", "default"), ("a", "default")]
    assert [seeds for seeds in sky.seeds if seeds[0] == Stream.PLAYOFF] == [(Stream.PLAYOFF, 0), (Stream.PLAYOFF, 1)]
    assert selection.play_off is not None and selection.play_off.leader == "a"


def test_it_is_recorded(tmp_path):
    (tmp_path / "trip.yaml").write_text("method: random\nrun_cap: 2\nparameters: {dual.shade: {min: 0.0, max: 2.0}}\n")
    plan, nobody = plan_sweep(tmp_path / "trip.yaml"), Selection((), {}, None, "none")
    found = PlayOff("b", 512, Comparison(0.25, Interval(0.125, 0.375)))
    told = {"leader": "b", "flights": 512, "won": True, "difference": 0.25, "low": 0.125, "high": 0.375}
    assert found.as_dict() == {**told, "verdict": "above"}
    nothing = dict.fromkeys(("difference", "low", "high")) | {"won": False, "verdict": "ineligible"}
    assert PlayOff("b", 512, None).as_dict() == told | nothing
    record = selection_record(plan, replace(nobody, play_off=found), [])
    assert record["play_off"] == found.as_dict() and run_summary(record)["play_off/won"] is True
    assert selection_record(plan, nobody, [])["play_off"] is None
