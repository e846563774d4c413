"""Purse: what may still be spent, by the flight and by channels with caps of their own."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaelp_ray.market import auction
from gaelp_ray.market.auction import Hour, Purse, draw
from gaelp_ray.market.prices import Lognormal, Pricing

OUTPUTS = ("impressions", "clicks", "cost", "conversions", "revenue")


def test_a_purse_is_open_while_there_is_money():
    np.testing.assert_array_equal(Purse(np.array([1.0, 0.0])).open(), [[True], [False]])
    channel = np.array([[1.0, 0.0], [1.0, 1.0]])
    np.testing.assert_array_equal(Purse(np.array([1.0, 0.0]), channel).open(), [[True, False], [False, False]])


def an_hour(flights: int) -> Hour:
    cells = np.ones((flights, 2))
    return Hour(
        volume=5000.0 * cells,
        log_price=0.0 * cells,
        pricing=Pricing(Lognormal(0.8)),
        ctr=0.2 * cells,
        conversion_rate=0.1 * cells,
        order_value=np.full(2, 20.0),
        order_value_shape=2.0,
    )


def drawn(channel: np.ndarray | None, flight: float = 1e9, flights: int = 400):
    purse = Purse(np.full(flights, flight), None if channel is None else np.tile(channel, (flights, 1)))
    return draw(np.random.default_rng(3), an_hour(flights), np.full((flights, 2), 2.0), purse)


def test_a_channel_at_its_cap_stops_and_the_others_are_served_on():
    free, capped = drawn(None), drawn(np.array([100.0, np.inf]))
    for name in ("impressions", "clicks"):
        np.testing.assert_array_equal(getattr(capped, name)[:, 1], getattr(free, name)[:, 1])
    assert capped.cost[:, 1].mean() == pytest.approx(free.cost[:, 1].mean(), rel=0.01)
    np.testing.assert_allclose(capped.cost[:, 0], 100.0)
    kept = [getattr(capped, name)[:, 0].sum() / getattr(free, name)[:, 0].sum() for name in ("impressions", "clicks")]
    assert kept[0] == pytest.approx(kept[1], rel=0.02)


def test_an_hour_spends_the_caps_and_the_budget_and_no_more():
    hour = drawn(np.array([100.0, np.inf]), flight=300.0)
    assert (hour.cost[:, 0] <= 100.0).all()
    assert (hour.cost.sum(axis=1) <= 300.0).all()
    np.testing.assert_allclose(hour.cost.sum(axis=1), 300.0)


money = st.one_of(st.just(0.0), st.floats(0.0, 1e-300), st.floats(0.0, 10.0), st.floats(0.0, 1e4), st.just(np.inf))


@settings(derandomize=True, max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), flight=money, caps=st.lists(money, min_size=2, max_size=2), first=st.booleans())
def test_nothing_is_ever_billed_above_the_purse(seed, flight, caps, first):
    state = replace(an_hour(3), pricing=Pricing(Lognormal(0.8), first))
    purse = Purse(np.full(3, flight), np.tile(caps, (3, 1)))
    hour = draw(np.random.default_rng(seed), state, np.full((3, 2), 2.0), purse)
    assert (hour.cost <= purse.channel).all()
    assert (hour.cost.sum(axis=1) <= purse.flight).all()
    assert ((hour.cost > 0.0) == (hour.clicks > 0)).all()
    assert (hour.clicks <= hour.impressions).all()


def test_an_hour_that_cannot_empty_the_purse_is_drawn_as_with_unlimited_money():
    free = drawn(None)
    enough = drawn(None, flight=1.1 * free.cost.sum(axis=1).max())
    for name in OUTPUTS:
        np.testing.assert_array_equal(getattr(enough, name), getattr(free, name))


def test_many_flights_out_of_money_are_resolved_in_blocks(monkeypatch):
    sizes, whole = [], auction._resolve
    monkeypatch.setattr(auction, "BLOCK", 100_000)
    monkeypatch.setattr(
        auction, "_resolve", lambda rng, flights, *rest: sizes.append(len(flights)) or whole(rng, flights, *rest)
    )
    hour = drawn(None, flight=300.0)
    np.testing.assert_allclose(hour.cost.sum(axis=1), 300.0)
    assert sum(sizes) == 400 and max(sizes) * 1800 < 130_000


def test_flights_with_more_clicks_than_a_block_are_resolved(monkeypatch):
    whole = drawn(None, flight=300.0, flights=1)
    monkeypatch.setattr(auction, "BLOCK", 100)
    np.testing.assert_array_equal(drawn(None, flight=300.0, flights=1).cost, whole.cost)
    np.testing.assert_allclose(drawn(None, flight=300.0, flights=3).cost.sum(axis=1), 300.0)


@pytest.mark.parametrize("clicks", [1, 4, 100])
@pytest.mark.parametrize("bid", [0.3, 1.0, 20.0])
def test_upper_bound_of_a_cost_holds_and_is_below_the_bids(monkeypatch, clicks, bid):
    monkeypatch.setattr(auction, "RISK", 0.01)
    pricing = Pricing(Lognormal(0.8))
    win, mean = pricing.clearing(np.log(bid), np.array(0.0))
    prices = np.exp(pricing.shape.quantile(win * np.random.default_rng(1).random((10_000, clicks))))
    variance = pricing.variance(np.log(bid), np.array(0.0), win, mean)
    bound = auction._upper_bound(clicks * mean, clicks * variance, bid - mean)
    assert (prices.sum(axis=1) > bound).mean() <= 0.01
    assert clicks < 100 or bound < 0.95 * clicks * bid


def test_a_channel_that_has_reached_its_cap_shows_nothing():
    hour = drawn(np.array([0.0, np.inf]))
    for name in ("impressions", "clicks", "cost", "conversions", "revenue"):
        assert not getattr(hour, name)[:, 0].any()
        assert getattr(hour, name)[:, 1].any()
