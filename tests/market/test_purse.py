"""Purse: what may still be spent, by the flight and by channels with caps of their own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaelp_ray.market.auction import Hour, Purse, draw
from gaelp_ray.market.prices import Lognormal, Pricing

COST = np.array([[6.0, 3.0, 1.0], [60.0, 30.0, 10.0]])
FLIGHT = np.array([50.0, 50.0])
CAPS = np.array([[4.0, 10.0, 10.0], [15.0, 100.0, 100.0]])


def test_a_purse_is_open_while_there_is_money():
    np.testing.assert_array_equal(Purse(np.array([1.0, 0.0])).open(), [[True], [False]])
    channel = np.array([[1.0, 0.0], [1.0, 1.0]])
    np.testing.assert_array_equal(Purse(np.array([1.0, 0.0]), channel).open(), [[True, False], [False, False]])


def test_a_purse_that_covers_everything_has_no_shares():
    assert Purse(np.array([10.0, 100.0])).share(COST) is None
    assert Purse(np.array([10.0, 100.0]), COST.copy()).share(COST) is None
    assert Purse(np.full(2, np.inf), np.full((2, 3), np.inf)).share(COST) is None


def test_a_short_flight_is_cut_alike_on_all_channels():
    np.testing.assert_allclose(Purse(FLIGHT).share(COST), [[1.0, 1.0, 1.0], [0.5, 0.5, 0.5]])


def test_a_short_channel_is_cut_alone():
    share = Purse(np.full(2, 1e9), CAPS).share(COST)
    np.testing.assert_allclose(share, [[4.0 / 6.0, 1.0, 1.0], [0.25, 1.0, 1.0]])


def test_channels_are_cut_first_and_the_flight_pays_for_what_is_left():
    share = Purse(FLIGHT, CAPS).share(COST)
    # Second flight: 15 + 30 + 10 = 55 after the cap, for which there is 50.
    np.testing.assert_allclose(share, [[4.0 / 6.0, 1.0, 1.0], [0.25 * 50 / 55, 50 / 55, 50 / 55]])
    assert ((share * COST) <= CAPS).all()
    np.testing.assert_allclose((share * COST)[1].sum(), 50.0)


def test_sharing_does_not_change_the_costs():
    cost = COST.copy()
    Purse(FLIGHT, CAPS).share(cost)
    np.testing.assert_array_equal(cost, COST)


def test_clipping_cuts_channels_to_their_cap_and_flights_to_their_money():
    clipped = Purse(FLIGHT, CAPS).clip(COST)
    np.testing.assert_allclose(clipped, [[4.0, 3.0, 1.0], np.array([15.0, 30.0, 10.0]) * 50 / 55])
    np.testing.assert_array_equal(Purse(np.full(2, 1e9)).clip(COST), COST)
    np.testing.assert_array_equal(Purse(np.zeros(2)).clip(COST), np.zeros((2, 3)))


amounts = st.lists(st.floats(0.0, 1e6), min_size=3, max_size=3).map(lambda row: np.array([row]))


@settings(derandomize=True, max_examples=200, deadline=None)
@given(cost=amounts, caps=amounts, flight=st.floats(0.0, 1e6))
def test_nothing_is_ever_left_above_the_purse(cost, caps, flight):
    purse = Purse(np.array([flight]), caps)
    clipped = purse.clip(cost)
    assert (clipped <= caps).all()
    assert clipped.sum() <= flight
    share = purse.share(cost)
    if share is None:
        assert (cost <= caps).all() and cost.sum() <= flight
    else:
        assert ((share >= 0.0) & (share <= 1.0)).all()
        np.testing.assert_array_less(share * cost, caps * (1.0 + 1e-9) + 1e-12)
        assert (share * cost).sum() <= flight * (1.0 + 1e-9)


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


def test_an_hour_thins_the_capped_channel_and_leaves_the_other_alone():
    free, capped = drawn(None), drawn(np.array([100.0, np.inf]))
    for name in ("impressions", "clicks", "cost"):
        np.testing.assert_array_equal(getattr(capped, name)[:, 1], getattr(free, name)[:, 1])
    spent = capped.cost[:, 0]
    assert spent.max() <= 100.0
    assert spent.mean() > 95.0
    kept = [getattr(capped, name)[:, 0].sum() / getattr(free, name)[:, 0].sum() for name in ("impressions", "clicks")]
    assert kept[0] == pytest.approx(kept[1], rel=0.02)


def test_an_hour_keeps_both_the_caps_and_the_budget():
    hour = drawn(np.array([100.0, np.inf]), flight=300.0)
    assert (hour.cost[:, 0] <= 100.0).all()
    assert (hour.cost.sum(axis=1) <= 300.0).all()
    assert hour.cost.sum(axis=1).mean() > 285.0


def test_a_channel_that_has_reached_its_cap_shows_nothing():
    hour = drawn(np.array([0.0, np.inf]))
    for name in ("impressions", "clicks", "cost", "conversions", "revenue"):
        assert not getattr(hour, name)[:, 0].any()
        assert getattr(hour, name)[:, 1].any()
