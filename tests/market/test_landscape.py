"""The calibrated arrays reproduce the sums they came from, and actions are log multipliers on historical bids."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_ndtr

from gaelp_ray.market import load_market
from gaelp_ray.market.landscape import HOURS, TABLE_BINS, solve_log_price, table_competition
from gaelp_ray.market.prices import Lognormal, Pricing

MARKET = load_market("airfrance-search")
LAND = MARKET.landscape
ROWS = MARKET.channels.rows


def test_mean_price_paid_at_the_historical_bid_is_the_cpc():
    _, price = LAND.pricing.clearing(np.log(LAND.bid), LAND.log_price)
    np.testing.assert_allclose(price, LAND.cpc, rtol=1e-9)


def test_drawn_prices_below_the_historical_bid_average_to_the_cpc():
    rng = np.random.default_rng(1)
    for channel in range(LAND.channels):
        prices = rng.lognormal(LAND.log_price[channel], LAND.pricing.shape.log_sd, 100_000)
        paid = prices[prices < LAND.bid[channel]]
        assert abs(paid.mean() - LAND.cpc[channel]) < 4.0 * paid.std() / np.sqrt(len(paid))


def test_historical_bid_wins_the_historical_impressions():
    win, _ = LAND.pricing.clearing(np.log(LAND.bid), LAND.log_price)
    per_day = [row.impressions / MARKET.period_days.value for row in ROWS]
    np.testing.assert_allclose(LAND.volume * win, per_day, rtol=1e-12)


def test_historical_bid_is_the_cpc_over_the_calibrated_share():
    np.testing.assert_allclose(LAND.cpc / LAND.bid, MARKET.prices.paid_over_bid.value)


@settings(derandomize=True, max_examples=50, deadline=None)
@given(
    paid=st.floats(0.01, 1000.0), paid_over_bid=st.floats(0.01, 0.8), log_sd=st.floats(0.1, 1.0)
)  # fmt: skip
def test_price_level_is_solved_for_every_market(paid, paid_over_bid, log_sd):
    bid = np.array([paid / paid_over_bid])
    log_price = solve_log_price(np.array([paid]), bid, log_sd)
    assert Pricing(Lognormal(log_sd)).clearing(np.log(bid), log_price)[1] == pytest.approx(paid, rel=1e-6)


def test_a_week_holds_seven_average_days_of_traffic():
    assert LAND.traffic.shape == (HOURS,)
    assert LAND.traffic.sum() == pytest.approx(7.0)


def test_traffic_follows_the_file_hour_by_hour():
    shares = MARKET.hour_of_week.shares
    assert LAND.traffic[30] / LAND.traffic[5] == pytest.approx(shares[1][6] / shares[0][5])


def test_value_is_revenue_per_click():
    np.testing.assert_allclose(LAND.value, [row.revenue / row.clicks for row in ROWS])


def test_action_zero_is_the_historical_bid():
    np.testing.assert_array_equal(LAND.bids(np.zeros(LAND.channels, np.float32)), LAND.bid)


@pytest.mark.parametrize(("action", "multiplier"), [(1.0, 100.0), (-1.0, 0.01), (0.5, 10.0), (-0.5, 0.1)])
def test_actions_multiply_the_historical_bid(action, multiplier):
    bids = LAND.bids(np.full((3, LAND.channels), action, np.float32))
    np.testing.assert_allclose(bids, np.tile(LAND.bid * multiplier, (3, 1)))


@pytest.mark.parametrize("action", [1.5, -7.0, np.inf, -np.inf])
def test_actions_beyond_the_range_are_clipped(action):
    beyond = LAND.bids(np.full(LAND.channels, action, np.float32))
    np.testing.assert_array_equal(beyond, LAND.bids(np.full(LAND.channels, np.sign(action), np.float32)))


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.lists(st.floats(-1.0, 1.0, width=32), min_size=LAND.channels, max_size=LAND.channels))
def test_an_action_survives_the_way_through_its_bids(action):
    there = np.array(action, np.float32)
    back = LAND.action(np.log(LAND.bids(there)))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, there, atol=1e-6)


@pytest.mark.parametrize(("multiplier", "action"), [(1e4, 1.0), (1e-4, -1.0)])
def test_bids_out_of_reach_become_the_nearest_action(multiplier, action):
    np.testing.assert_array_equal(LAND.action(np.log(LAND.bid * multiplier)), np.full(LAND.channels, action))


def test_conversion_prior_has_the_spread_of_the_heterogeneity():
    rng = np.random.default_rng(2)
    shape = LAND.conversion_prior_clicks * LAND.conversion_rate
    drawn = np.exp(LAND.conversion_rate_log_sd * rng.standard_normal(400_000))
    # A gamma of this shape has the coefficient of variation shape^-1/2.
    np.testing.assert_allclose(shape**-0.5, drawn.std() / drawn.mean(), rtol=0.02)


def test_volume_prior_knows_the_spread_of_volume_and_click_rate():
    wider = replace(LAND, volume_log_sd=0.0, ctr_log_sd=float(np.hypot(LAND.volume_log_sd, LAND.ctr_log_sd)))
    assert wider.volume_prior_clicks == pytest.approx(LAND.volume_prior_clicks)
    assert replace(LAND, ctr_log_sd=0.5).volume_prior_clicks < LAND.volume_prior_clicks


def test_exact_calibration_is_a_prior_as_strong_as_a_spread_of_one_percent():
    exact, narrow = (replace(LAND, conversion_rate_log_sd=spread).conversion_prior_clicks for spread in (0.0, 0.01))
    np.testing.assert_array_equal(exact, narrow)
    np.testing.assert_allclose(exact * LAND.conversion_rate, 1e4, rtol=1e-3)


@pytest.mark.parametrize(("paid_over_bid", "log_sd"), [(0.9, 0.8), (0.8, 2.0), (0.94, 2.0), (0.02, 0.3)])
def test_price_level_is_solved_for_prices_close_to_the_bid_too(paid_over_bid, log_sd):
    bid = np.array([2.0])
    log_price = solve_log_price(paid_over_bid * bid, bid, log_sd)
    z = (np.log(bid) - log_price) / log_sd
    log_paid = log_price + log_sd**2 / 2 + log_ndtr(z - log_sd) - log_ndtr(z)
    np.testing.assert_allclose(np.exp(log_paid), paid_over_bid * bid, rtol=1e-6)


def test_tables_are_interpolated_between_their_points_also_where_these_coincide():
    tables = [
        ([0.0, 5.0, 6.0, 6.0, 30.0], [0.0, 0.1, 0.2, 0.3, 0.4]),
        ([0.0, 2.0, 9.0, 30.0, 30.0], [0.0, 0.2, 0.3, 0.6, 0.9]),
    ]
    shape = table_competition(np.array([0.01, 0.02]), 30.0, 30.0, tables).shape
    grid = np.linspace(0.0, 30.0, TABLE_BINS + 1)
    expected = [np.interp(grid, prices, chances) for prices, chances in tables]
    np.testing.assert_allclose(shape.cumulative, expected, rtol=1e-14, atol=1e-15)
