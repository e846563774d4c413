"""Competing prices and who pays what: closed forms against drawn prices, best bids against trying them all."""

import numpy as np
import pytest
from exact_auction import _prices

from gaelp_ray.market import load_market
from gaelp_ray.market.prices import Lognormal, Pricing, Table

SHAPE = Lognormal(0.8)
FIRST, SECOND = Pricing(SHAPE, first_price=True), Pricing(SHAPE)
IPINYOU = load_market("ipinyou-display")
X = np.linspace(-2.0, 2.5, 10)


def test_a_shape_agrees_with_drawn_prices():
    prices = np.random.default_rng(0).lognormal(0.0, 0.8, 400_000)
    below = prices[:, None] < np.exp(X)
    np.testing.assert_allclose(SHAPE.win(X), below.mean(axis=0), atol=3e-3)
    np.testing.assert_allclose(SHAPE.paid(X), (prices[:, None] * below).mean(axis=0), rtol=0.02, atol=1e-3)
    np.testing.assert_allclose(SHAPE.square(X), (prices[:, None] ** 2 * below).mean(axis=0), rtol=0.03, atol=1e-3)


def test_slope_of_what_is_paid_and_inverse_of_winning():
    step = 1e-5
    slope = (SHAPE.paid(X + step) - SHAPE.paid(X - step)) / (2 * step)
    np.testing.assert_allclose(SHAPE.paid_slope(X), slope, rtol=1e-6)
    np.testing.assert_allclose(SHAPE.quantile(SHAPE.win(X)), X, atol=1e-9)


def test_a_location_moves_prices_and_nothing_else():
    for pricing in (FIRST, SECOND):
        win, price = pricing.clearing(X, np.zeros_like(X))
        moved_win, moved_price = pricing.clearing(X + 1.3, np.full_like(X, 1.3))
        np.testing.assert_allclose(moved_win, win)
        np.testing.assert_allclose(moved_price, price * np.exp(1.3))


def test_the_winner_of_a_first_price_auction_pays_the_bid():
    win, price = FIRST.clearing(X, np.zeros_like(X))
    np.testing.assert_allclose(price, np.exp(X))
    assert (FIRST.variance(X, np.zeros_like(X), win, price) == 0.0).all()
    np.testing.assert_allclose(win, SECOND.clearing(X, np.zeros_like(X))[0])


def test_truth_pays_in_second_price_auctions():
    np.testing.assert_array_equal(SECOND.best_bid(X), X)


@pytest.mark.parametrize("u", [-3.0, -1.0, 0.0, 1.0, 3.0])
def test_first_price_response_is_the_best_of_all_bids(u):
    tried = np.linspace(u - 6.0, u, 60_001)
    gain = (np.exp(u) - np.exp(tried)) * SHAPE.win(tried)
    x = float(FIRST.best_bid(np.array(u)))
    assert x == pytest.approx(tried[gain.argmax()], abs=0.02)
    assert (np.exp(u) - np.exp(x)) * SHAPE.win(x) >= gain.max() * (1.0 - 1e-4)


@pytest.mark.parametrize("pricing", [FIRST, SECOND], ids=["first price", "second price"])
def test_payment_is_that_of_the_best_bid_and_has_the_stated_slope(pricing):
    win, price = pricing.clearing(pricing.best_bid(X), np.zeros_like(X))
    payment, slope = pricing.spend(X)
    np.testing.assert_allclose(payment, win * price, rtol=2e-3)
    step = 0.05
    measured = (pricing.payment(X + step) - pricing.payment(X - step)) / (2 * step)
    np.testing.assert_allclose(slope, measured, rtol=0.05)


@pytest.mark.parametrize("pricing", [FIRST, SECOND], ids=["first price", "second price"])
def test_location_follows_from_win_rate_and_price_alone(pricing):
    location = np.linspace(-1.0, 1.0, len(X))
    win, price = pricing.clearing(X, location)
    np.testing.assert_allclose(pricing.location(win, np.log(price)), location, atol=1e-8)


