"""Competing prices and who pays what: closed forms against drawn prices, best bids against trying them all."""

import numpy as np
import pytest

from gaelp_ray.market.prices import Lognormal, Pricing

SHAPE = Lognormal(0.8)
FIRST, SECOND = Pricing(SHAPE, first_price=True), Pricing(SHAPE)
X = np.linspace(-2.0, 2.5, 10)


def test_a_shape_agrees_with_drawn_prices():
    prices = np.random.default_rng(0).lognormal(0.0, 0.8, 400_000)
    below = prices[:, None] < np.exp(X)
    np.testing.assert_allclose(SHAPE.win(X), below.mean(axis=0), atol=3e-3)
    np.testing.assert_allclose(SHAPE.paid(X), (prices[:, None] * below).mean(axis=0), rtol=0.02, atol=1e-3)
    np.testing.assert_allclose(SHAPE.square(X), (prices[:, None] ** 2 * below).mean(axis=0), rtol=0.03, atol=1e-3)


def test_density_is_the_slope_of_winning_and_quantile_its_inverse():
    step = 1e-5
    slope = (SHAPE.win(X + step) - SHAPE.win(X - step)) / (2 * step)
    np.testing.assert_allclose(SHAPE.density(X), slope, rtol=1e-6)
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
