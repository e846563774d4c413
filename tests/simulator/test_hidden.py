"""What a flight draws: means at the calibration, the stated departures, and nothing else."""

from dataclasses import fields, replace

import numpy as np
import pytest

from gaelp_ray.market import load_market
from gaelp_ray.market.landscape import HOURS, HOURS_PER_DAY, MAX_CONVERSION_RATE
from gaelp_ray.simulator.hidden import MAX_CTR, Hidden
from gaelp_ray.simulator.random_streams import KeyedStream

LAND = load_market("airfrance-search").landscape
NOMINAL = load_market("airfrance-search").variant("nominal").landscape
FLIGHTS = 1500


def hidden_of(landscape, seed: int = 0, flights: int = FLIGHTS) -> Hidden:
    return KeyedStream(seed, landscape, np.arange(flights)).hidden()


@pytest.fixture(scope="module")
def realistic() -> Hidden:
    return hidden_of(LAND)


@pytest.fixture(scope="module")
def nominal() -> Hidden:
    return hidden_of(NOMINAL)


def z_scores(sample: np.ndarray, mean: float) -> np.ndarray:
    """How many standard errors the means over flights (first axis) are away from `mean`."""
    return (sample.mean(axis=0) - mean) / (sample.std(axis=0) / np.sqrt(len(sample)))


@pytest.mark.parametrize("name", ["ctr", "volume"])
def test_rates_have_mean_one_around_the_calibration(realistic, name):
    assert np.abs(z_scores(getattr(realistic, name) / getattr(LAND, name), 1.0)).max() < 4.0


def test_conversion_rates_have_mean_one_around_the_calibration(nominal):
    assert np.abs(z_scores(nominal.conversion_rate[0] / NOMINAL.conversion_rate, 1.0)).max() < 4.0


@pytest.mark.parametrize(
    ("name", "spread"),
    [("ctr", LAND.ctr_log_sd), ("volume", LAND.volume_log_sd)],
)
def test_rates_have_the_stated_spread(realistic, name, spread):
    assert np.log(getattr(realistic, name)).std(axis=0) == pytest.approx(spread, rel=0.08)


def test_heterogeneity_is_the_spread_of_conversion_rates(nominal):
    assert np.log(nominal.conversion_rate[0]).std(axis=0) == pytest.approx(0.5, rel=0.08)


def test_traffic_has_mean_one_around_the_week(realistic):
    relative = realistic.traffic / LAND.traffic[:, None]
    # Over flights of the week's mean: hours of one day share their noise.
    assert abs(z_scores(relative.mean(axis=0), 1.0)) < 4.0


