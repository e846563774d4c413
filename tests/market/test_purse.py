"""Purse: what may still be spent, by the flight and by channels with caps of their own."""

import numpy as np
import pytest

from gaelp_ray.market.auction import Hour, Purse
from gaelp_ray.market.keyed_auction import draw_keyed
from gaelp_ray.market.prices import Lognormal, Pricing
from gaelp_ray.market.stream import Cells

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
    cells = Cells(3, np.arange(flights)[:, None], np.array(0), np.arange(2))
    return draw_keyed(cells, an_hour(flights), np.full((flights, 2), np.log(2.0)), purse)


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


def test_an_hour_that_cannot_empty_the_purse_is_drawn_as_with_unlimited_money():
    free = drawn(None)
    enough = drawn(None, flight=1.1 * free.cost.sum(axis=1).max())
    for name in OUTPUTS:
        np.testing.assert_array_equal(getattr(enough, name), getattr(free, name))


def test_a_channel_that_has_reached_its_cap_shows_nothing():
    hour = drawn(np.array([0.0, np.inf]))
    for name in ("impressions", "clicks", "cost", "conversions", "revenue"):
        assert not getattr(hour, name)[:, 0].any()
        assert getattr(hour, name)[:, 1].any()