def two_channels() -> Table:
    """Ten bins up to a price of 10: one channel where all can be won, one where six in ten can."""
    even = np.linspace(0.0, 1.0, 11)
    return Table(1.0, np.stack([even**2, 0.6 * even]))


def test_a_table_agrees_with_prices_drawn_from_it():
    table, x = two_channels(), np.log(np.array([0.5, 2.0, 4.7, 9.9, 50.0]))
    for channel in range(2):
        prices = _prices(np.random.default_rng(1), table, 400_000, channel)
        below = prices[:, None] < np.exp(x)
        paid = np.where(below, prices[:, None], 0.0)
        both = np.repeat(x[:, None], 2, axis=1)
        np.testing.assert_allclose(table.win(both)[:, channel], below.mean(axis=0), atol=3e-3)
        np.testing.assert_allclose(table.paid(both)[:, channel], paid.mean(axis=0), rtol=0.02, atol=1e-3)
        np.testing.assert_allclose(table.square(both)[:, channel], (paid**2).mean(axis=0), rtol=0.02, atol=2e-3)


def test_a_table_may_begin_with_empty_bins():
    table = Table(0.1, np.array([[0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 1.0]]))
    x = np.log(np.append(np.linspace(1e-6, 0.3, 40), np.nextafter(0.1 * np.arange(1, 4), 0.0)))[:, None]
    moments = table.moments(x)
    assert all((getattr(moments, name) >= 0.0).all() for name in ("win", "paid", "square", "cube"))
    np.testing.assert_array_equal(moments.win[:39], 0.0)
    chance, channel = np.array([0.0, 1e-300, 0.25, 0.5, 0.75]), np.zeros(5, np.intp)
    np.testing.assert_allclose(table.price(chance, channel), [0.0, 0.3, 0.35, 0.4, 0.55])
    assert np.isfinite(table.quantile(chance[:, None])).all()


def test_beyond_a_table_nothing_more_is_won():
    table = two_channels()
    np.testing.assert_allclose(table.win(np.full((1, 2), 30.0)), [[1.0, 0.6]])
    np.testing.assert_array_equal(table.paid_slope(np.full((1, 2), 30.0)), 0.0)


def test_quantiles_and_slopes_of_a_table():
    table, x = two_channels(), np.log(np.array([[0.5, 0.5], [3.3, 3.3], [9.2, 9.2]]))
    np.testing.assert_allclose(table.quantile(table.win(x)), x, atol=1e-9)
    step = 1e-6
    slope = (table.paid(x + step) - table.paid(x - step)) / (2 * step)
    np.testing.assert_allclose(table.paid_slope(x), slope, rtol=1e-4)


@pytest.mark.parametrize("first_price", [False, True], ids=["second price", "first price"])
def test_a_table_has_best_bids_too(first_price):
    pricing, u = Pricing(two_channels(), first_price), np.log(np.array([[2.0, 2.0], [8.0, 8.0]]))
    tried = np.log(np.linspace(0.01, 8.0, 4000))[:, None, None] + np.zeros((1, 2, 2))
    win, price = pricing.clearing(tried, np.zeros((2, 2)))
    best = (win * (np.exp(u) - price)).max(axis=0)
    win, price = pricing.clearing(pricing.best_bid(u), np.zeros((2, 2)))
    np.testing.assert_allclose(win * (np.exp(u) - price), best, rtol=2e-3)


def test_the_price_tables_of_ipinyou_repeat_the_mean_prices_paid():
    # The means of the logs, from the same source as the quantiles: an independent check of the interpolation.
    land = IPINYOU.landscape
    _, price = land.pricing.clearing(np.log(land.bid), land.log_price)
    np.testing.assert_allclose(price, land.cpc, rtol=0.06)


def test_the_win_rate_of_ipinyou_is_not_overstated():
    land = IPINYOU.landscape
    win, _ = land.pricing.clearing(np.log(land.bid), land.log_price)
    np.testing.assert_allclose(win, [row.win_rate for row in IPINYOU.prices.rows])
