"""Intervals of pooled ROAS and of paired differences cover as often as they say, and share luck cancels."""

import math
from dataclasses import replace

import numpy as np
import pytest

from gaelp_ray.evidence.intervals import compare, summarise
from gaelp_ray.records import PER_FLIGHT, FlightTotals


def made_up(rng: np.random.Generator, flights: int) -> FlightTotals:
    """Flights whose pooled ROAS is 5 in the long run, with larger budgets earning less per unit."""
    cost = rng.uniform(50.0, 150.0, flights)
    revenue = cost * (6.0 - cost / 100.0 * 12.0 / 13.0) * rng.gamma(4.0, 0.25, flights)
    return totals(cost, revenue)


@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_interval_covers_about_as_often_as_it_says(confidence):
    rng = np.random.default_rng(1)
    covered = [5.0 in summarise(made_up(rng, 80), confidence).roas_interval for _ in range(250)]
    assert np.mean(covered) == pytest.approx(confidence, abs=0.06)


def test_more_flights_and_less_confidence_make_the_interval_narrower():
    rng = np.random.default_rng(2)
    few, many = made_up(rng, 50), made_up(rng, 800)

    def width(totals: FlightTotals, confidence: float) -> float:
        interval = summarise(totals, confidence).roas_interval
        return interval.high - interval.low

    assert width(many, 0.95) < 0.5 * width(few, 0.95)
    assert width(few, 0.5) < width(few, 0.95)


def test_interval_is_around_the_pooled_roas_and_repeatable():
    totals = made_up(np.random.default_rng(3), 60)
    evaluation = summarise(totals, 0.95)
    assert evaluation.metrics.roas == totals.revenue.sum() / totals.cost.sum()
    assert evaluation.metrics.roas in evaluation.roas_interval
    assert evaluation.confidence == 0.95
    assert summarise(totals, 0.95).roas_interval == evaluation.roas_interval


def test_score_interval_is_of_the_return_on_the_whole_budget():
    totals = made_up(np.random.default_rng(5), 60)
    half_spent = replace(totals, budget=2.0 * totals.cost)
    evaluation = summarise(half_spent, 0.95)
    assert evaluation.metrics.delivered_roas == pytest.approx(evaluation.metrics.roas / 2.0)
    assert evaluation.score_interval.low == pytest.approx(evaluation.roas_interval.low / 2.0)
    assert evaluation.score_interval.high == pytest.approx(evaluation.roas_interval.high / 2.0)


def test_flights_that_spent_nothing_have_no_roas_and_no_interval():
    totals = replace(made_up(np.random.default_rng(4), 5), cost=np.zeros(5), revenue=np.zeros(5))
    evaluation = summarise(totals, 0.95)
    assert np.isnan([evaluation.metrics.roas, evaluation.roas_interval.low, evaluation.roas_interval.high]).all()


def totals(cost: np.ndarray, revenue: np.ndarray) -> FlightTotals:
    sums = {"cost": cost, "revenue": revenue, "expected_revenue": revenue, "budget": cost}
    return FlightTotals(steps=168, **{name: np.ones(len(cost)) for name in PER_FLIGHT} | sums)


def rivals() -> tuple[FlightTotals, FlightTotals]:
    """Two arms of nearly the same ROAS whose flights have nearly all their luck in common."""
    dice = np.random.default_rng(5)
    cost = dice.uniform(80.0, 120.0, 200)
    shared = cost * dice.gamma(4.0, 0.25, 200)
    return totals(cost, 5.0 * shared * dice.normal(1.0, 0.02, 200)), totals(cost, 5.1 * shared)


def test_arms_of_different_flights_are_not_compared():
    a, b = rivals()
    other = replace(b, budget=b.budget[::-1])
    with pytest.raises(ValueError, match="did not fly the same flights"):
        compare(a, other, 0.95)


def test_comparison_is_repeatable_and_antisymmetric():
    a, b = rivals()
    there, back = compare(a, b, 0.9), compare(b, a, 0.9)
    assert compare(a, b, 0.9) == there
    assert back.difference == pytest.approx(-there.difference)
    assert (back.interval.low, back.interval.high) == pytest.approx((-there.interval.high, -there.interval.low))


def width(interval) -> float:
    return interval.high - interval.low


def test_shared_luck_cancels_in_the_comparison():
    a, b = rivals()
    single = [width(summarise(one, 0.95).roas_interval) for one in (a, b)]
    assert width(compare(a, b, 0.95).interval) < 0.2 * math.hypot(*single)


@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_interval_of_a_difference_covers_about_as_often_as_it_says(confidence):
    dice = np.random.default_rng(11)
    covered = []
    for _ in range(120):
        cost = dice.uniform(50.0, 150.0, 60)
        shared = cost * dice.gamma(4.0, 0.25, 60)
        a, b = (totals(cost, roas * shared * dice.normal(1.0, 0.3, 60)) for roas in (5.5, 5.0))
        covered.append(0.5 in compare(a, b, confidence).interval)
    assert np.mean(covered) == pytest.approx(confidence, abs=0.07)
