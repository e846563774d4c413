"""One auction hour: the formulas against drawn auctions, the draws against the formulas, and the hard budget."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaelp_ray.market.auction import Hour, Outcome, Purse
from gaelp_ray.market.keyed_auction import draw_keyed
from gaelp_ray.market.prices import Lognormal, Pricing
from gaelp_ray.market.stream import Cells

PLENTY = 1e12
OUTPUTS = ("impressions", "clicks", "cost", "conversions", "revenue")


def an_hour(flights: int, volume: float = 40.0) -> Hour:
    """Two channels: a dear one with few clicks, a cheap one with many."""
    shape = (flights, 1)
    return Hour(
        volume=np.tile([volume, 2.0 * volume], shape),
        log_price=np.tile([0.4, -0.3], shape),
        pricing=Pricing(Lognormal(0.8)),
        ctr=np.tile([0.3, 0.6], shape),
        conversion_rate=np.tile([0.2, 0.05], shape),
        order_value=np.array([10.0, 30.0]),
        order_value_shape=2.0,
    )


def drawn(seed: int, flights: int, left: float | np.ndarray, bid: float = 1.5, volume: float = 40.0) -> Outcome:
    cells, money = Cells(seed, np.arange(flights)[:, None], np.array(0), np.arange(2)), np.broadcast_to(left, flights)
    return draw_keyed(cells, an_hour(flights, volume), np.full((flights, 2), np.log(bid)), Purse(money))


def auction_by_auction(seed: int, flights: int, bid: float) -> dict[str, np.ndarray]:
    """The first channel's hour with every single auction, click and order drawn."""
    rng = np.random.default_rng(seed)
    auctions = rng.poisson(40.0, flights)
    flight = np.repeat(np.arange(flights), auctions)
    price = rng.lognormal(0.4, 0.8, len(flight))
    won = price < bid
    clicked = won & (rng.random(len(flight)) < 0.3)
    sold = clicked & (rng.random(len(flight)) < 0.2)
    order = np.where(sold, rng.gamma(2.0, 10.0 / 2.0, len(flight)), 0.0)
    single = dict(zip(OUTPUTS, (won, clicked, price * clicked, sold, order), strict=True))
    return {name: np.bincount(flight, weights, flights) for name, weights in single.items()}


@pytest.mark.parametrize("bid", [0.1, 0.7, 1.5, 8.0])
@pytest.mark.parametrize("log_sd", [0.3, 0.8])
def test_clearing_agrees_with_drawn_prices(bid, log_sd):
    prices = np.random.default_rng(3).lognormal(0.2, log_sd, 200_000)
    won = prices < bid
    win, price = (float(a) for a in Pricing(Lognormal(log_sd)).clearing(np.log(bid), np.array(0.2)))
    assert abs(won.mean() - win) < 4.0 * np.sqrt(win / len(prices)) + 1e-12
    if won.sum() > 100:
        paid = prices[won]
        assert abs(paid.mean() - price) < 4.0 * paid.std() / np.sqrt(len(paid))


def test_unbeatable_bid_wins_all_at_the_mean_price():
    win, price = Pricing(Lognormal(0.8)).clearing(np.log(1e9), np.array(0.2))
    assert (win, price) == pytest.approx((1.0, np.exp(0.2 + 0.32)))


@settings(derandomize=True, max_examples=100, deadline=None)
@given(log_bid=st.floats(-30.0, 30.0), log_price=st.floats(-5.0, 5.0), log_sd=st.floats(0.05, 3.0))
def test_price_below_the_bid_never_exceeds_the_bid(log_bid, log_price, log_sd):
    win, price = Pricing(Lognormal(log_sd)).clearing(np.array(log_bid), np.array(log_price))
    assert 0.0 <= win <= 1.0
    assert 0.0 <= price <= np.exp(log_bid)