def test_noise_of_a_day_is_shared_by_its_hours():
    relative = hidden_of(replace(LAND, hour_log_sd=0.0), flights=400).traffic / LAND.traffic[:, None]
    days = relative.reshape(HOURS // HOURS_PER_DAY, HOURS_PER_DAY, -1)
    np.testing.assert_allclose(days, np.broadcast_to(days[:, :1], days.shape))
    assert np.log(days[:, 0]).std() == pytest.approx(LAND.day_log_sd, rel=0.08)
    assert abs(np.corrcoef(np.log(days[0, 0]), np.log(days[1, 0]))[0, 1]) < 0.2


def test_nominal_flight_has_the_calibrated_traffic_and_no_drift(nominal):
    np.testing.assert_array_equal(nominal.traffic, np.tile(NOMINAL.traffic[:, None], (1, FLIGHTS)))
    np.testing.assert_array_equal(nominal.conversion_rate, np.tile(nominal.conversion_rate[:1], (HOURS, 1, 1)))


def test_conversion_rates_drift_as_a_random_walk(realistic):
    steps = np.diff(np.log(realistic.conversion_rate), axis=0)
    assert steps.std() == pytest.approx(LAND.conversion_rate_drift, rel=0.01)
    assert abs(np.corrcoef(steps[:-1].ravel(), steps[1:].ravel())[0, 1]) < 0.01


def test_price_level_is_an_autoregression_of_the_stated_size(realistic):
    level = realistic.log_price - LAND.log_price
    slope = (level[:-1] * level[1:]).sum() / (level[:-1] ** 2).sum()
    assert slope == pytest.approx(LAND.price_autocorrelation, abs=0.002)
    assert level[-1].std() == pytest.approx(LAND.price_log_sd, rel=0.05)
    innovation = LAND.price_log_sd * np.sqrt(1.0 - LAND.price_autocorrelation**2)
    assert level[0].std() == pytest.approx(innovation, rel=0.05)


def test_price_levels_of_channels_are_independent(realistic):
    level = (realistic.log_price - LAND.log_price)[-1]
    correlation = np.corrcoef(level.T) - np.eye(LAND.channels)
    assert np.abs(correlation).max() < 4.0 / np.sqrt(FLIGHTS)


def test_budgets_spread_evenly_over_the_stated_factor(realistic):
    log_ratio = np.log(realistic.budget / LAND.budget)
    assert np.abs(log_ratio).max() <= LAND.budget_log_range
    assert abs(z_scores(log_ratio, 0.0)) < 4.0
    assert log_ratio.std() == pytest.approx(LAND.budget_log_range / np.sqrt(3.0), rel=0.05)


def test_rates_stay_probabilities_in_a_wild_market():
    wild = hidden_of(replace(LAND, ctr=LAND.ctr * 10, ctr_log_sd=2.0, conversion_rate_log_sd=3.0), flights=300)
    assert wild.ctr.max() == MAX_CTR
    assert wild.conversion_rate.max() == MAX_CONVERSION_RATE


def test_same_seed_same_flights_and_another_seed_others():
    first, second, other = (hidden_of(LAND, seed, flights=3) for seed in (1, 1, 2))
    for name in (f.name for f in fields(Hidden) if f.name != "landscape"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        assert not np.array_equal(getattr(first, name), getattr(other, name))


def test_an_hour_shows_the_truth_of_that_hour():
    hidden = hidden_of(LAND, seed=3, flights=4)
    hour = hidden.hour(50, np.zeros((1, 1)))
    np.testing.assert_array_equal(hour.volume, hidden.volume * hidden.traffic[50][:, None])
    np.testing.assert_array_equal(hour.log_price, hidden.log_price[50])
    np.testing.assert_array_equal(hour.conversion_rate, hidden.conversion_rate[50])
    np.testing.assert_array_equal(hour.order_value, LAND.order_value)


def pooled_z(sample: np.ndarray) -> np.ndarray:
    """z of the mean over flights and channels against 1, hour by hour; sample is (H, B, S)."""
    flat = sample.reshape(len(sample), -1)
    return (flat.mean(axis=1) - 1.0) / (flat.std(axis=1) / np.sqrt(flat.shape[1]))


def test_drift_and_price_factors_have_mean_one_in_every_hour():
    still = hidden_of(replace(LAND, conversion_rate_log_sd=0.0), seed=4, flights=3000)
    for factor in (still.conversion_rate / LAND.conversion_rate, np.exp(still.log_price - LAND.log_price)):
        assert np.abs(pooled_z(factor)).max() < 4.0


def test_logs_of_drift_and_prices_have_the_stated_variance_in_every_hour():
    still = hidden_of(replace(LAND, conversion_rate_log_sd=0.0), seed=5, flights=3000)
    hours = np.arange(1, HOURS + 1)
    drift = np.log(still.conversion_rate / LAND.conversion_rate).reshape(HOURS, -1).var(axis=1)
    np.testing.assert_allclose(drift, hours * LAND.conversion_rate_drift**2, rtol=0.06)
    price = (still.log_price - LAND.log_price).reshape(HOURS, -1).var(axis=1)
    stated = LAND.price_log_sd**2 * (1.0 - LAND.price_autocorrelation ** (2.0 * hours))
    np.testing.assert_allclose(price, stated, rtol=0.06)


def test_an_hour_knows_what_flights_have_done_to_it():
    tiring = replace(LAND, fatigue_rate=1.0, report_rate=0.25)
    hidden = hidden_of(tiring, seed=6, flights=2)
    waiting = np.arange(14).reshape(2, 7)
    log_fatigue = np.log(np.linspace(0.1, 1.0, 14)).reshape(2, 7)
    hour = hidden.hour(50, log_fatigue, waiting)
    np.testing.assert_allclose(hour.ctr, hidden.ctr * np.exp(log_fatigue))
    np.testing.assert_array_equal(hour.pending, waiting)
    assert (hour.report_rate, hidden.hour(HOURS - 1, log_fatigue, waiting).report_rate) == (0.25, 1.0)
