"""Boundaries of planned looks are the published ones, and err as often as stated, also on skewed flights."""

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from gaelp_ray.evidence.group_sequential import Boundary, critical_values, obrien_fleming, standardised
from gaelp_ray.evidence.sequences import Ratio

FIFTHS = (0.2, 0.4, 0.6, 0.8, 1.0)


def test_obrien_fleming_spending_has_the_published_critical_values():
    # One-sided 0.025 with five equal looks; those of Pocock-like spending below: Jennison and Turnbull, chapter 7.
    found = critical_values(FIFTHS, [obrien_fleming(t, 0.025) for t in FIFTHS])
    assert found == pytest.approx((4.877, 3.357, 2.680, 2.290, 2.031), abs=6e-4)


def test_pocock_like_spending_has_the_published_critical_values():
    spent = [0.025 * math.log(1.0 + (math.e - 1.0) * t) for t in FIFTHS]
    assert critical_values(FIFTHS, spent) == pytest.approx((2.438, 2.427, 2.410, 2.397, 2.386), abs=6e-4)


def test_one_look_is_the_normal_quantile_and_units_do_not_matter():
    assert critical_values([7.0], [0.01]) == pytest.approx((norm.isf(0.01),))
    flights = critical_values([256, 512, 2048], [0.001, 0.003, 0.01])
    assert flights == pytest.approx(critical_values([0.125, 0.25, 1.0], [0.001, 0.003, 0.01]), abs=1e-9)


@pytest.mark.parametrize("first", [0.01, 0.3, 0.98])
def test_two_looks_agree_with_the_bivariate_normal(first):
    critical = critical_values([first, 1.0], [0.004, 0.02])
    correlation = math.sqrt(first)
    below = multivariate_normal.cdf(critical, cov=[[1.0, correlation], [correlation, 1.0]])
    assert 1.0 - below == pytest.approx(0.02, abs=1e-5)


def test_obrien_fleming_spends_all_at_the_end_and_hardly_anything_before():
    assert obrien_fleming(1.0, 0.025) == pytest.approx(0.025)
    assert obrien_fleming(0.25, 0.025) < 1e-4
    assert obrien_fleming(0.05, 0.01) < 1e-20


def test_sums_without_a_trend_cross_many_looks_as_often_as_stated():
    looks = np.array([256 * n for n in range(1, 23)])
    critical = critical_values(looks, 0.1 * looks / looks[-1])
    steps = np.random.default_rng(1).normal(size=(20_000, len(looks)))
    scaled = steps.cumsum(axis=1) / np.sqrt(np.arange(1, len(looks) + 1))
    crossed = (scaled > critical).any(axis=1).mean()
    assert crossed == pytest.approx(0.1, abs=3.0 * math.sqrt(0.1 * 0.9 / 20_000))


def test_look_is_the_last_planned_one():
    boundary = Boundary((256, 512), (3.0, 2.0))
    assert [boundary.look(flights) for flights in (255, 256, 511, 512, 9000)] == [0, 256, 256, 512, 512]
    assert Boundary((), ()).look(1000) == 0


def ratio(value: float, influence) -> Ratio:
    influence = np.asarray(influence, float)
    return Ratio(value, influence - influence.mean())


def test_crossing_is_above_zero_by_the_looks_standard_errors():
    boundary, influence = Boundary((4, 16), (3.0, 2.0)), np.tile([1.0, -1.0], 8)
    error = math.sqrt(16 / 15) / 4.0  # of a mean of 16 flights
    assert boundary.crossed(ratio(2.01 * error, influence)) and not boundary.crossed(ratio(1.99 * error, influence))
    assert not boundary.crossed(ratio(-9.0, influence)) and not boundary.crossed(ratio(1.4, influence[:4]))
    with pytest.raises(ValueError, match="not in tuple"):
        boundary.crossed(ratio(1.0, influence[:8]))


def test_arms_that_differ_alike_on_all_flights_differ_for_certain_and_equal_ones_do_not():
    assert [standardised(ratio(value, np.zeros(9))) for value in (0.5, -0.5, 0.0)] == [math.inf, -math.inf, 0.0]


def test_skewness_lowers_what_rare_losses_have_won_and_raises_nothing():
    symmetric, rare_losses = np.tile([1.0, -1.0], 50), np.array([0.0] * 98 + [-5.0, -5.0])
    assert standardised(ratio(0.3, symmetric)) == pytest.approx(3.0 * math.sqrt(99 / 100))
    # By hand: of the influences, 98 are 0.1 and two -4.9: their deviation is sqrt(49 / 99) = 0.703526 and their third
    # moment -2.352; the latter / 0.703526^3 / sqrt(100) is -0.675454. The plain quotient of 0.25 is 3.553527; less
    # 2.843111, plus 0.758240, less 0.112576 it is 1.356080.
    assert standardised(ratio(0.25, rare_losses)) == pytest.approx(1.356080, abs=1e-5)
    assert standardised(ratio(0.25, -rare_losses)) == pytest.approx(3.553527, abs=1e-5)


def test_skewed_flights_cross_no_more_often_than_stated_and_by_the_plain_quotient_they_would():
    dice, looks, error = np.random.default_rng(2), (256, 512, 1024), 0.02
    critical = critical_values(looks, [0.005, 0.01, error])
    boundary, crossed, plainly = Boundary(looks, critical), [], []
    for _ in range(1500):
        luck = 1.0 - 10.0 * (dice.random(looks[-1]) < 0.1) * dice.exponential(size=looks[-1])
        ratios = [Ratio(float(luck[:n].mean()), luck[:n] - luck[:n].mean()) for n in looks]
        crossed.append(any(map(boundary.crossed, ratios)))
        errors = [r.value * math.sqrt(len(r.influence)) / r.deviation for r in ratios]
        plainly.append(any(np.array(errors) > critical))
    allowed = error + 3.0 * math.sqrt(error / 1500)
    assert np.mean(crossed) <= allowed < np.mean(plainly)