def test_draws_have_the_expected_means():
    flights, hour = 20_000, an_hour(1)
    outcome = drawn(4, flights, PLENTY)
    win, price = hour.pricing.clearing(np.log(1.5), hour.log_price[0])
    impressions = hour.volume[0] * win
    clicks = impressions * hour.ctr[0]
    conversions = clicks * hour.conversion_rate[0]
    means = (impressions, clicks, clicks * price, conversions, conversions * hour.order_value)
    for name, mean in zip(OUTPUTS, means, strict=True):
        sample = getattr(outcome, name)
        z = (sample.mean(axis=0) - mean) / (sample.std(axis=0) / np.sqrt(flights))
        assert np.abs(z).max() < 4.0, name


def test_aggregate_draws_agree_with_single_auctions():
    flights = 20_000
    outcome, single = drawn(5, flights, PLENTY), auction_by_auction(6, flights, 1.5)
    for name in OUTPUTS:
        ours, theirs = getattr(outcome, name)[:, 0], single[name]
        z = (ours.mean() - theirs.mean()) / np.sqrt((ours.var() + theirs.var()) / flights)
        assert abs(z) < 4.0, name
        assert ours.std() / theirs.std() == pytest.approx(1.0, abs=0.03), name


def test_outcome_states_the_chance_of_winning_and_the_price():
    outcome, hour = drawn(7, 3, PLENTY), an_hour(3)
    win, price = hour.pricing.clearing(np.log(1.5), hour.log_price)
    np.testing.assert_allclose(outcome.win_rate, win, rtol=1e-13)
    np.testing.assert_allclose(outcome.price, price, rtol=1e-13)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    log_bid=st.floats(-4.0, 6.0),
    volume=st.floats(0.0, 1e5),
    left=st.one_of(st.just(0.0), st.floats(0.0, 1e-6), st.floats(0.0, 10.0), st.floats(0.0, 1e5)),
)
def test_an_hour_never_spends_more_than_is_left(seed, log_bid, volume, left):
    outcome = drawn(seed, 3, left, bid=float(np.exp(log_bid)), volume=volume)
    assert (outcome.cost.sum(axis=1) <= left).all()
    assert (outcome.cost >= 0.0).all()
    assert (outcome.clicks <= outcome.impressions).all()
    assert (outcome.conversions <= outcome.clicks).all()
    assert (outcome.revenue[outcome.conversions == 0] == 0.0).all()
    assert (outcome.revenue[outcome.conversions > 0] > 0.0).all()


def test_nothing_is_clicked_or_sold_when_nothing_is_left():
    outcome = drawn(8, 50, 0.0)
    for name in ("clicks", "cost", "conversions", "revenue"):
        assert not getattr(outcome, name).any()


def test_thinned_hour_spends_almost_all_that_is_left():
    outcome = drawn(9, 500, 100.0, bid=5.0, volume=1000.0)
    spent = outcome.cost.sum(axis=1)
    assert spent.min() > 45.0
    assert spent.mean() > 90.0


def test_thinning_keeps_impressions_and_clicks_in_proportion():
    whole, thinned = (drawn(10, 2000, left, bid=5.0, volume=1000.0) for left in (PLENTY, 100.0))
    kept = [getattr(thinned, name).sum(axis=0) / getattr(whole, name).sum(axis=0) for name in ("impressions", "clicks")]
    np.testing.assert_allclose(kept[0], kept[1], rtol=0.02)


def test_money_that_runs_out_leaves_flights_with_enough_money_alone():
    flights = 20
    left = np.where(np.arange(flights) % 2, PLENTY, 1.0)
    mixed = drawn(11, flights, left)
    whole = drawn(11, flights, PLENTY)
    for name in ("impressions", "clicks", "cost"):
        np.testing.assert_array_equal(getattr(mixed, name)[1::2], getattr(whole, name)[1::2])
    assert (mixed.cost[::2].sum(axis=1) < whole.cost[::2].sum(axis=1)).all()


def test_orders_vary_with_the_given_gamma_shape():
    outcome = drawn(12, 20_000, PLENTY)
    one = outcome.revenue[:, 0][outcome.conversions[:, 0] == 1]
    assert one.var() == pytest.approx(10.0**2 / 2.0, rel=0.1)


def test_a_draw_is_repeated_by_its_seed():
    for name in OUTPUTS:
        np.testing.assert_array_equal(getattr(drawn(13, 5, 20.0), name), getattr(drawn(13, 5, 20.0), name))
