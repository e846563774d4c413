"""A race errs no more often than it says, spends its flights where it is open who is best, and says who is kept."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from synthetic_arms import Field, Truth, equal

from gaelp_ray.evidence import intervals
from gaelp_ray.evidence.intervals import summarise
from gaelp_ray.evidence.race_design import LEAST
from gaelp_ray.records import FlightTotals
from gaelp_ray.sweep.outcome.eligibility import Eligibility
from gaelp_ray.sweep.outcome.race import (
    ALONE,
    BETTER,
    CHEAPER,
    CLEAR,
    CONTROL,
    Drop,
    Race,
    Rules,
    Verdict,
    decide,
    race,
)
from gaelp_ray.sweep.planning.constraints import constraints_of

ANY = Eligibility(0.0)
DELIVER = Eligibility(0.9)


def raced(field: Field, each: int = 1024, confidence: float = 0.95, eligibility: Eligibility = DELIVER) -> Race:
    """A race with a budget of so many flights for each arm."""
    return race(list(field.truths), Rules(confidence, each * len(field.truths), eligibility), field.fly)


def decided(field: Field, **how) -> Verdict:
    return decide(raced(field, **how), None, {})


# What is promised.


FAR = {"c": Truth(1.0), "d": Truth(1.0)}
"""Far below the others: they are dropped at once and leave their flights to the others."""


@pytest.mark.parametrize("worse", [{}, FAR], ids=["two", "two and others far below"])
def test_of_two_equal_arms_one_is_called_the_winner_as_often_as_stated_and_hardly_less(worse):
    fields = [Field({"a": Truth(5.0), "b": Truth(5.0)} | worse, seed) for seed in range(400)]
    called = [decided(field, each=512, confidence=0.8, eligibility=ANY).decision == "winner" for field in fields]
    # The race has half of the 20 % that are stated, and a tenth of that is kept for bounds: 9 %.
    error = math.sqrt(0.09 * 0.91 / 400)
    assert 0.09 - 2.5 * error <= np.mean(called) <= 0.09 + 2.5 * error


def test_of_six_equal_arms_one_is_called_the_winner_less_often():
    called = [decided(equal(6, seed), each=512, confidence=0.8, eligibility=ANY).decision for seed in range(120)]
    assert called.count("winner") <= 0.1 * 120


def test_a_given_rival_drops_an_equal_arm_with_its_share_of_the_error_even_if_that_rarely_earns_much():
    fields = [Field({"a": Truth(5.0), "rare": Truth(5.0, own=0.3, wins=0.1)}, seed) for seed in range(400)]
    dropped = ["rare" in raced(field, each=512, confidence=0.8, eligibility=ANY).drops for field in fields]
    assert np.mean(dropped) <= 0.045 + 2.5 * math.sqrt(0.045 / 400)


def test_intervals_for_one_look_would_call_winners_among_equals_far_more_often():
    called = []
    for seed in range(100):
        rules = Rules(0.8, 2048, ANY)
        state = Race(rules, rules.sequence(2), rules.boundary(2), {}, {})
        field, wrong = equal(2, seed), False
        flown: dict[str, FlightTotals] = {}
        for number in range(16):
            added = field.fly(["a", "b"], number, 256)
            flown = {
                arm: FlightTotals.concatenate([flown[arm], flights] if arm in flown else [flights])
                for arm, flights in added.items()
            }
            ratios = [replace(state, flown=flown).score(arm) for arm in "ab"]
            difference = np.sqrt(2.0) * 0.1 * 5.0 / math.sqrt(256 * (number + 1))
            wrong = wrong or abs(ratios[0] - ratios[1]) > 1.28 * difference
        called.append(wrong)
    assert np.mean(called) > 0.4


def test_a_better_arm_is_found_and_nothing_else_is_called():
    verdicts = [decided(equal(6, seed, c=0.02)) for seed in range(20)]
    # Of its difference to each other arm, 2 %, a standard error is 0.44 % on the flights that all arms fly.
    assert sum(verdict == Verdict("winner", "c", CLEAR) for verdict in verdicts) >= 16
    assert all("c" in (verdict.kept, *verdict.tied) for verdict in verdicts)


def test_what_is_told_of_the_winner_is_unbiased_and_covers_as_stated_and_the_naive_maximum_does_not(monkeypatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 500)  # of each of 500 intervals, to be quick
    errors, naive, covered = [], [], []
    for seed in range(500):
        field = Field({name: Truth(5.0, own=0.3) for name in "abc"}, seed)
        kept = decided(field, each=256).kept
        assert kept is not None
        told = summarise(field.fly([kept], 1000, 160)[kept], 0.95)
        errors.append(told.metrics.roas - 5.0)
        covered.append(5.0 in told.roas_interval)
        search = field.fly(list("abc"), 2000, 64)
        naive.append(max(flights.pooled().roas for flights in search.values()) - 5.0)
    standard_error = np.std(errors) / math.sqrt(500)
    assert abs(np.mean(errors)) < 2.0 * standard_error
    assert np.mean(naive) > 5.0 * np.std(naive) / math.sqrt(500)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_bounds_share_a_tenth_of_the_races_error():
    rules = Rules(0.95, 6000, replace(DELIVER, constraints=constraints_of({"max_cpa": 200.0, "min_ctr": 0.1})))
    # Three bounds of six arms, each of which errs on one side of its two-sided interval.
    assert rules.sequence(6).alpha / 2.0 * 18 == pytest.approx(0.1 * 0.025)
    assert rules.sequence(6).sharpest == 1000
    assert Rules(0.9, 100, ANY).sequence(1).alpha / 2.0 == pytest.approx(0.1 * 0.05)


def test_a_pair_has_nearly_half_of_the_races_error_however_many_arms_there_are():
    for arms in (2, 4, 100):
        boundary = Rules(0.95, 2048 * arms, DELIVER).boundary(arms)
        walks = np.random.default_rng(arms).normal(size=(10_000, len(boundary.looks)))
        sums = (walks * np.sqrt(np.diff(boundary.looks, prepend=0))).cumsum(axis=1) / np.sqrt(boundary.looks)
        crossed = (sums > boundary.critical).any(axis=1).mean()
        assert crossed == pytest.approx(0.45 * 0.025, abs=3.0 * math.sqrt(0.01125 / 10_000))


def test_looks_are_planned_after_whole_rounds_and_where_an_undecided_race_ends():
    def looks(budget: int, arms: int) -> tuple[int, ...]:
        return Rules(0.95, budget, DELIVER).boundary(arms).looks

    assert looks(2048, 2) == (256, 512, 768, 1024)
    assert looks(3000, 4) == (256, 512, 750, 1024, 1280)  # 768 is too near to 750
    assert looks(4104, 2) == (256, 512, 768, 1024, 1280, 1536, 1792, 2048)  # no round of 4 flights
    assert looks(300, 2) == (150,) and looks(200, 2) == () == looks(2048, 1)
    many = looks(2_000_000, 20)
    assert many[:3] == (256, 512, 768) and 100_000 in many and 900_000 < many[-1] <= 1_000_000
    assert len(many) < 150 and all(n % 256 == 0 for n in many if n != 100_000)


def test_a_race_judges_no_other_flights_than_those_of_planned_looks():
    rules = Rules(0.95, 2048, ANY)
    clear, reversed_ = Field({"a": Truth(5.2), "b": Truth(5.0)}, 1), Field({"a": Truth(1.0), "b": Truth(9.0)}, 2)
    first, more = clear.fly("ab", 0, 256), reversed_.fly("ab", 1, 255)
    flown = {arm: FlightTotals.concatenate([first[arm], more[arm]]) for arm in "ab"}
    state = Race(rules, rules.sequence(2), rules.boundary(2), flown, {})
    assert state.score("a") < state.score("b")
    assert state.above("a", "b") and not state.above("b", "a")


# How it goes.


def test_same_flights_same_race():
    one, other = (raced(equal(4, 7, b=0.02), each=768) for _ in range(2))
    assert one.drops == other.drops and one.rounds == other.rounds
    assert all((one.flown[arm].revenue == other.flown[arm].revenue).all() for arm in "abcd")


def test_flights_go_to_those_who_are_left_within_the_budget():
    field = Field({"a": Truth(5.0), "b": Truth(5.0), "c": Truth(4.0), "d": Truth(4.0)}, 3)
    state = raced(field, each=600)
    above = state.drops["c"].by
    assert above in ("a", "b") and state.drops == {"c": Drop(1, above), "d": Drop(1, above)}
    assert [len(state.flown[arm]) for arm in "abcd"] == [944, 944, 256, 256]  # the last round is smaller
    assert state.flights == 2400 and state.rounds == 4


def test_it_stops_when_one_is_left():
    state = raced(Field({"a": Truth(5.0), "b": Truth(4.0)}, 1), each=10_000)
    assert (state.rounds, state.flights, state.drops) == (1, 512, {"b": Drop(1, "a")})


def test_every_round_is_flown_once_by_those_who_are_left_and_common():
    field, asked = equal(3, 2, a=0.02), []

    def fly(left, number, flights):
        asked.append((tuple(left), number, flights))
        return field.fly(left, number, flights)

    state = race(["a", "b", "c"], Rules(0.95, 6000, DELIVER), fly)
    assert [number for _, number, _ in asked] == list(range(state.rounds))
    assert {flights for _, _, flights in asked[:-1]} == {256}
    assert all(set(later[0]) <= set(former[0]) for former, later in pairwise(asked))
    budgets = [flights.budget[:256] for flights in state.flown.values()]
    assert (budgets[0] == budgets[1]).all() and (budgets[0] == budgets[2]).all()


def test_nobody_is_dropped_on_few_flights():
    field = Field({"a": Truth(9.0), "b": Truth(1.0)}, 1)
    few, enough = raced(field, each=LEAST - 1), raced(field, each=LEAST)
    assert few.drops == {} and enough.drops == {"b": Drop(1, "a")}
    assert decide(few, None, {}).decision == "tie"


def test_one_arm_alone_wins_what_it_may_win():
    assert decided(Field({"a": Truth(5.0)}, 1)) == Verdict("winner", "a", CLEAR)
    assert raced(Field({"a": Truth(5.0)}, 1)).flights == 256
    assert decided(Field({"a": Truth(5.0, delivery=0.5)}, 1)) == Verdict("none", None)


# Who may win.


def test_a_miser_with_a_huge_roas_neither_wins_nor_drops_anybody():
    field = Field({"miser": Truth(50.0, delivery=0.01), "a": Truth(5.0), "b": Truth(4.0)}, 1)
    state = raced(field)
    assert state.drops == {"miser": Drop(1, ""), "b": Drop(1, "a")}
    assert decide(state, None, {}) == Verdict("winner", "a", CLEAR)


def test_an_arm_at_the_bound_drops_nobody_and_the_others_go_on():
    field = Field({"edge": Truth(9.0, delivery=0.9, delivery_sd=0.3), "a": Truth(5.0), "b": Truth(4.0)}, 4)
    state = raced(field)
    assert state.drops == {"b": Drop(1, "a")}  # although edge is far above both
    assert len(state.flown["edge"]) == len(state.flown["a"]) > 1024
    verdict = decide(state, None, {})
    if state.fit("edge"):  # it keeps the bound so far, and more flights will tell
        assert verdict == Verdict("winner", "edge", CLEAR)
    else:
        assert verdict == Verdict("tie", "a", ALONE, ("edge",))


@pytest.mark.parametrize("seed", range(6))
def test_without_an_arm_that_was_not_eligible_after_all_the_next_best_is_kept(seed):
    field = Field({"edge": Truth(9.0, delivery=0.905, delivery_sd=0.3), "a": Truth(5.0), "b": Truth(4.0)}, seed)
    assert decide(raced(field), None, {}, without={"edge"}) == Verdict("winner", "a", CLEAR)


def test_whoever_was_dropped_by_it_comes_back_and_the_others_do_not():
    field = Field({"best": Truth(6.0), "a": Truth(5.0), "b": Truth(4.0)}, 1)
    state = raced(field)
    assert set(state.drops) == {"a", "b"} and {drop.by for drop in state.drops.values()} == {"best"}
    assert decide(state, None, {}, without={"best"}) == Verdict("winner", "a", CLEAR)
    barred = replace(state, drops={"a": Drop(1, ""), "b": Drop(1, "best")})
    assert decide(barred, None, {}, without={"best"}) == Verdict("winner", "b", CLEAR)
    assert decide(barred, None, {}, without={"best", "b"}) == Verdict("none", None)


def test_constraints_drop_arms_that_certainly_break_them():
    # One conversion in a flight of about 95: the cost per conversion is 95.
    field = Field({"a": Truth(5.0), "dear": Truth(6.0, delivery=1.4)}, 1)
    bound = Eligibility(0.9, constraints_of({"max_cpa": 110.0}))
    state = raced(field, eligibility=bound)
    assert state.drops == {"dear": Drop(1, "")}
    assert decide(state, None, {}) == Verdict("winner", "a", CLEAR)
    assert raced(field).drops == {"a": Drop(1, "dear")}


def test_whoever_spends_nothing_or_cannot_fly_is_out():
    field = Field({"a": Truth(5.0), "idle": Truth(5.0, delivery=0.0), "broken": Truth(9.0)}, 1)

    def fly(left, number, flights):
        flown = field.fly(left, number, flights)
        return {arm: found for arm, found in flown.items() if arm != "broken" or number == 0}

    state = race(["a", "idle", "broken"], Rules(0.95, 6000, ANY), fly)
    assert state.drops["idle"] == Drop(1, "") and state.drops["a"] == Drop(1, "broken")
    state = race(["idle", "broken"], Rules(0.95, 6000, ANY), fly)
    assert state.failed == frozenset() and state.rounds == 1
    slow = race(["a", "broken"], Rules(0.95, 6000, ANY, round=64), fly)
    assert slow.failed == {"broken"} and "broken" not in slow.flown and slow.drops["broken"] == Drop(2, "")


# Who is kept in a tie.


def tie(**delivery: float) -> Race:
    return raced(Field({name: Truth(5.0, delivery=share) for name, share in delivery.items()}, 5), each=256)


def test_a_tie_keeps_the_control_arm_whatever_the_others_cost():
    verdict = decide(tie(a=0.95, b=0.95, c=0.95), "c", {"a": 1, "b": 2, "c": 3})
    assert (verdict.decision, verdict.kept, verdict.rule) == ("tie", "c", CONTROL)
    assert set(verdict.tied) == {"a", "b"}


def test_without_a_control_arm_in_it_the_cheapest_is_kept():
    verdict = decide(tie(a=0.95, b=0.95, c=0.5), "c", {"a": 200, "b": 100, "c": 1})
    assert verdict == Verdict("tie", "b", CHEAPER, ("a",))


def test_among_equally_dear_ones_the_best_roas_is_kept():
    state = tie(a=0.95, b=0.95)
    best, other = sorted("ab", key=state.score, reverse=True)
    assert decide(state, None, {"a": 100, "b": 100}) == Verdict("tie", best, BETTER, (other,))


def test_an_arm_of_which_it_is_open_whether_it_may_win_makes_a_tie():
    field = Field({"a": Truth(5.0), "short": Truth(9.0, delivery=0.899, delivery_sd=0.1)}, 0)
    state = raced(field, each=512)
    assert not state.fit("short") and "short" not in state.drops
    assert decide(state, None, {}) == Verdict("tie", "a", ALONE, ("short",))


def test_an_arm_that_may_not_win_so_far_takes_nobody_out_of_a_tie():
    truths = {"short": Truth(9.0, delivery=0.899, delivery_sd=0.1), "a": Truth(5.0), "control": Truth(5.0)}
    state = raced(Field(truths, 1), each=512)
    assert not state.fit("short") and state.drops == {}
    verdict = decide(state, "control", {})
    assert (verdict.kept, verdict.rule, set(verdict.tied)) == ("control", CONTROL, {"short", "a"})


def test_one_that_is_left_and_may_not_win_so_far_goes_on_until_more_is_known():
    truths = {"short": Truth(9.0, delivery=0.899, delivery_sd=0.1), "miser": Truth(50.0, delivery=0.01)}
    state = raced(Field(truths, 1), each=512)
    assert state.drops == {"miser": Drop(1, "")} and state.flights == 1024
    assert len(state.flown["short"]) == 768
