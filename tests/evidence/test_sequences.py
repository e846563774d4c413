"""Confidence sequences hold for all looks together, and ratios have the variance that they have."""

import math

import numpy as np
import pytest

from gaelp_ray.evidence.intervals import compare, summarise
from gaelp_ray.evidence.sequences import ConfidenceSequence, Ratio
from gaelp_ray.records import PER_FLIGHT, FlightTotals


def campaigns(dice, flights: int, roas: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    """(revenue, cost) of flights whose pooled ROAS is `roas` in the long run: skewed, the dearer the worse."""
    cost = dice.uniform(50.0, 150.0, flights)
    return cost * roas / 5.0 * (6.0 - cost / 100.0 * 12.0 / 13.0) * dice.gamma(4.0, 0.25, flights), cost


def totals(revenue, cost) -> FlightTotals:
    arrays = {name: np.ones(len(cost)) for name in PER_FLIGHT} | {"cost": cost, "revenue": revenue}
    arrays |= {"expected_revenue": revenue}
    return FlightTotals(steps=168, **arrays)


def test_ratio_is_of_the_sums_and_its_influence_adds_up_to_nothing():
    revenue, cost = campaigns(np.random.default_rng(1), 500)
    ratio = Ratio.of(revenue, cost)
    assert ratio.value == pytest.approx(revenue.sum() / cost.sum())
    assert ratio.influence.mean() == pytest.approx(0.0, abs=1e-9)


def test_deviation_is_that_of_repeated_campaigns():
    dice = np.random.default_rng(2)
    ratios = [Ratio.of(*campaigns(dice, 200)) for _ in range(2000)]
    predicted = np.mean([ratio.deviation for ratio in ratios]) / math.sqrt(200)
    assert predicted == pytest.approx(np.std([ratio.value for ratio in ratios]), rel=0.05)


def test_it_agrees_with_the_bootstrap():
    dice = np.random.default_rng(3)
    revenue, cost = campaigns(dice, 1000)
    other = revenue * dice.normal(1.02, 0.1, 1000)
    a, b = Ratio.of(other, cost), Ratio.of(revenue, cost)
    for ratio, interval in (
        (b, summarise(totals(revenue, cost), 0.95).roas_interval),
        (a - b, compare(totals(other, cost), totals(revenue, cost), 0.95).interval),
    ):
        radius = 1.96 * ratio.deviation / math.sqrt(1000)
        assert interval.low == pytest.approx(ratio.value - radius, abs=0.1 * radius)
        assert interval.high == pytest.approx(ratio.value + radius, abs=0.1 * radius)


def test_what_flights_have_in_common_cancels():
    dice = np.random.default_rng(4)
    revenue, cost = campaigns(dice, 400)
    a, b = Ratio.of(1.1 * revenue, cost), Ratio.of(revenue, cost)
    assert (a - b).value == pytest.approx(0.1 * b.value)
    assert (a - b).deviation == pytest.approx(0.1 * b.deviation)


def test_ratio_to_nothing_is_refused():
    with pytest.raises(ValueError, match="nothing"):
        Ratio.of(np.ones(3), np.zeros(3))


def ever_wrong(alpha: float, looks: range, repetitions: int = 600) -> float:
    """How often an interval of any look misses the truth, 5."""
    dice = np.random.default_rng(5)
    sequence, wrong = ConfidenceSequence(alpha, sharpest=1024), 0
    for _ in range(repetitions):
        revenue, cost = campaigns(dice, looks[-1])
        wrong += any(5.0 not in sequence.interval(Ratio.of(revenue[:n], cost[:n])) for n in looks)
    return wrong / repetitions


@pytest.mark.parametrize("alpha", [0.2, 0.05])
def test_all_looks_together_are_wrong_no_more_often_than_stated(alpha):
    assert ever_wrong(alpha, range(128, 4097, 128)) <= alpha + 2.0 * math.sqrt(alpha / 600)


def test_intervals_for_one_look_would_be_wrong_far_more_often():
    dice = np.random.default_rng(6)
    wrong = 0
    for _ in range(400):
        revenue, cost = campaigns(dice, 4096)
        ratios = (Ratio.of(revenue[:n], cost[:n]) for n in range(128, 4097, 128))
        wrong += any(abs(r.value - 5.0) > 1.96 * r.deviation / math.sqrt(len(r.influence)) for r in ratios)
    assert wrong / 400 > 0.15


def test_radius_is_that_of_the_papers_formula():
    # By hand: rho2 = (5.99146 + 1.79034 + 1) / 100 = 0.087818, and with t rho2 + 1 = 9.7818 the radius for a deviation
    # of 1 is sqrt(2 x 9.7818 / 878.18 x log(3.12759 / 0.05)) = sqrt(0.0222775 x 4.13600) = 0.30355.
    assert ConfidenceSequence(0.05, 100).radius(3.0, 100) == pytest.approx(3.0 * 0.30355, abs=1e-4)


def test_it_costs_less_than_double_where_it_is_sharpest():
    sequence = ConfidenceSequence(0.05, 1000)
    factor = [sequence.radius(1.0, n) * math.sqrt(n) / 1.96 for n in (250, 1000, 4000)]
    assert factor[1] < 1.6 and max(factor) < 2.0
    assert factor[1] < min(factor[0], factor[2])


def test_without_two_flights_nothing_is_known():
    interval = ConfidenceSequence(0.05, 100).interval(Ratio.of(np.array([5.0]), np.array([1.0])))
    assert (interval.low, interval.high) == (-math.inf, math.inf)
