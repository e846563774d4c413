"""Joint filter of traffic: against quadrature, weighted samples and exact conditioning of normals."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad

from gaelp_ray.agents.traffic_filter import TrafficFilter
from gaelp_ray.market import load_market
from gaelp_ray.market.landscape import Landscape

LAND = load_market("airfrance-search").landscape
QUIET = replace(LAND, hour_log_sd=0.0, day_log_sd=0.0)
S = LAND.channels


def heard(
    market: Landscape, clicks: np.ndarray, expected: np.ndarray, midnights: tuple[int, ...] = ()
) -> TrafficFilter:
    """The filter after hours of counts, (T, B, S); a new day begins after the hours in `midnights`."""
    traffic = TrafficFilter(market)
    traffic.begin(clicks.shape[1])
    for t in range(len(clicks)):
        traffic.update(clicks[t], expected[t])
        if t in midnights:
            traffic.new_day()
    return traffic


def as_expected(hours: int, per_hour: float = 30.0, flights: int = 1) -> np.ndarray:
    return np.full((hours, flights, S), per_hour)


def test_before_any_evidence_traffic_is_the_calibrated_one():
    traffic = heard(LAND, np.zeros((0, 2, S)), np.zeros((0, 2, S)))
    for factor in (traffic.today(), traffic.later()):
        np.testing.assert_allclose(factor, np.ones((2, S)))


@pytest.mark.parametrize(("clicks", "expected"), [(0, 3.0), (1, 0.1), (5, 12.0), (40, 20.0), (400, 300.0)])
def test_one_count_of_one_channel_is_the_poisson_lognormal_posterior(clicks, expected):
    counts = np.zeros((1, 1, S)), np.zeros((1, 1, S))
    for array, number in zip(counts, (clicks, expected), strict=True):
        array[..., 2] = number
    traffic = heard(QUIET, *counts)
    sd = np.hypot(QUIET.volume_log_sd, QUIET.ctr_log_sd)

    def weight(z: float, power: int) -> float:
        rate = expected * np.exp(sd * z - sd**2 / 2.0)
        return (rate / expected) ** power * np.exp(clicks * np.log(rate / max(clicks, 1)) - rate + clicks - z**2 / 2.0)

    first, total = (quad(weight, -8.0, 8.0, (power,), limit=200)[0] for power in (1, 0))
    assert traffic.later()[0, 2] == pytest.approx(first / total, rel=0.01)
    np.testing.assert_allclose(np.delete(traffic.later()[0], 2), 1.0)  # nothing is shared without noise


def test_counts_of_two_days_are_the_posterior_of_weighted_samples():
    # Three channels, three hours, midnight after the second: 13 unknowns, sampled from their prior.
    channels, samples = 3, 400_000
    market = replace(LAND, **{name: getattr(LAND, name)[:channels] for name in ("ctr", "volume")})
    clicks = np.array([[14.0, 3.0, 1.0], [22.0, 6.0, 0.0], [5.0, 2.0, 2.0]])
    expected = np.array([[10.0, 4.0, 0.5], [12.0, 3.0, 0.0], [8.0, 3.0, 0.7]])
    traffic = heard(market, clicks[:, None], expected[:, None], midnights=(1,))
    rng = np.random.default_rng(0)

    def drawn(log_sd: float, number: int) -> np.ndarray:
        return log_sd * rng.standard_normal((samples, number)) - log_sd**2 / 2.0

    level = drawn(np.hypot(market.volume_log_sd, market.ctr_log_sd), channels)
    day, hour = drawn(market.day_log_sd, 2), drawn(market.hour_log_sd, 3)
    log_weight = np.zeros(samples)
    for t in range(3):
        log_rate = level + (day[:, t // 2] + hour[:, t])[:, None]
        log_weight += (clicks[t] * log_rate - expected[t] * np.exp(log_rate)).sum(axis=1)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    assert 1.0 / (weight**2).sum() > 10_000  # effective samples: a standard error below 0.005
    np.testing.assert_allclose(traffic.later()[0], weight @ np.exp(level), rtol=0.02)
    np.testing.assert_allclose(traffic.today()[0], weight @ np.exp(level + day[:, 1:]), rtol=0.02)


def test_large_counts_condition_levels_day_and_hours_as_normals():
    # Counts of millions show the sums of the logarithms exactly.
    rng, hours = np.random.default_rng(2), 5
    level_var = LAND.volume_log_sd**2 + LAND.ctr_log_sd**2
    day_var, hour_var = LAND.day_log_sd**2, LAND.hour_log_sd**2
    variances = np.concatenate([np.full(S, level_var), [day_var], np.full(hours, hour_var)])
    truth = np.sqrt(variances) * rng.standard_normal(len(variances)) - variances / 2.0
    sums = np.zeros((hours * S, len(variances)))
    for t in range(hours):
        rows = slice(t * S, (t + 1) * S)
        sums[rows, :S], sums[rows, S], sums[rows, S + 1 + t] = np.eye(S), 1.0, 1.0
    expected = np.full((hours, 1, S), 1e7)
    clicks = expected * np.exp(sums @ truth).reshape(hours, 1, S)
    noise = np.diag(1.0 / clicks.ravel())
    gain = (variances[:, None] * sums.T) @ np.linalg.inv(sums * variances @ sums.T + noise)
    mean = -variances / 2.0 + gain @ (sums @ (truth + variances / 2.0))
    covariance = np.diag(variances) - gain @ (sums * variances)
    traffic = heard(LAND, clicks, expected)
    spread = np.diag(covariance)
    np.testing.assert_allclose(traffic.later()[0], np.exp(mean[:S] + spread[:S] / 2.0), rtol=1e-3)
    both = spread[:S] + spread[S] + 2.0 * covariance[:S, S]
    np.testing.assert_allclose(traffic.today()[0], np.exp(mean[:S] + mean[S] + both / 2.0), rtol=1e-3)


def test_a_busy_day_is_mostly_todays_and_a_busy_channel_is_its_own():
    busy = heard(LAND, 2.0 * as_expected(20), as_expected(20))
    assert (busy.today() > 1.85).all()
    assert (busy.later() < 1.6).all()
    busy.new_day()
    np.testing.assert_allclose(busy.today(), busy.later())
    own = np.where(np.arange(S) == 2, 1.5, 1.0)
    later = heard(LAND, own * as_expected(20), as_expected(20)).later()[0]
    np.testing.assert_allclose(later[2] / np.delete(later, 2), 1.5, rtol=0.05)


def test_the_order_of_channels_hardly_matters():
    rng = np.random.default_rng(1)
    expected = rng.uniform(0.5, 30.0, (30, 4, S))
    clicks = rng.poisson(expected * np.exp(0.4 * rng.standard_normal((30, 4, 1)))).astype(float)
    one, other = heard(LAND, clicks, expected, (23,)), heard(LAND, clicks[..., ::-1], expected[..., ::-1], (23,))
    np.testing.assert_allclose(one.later(), other.later()[:, ::-1], rtol=0.01)
    np.testing.assert_allclose(one.today(), other.today()[:, ::-1], rtol=0.01)


@pytest.mark.parametrize("market", [QUIET, replace(QUIET, volume_log_sd=0.0, ctr_log_sd=0.0), LAND])
def test_a_week_of_anything_stays_finite_and_positive(market):
    hours = 167
    for clicks in (0.0, 1.0, 1e6):
        for expected in (0.0, 1e-3, 1e6):
            traffic = heard(market, as_expected(hours, clicks), as_expected(hours, expected), (23, 47, 71, 95))
            for factor in (traffic.today(), traffic.later()):
                assert np.isfinite(factor).all()
                assert (factor > 0.0).all()


def test_without_departures_counts_change_nothing():
    known = replace(QUIET, volume_log_sd=0.0, ctr_log_sd=0.0)
    np.testing.assert_allclose(heard(known, 2.0 * as_expected(50), as_expected(50)).later(), 1.0, atol=1e-6)


def test_quiet_traffic_is_believed_to_the_last_click():
    ahead = heard(QUIET, 1.4 * as_expected(100), as_expected(100)).later()
    np.testing.assert_allclose(ahead, 1.4, rtol=0.005)


def test_hours_without_expected_clicks_tell_nothing():
    nothing = np.zeros((5, 1, S))
    traffic = heard(LAND, nothing + 3.0, nothing)
    np.testing.assert_allclose(traffic.later(), 1.0)


def test_insight_is_the_mean_level_and_today():
    busy = heard(LAND, 2.0 * as_expected(20, flights=2), as_expected(20, flights=2))
    level, today = busy.flight().T
    assert (today > 0.3).all() and (level > 0.01).all()
    np.testing.assert_allclose(level + today, np.log(2.0), atol=0.12)
