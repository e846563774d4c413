"""An hour drawn in C has the bits of keyed_auction.py, in every market that C serves."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from price_shapes import SHAPES, of_channels

from gaelp_ray.core import library
from gaelp_ray.market import compiled_auction, load_market
from gaelp_ray.market.auction import Hour, Purse
from gaelp_ray.market.compiled_auction import auction_of
from gaelp_ray.market.compiled_prices import prices_in_c
from gaelp_ray.market.elementary import exp
from gaelp_ray.market.keyed_auction import SINGLY, draw_keyed
from gaelp_ray.market.prices import Pricing
from gaelp_ray.market.stream import Cells

SEED = 2**63 + 5
LANDSCAPE = load_market("airfrance-search").landscape


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def state_of(rng, landscape, flights):
    """An hour of a market, with anything from none to thousands of clicks in a cell, and bids from hopeless to safe."""
    shape = flights, landscape.channels
    volume = landscape.volume / 24.0 * np.exp(rng.normal(0.0, 2.0, shape))
    return Hour(
        volume=volume,
        log_price=landscape.log_price + rng.normal(0.0, 0.5, shape),
        pricing=landscape.pricing,
        ctr=np.minimum(landscape.ctr * np.exp(rng.normal(0.0, 0.3, shape)), 0.9),
        conversion_rate=np.minimum(landscape.conversion_rate * np.exp(rng.normal(0.0, 1.5, shape)), 0.5),
        order_value=landscape.order_value,
        order_value_shape=landscape.order_value_shape,
    ), landscape.log_bids(rng.uniform(-1.0, 1.0, shape).astype(np.float32)) + rng.choice([-12.0, 0.0, 0.0], shape)


def purse_of(rng, hour, capped=False):
    """Enough, too little, next to nothing, or nothing."""
    flights = len(hour.volume)
    amount = exp(rng.uniform(-3.0, 12.0, flights)) * rng.choice([0.0, 1.0, 1e6], flights, p=[0.1, 0.6, 0.3])
    caps = exp(rng.uniform(-3.0, 12.0, hour.volume.shape)) * rng.choice([0.0, 1.0], hour.volume.shape)
    return Purse(amount, caps if capped else None)


@pytest.fixture
def assert_equal_bits(libraries, monkeypatch):
    """Draws an hour with numpy and with each library, and compares all that it brings."""

    def check(hour, log_bids, purse, landscape, t=7):
        cells = Cells(SEED, np.arange(5, 5 + len(log_bids))[:, None], np.array(t), np.arange(landscape.channels))
        monkeypatch.setenv(library.SWITCH, "numpy")
        library.load.cache_clear()
        expected = draw_keyed(cells, hour, log_bids, purse)
        for level, loaded in libraries.items():
            core = library.Core(loaded, level)
            monkeypatch.setattr(compiled_auction, "load", lambda core=core: core)
            bids, drawn = auction_of(cells, landscape)(t, hour, log_bids, purse)
            assert bids.tobytes() == exp(np.ascontiguousarray(log_bids)).tobytes()
            for field in fields(drawn):
                ours, numpys = getattr(drawn, field.name), getattr(expected, field.name)
                assert (ours.dtype, ours.shape) == (numpys.dtype, numpys.shape), field.name
                assert ours.tobytes() == np.ascontiguousarray(numpys).tobytes(), f"{level}: {field.name}"
        return expected

    yield check
    library.load.cache_clear()


@pytest.mark.parametrize("flights", [1, 73, 300])
def test_hours_of_the_base_market(assert_equal_bits, rng, flights):
    for t in (0, 100, 167):
        hour, log_bids = state_of(rng, LANDSCAPE, flights)
        assert_equal_bits(hour, log_bids, Purse(np.full(flights, 1e12)), LANDSCAPE, t)


@pytest.mark.parametrize("capped", [False, True])
def test_hours_in_which_money_runs_out(assert_equal_bits, rng, capped):
    for _ in range(4):
        hour, log_bids = state_of(rng, LANDSCAPE, 200)
        purse = purse_of(rng, hour, capped)
        outcome = assert_equal_bits(hour, log_bids, purse, LANDSCAPE)
        spent = outcome.cost.sum(axis=1)
        assert ((spent > 0.999 * purse.flight) & (purse.flight > 0.0)).sum() > 20
        assert (spent < 0.5 * purse.flight).sum() > 20


@pytest.mark.parametrize("report_rate", [0.05, 1.0])
def test_hours_with_late_conversions(assert_equal_bits, rng, report_rate):
    hour, log_bids = state_of(rng, LANDSCAPE, 200)
    waiting = rng.poisson(np.exp(rng.uniform(-2.0, 6.0, hour.volume.shape)))
    hour = replace(hour, pending=waiting, report_rate=report_rate)
    outcome = assert_equal_bits(hour, log_bids, purse_of(rng, hour), LANDSCAPE)
    assert outcome.pending.any() == (report_rate < 1.0)


@pytest.mark.parametrize("first_price", [False, True], ids=["second price", "first price"])
@pytest.mark.parametrize("channels", [1, 20])
@pytest.mark.parametrize("shape", SHAPES)
def test_hours_of_every_kind_of_prices(assert_equal_bits, rng, shape, channels, first_price):
    landscape = replace(
        of_channels(LANDSCAPE, channels),
        pricing=Pricing(SHAPES[shape](rng, channels), first_price),
        order_value_shape=0.3,
    )
    for capped in (False, True):
        hour, log_bids = state_of(rng, landscape, 120)
        waiting = rng.poisson(5.0, hour.volume.shape)
        hour = replace(hour, pending=waiting, report_rate=0.3)
        outcome = assert_equal_bits(hour, log_bids, purse_of(rng, hour, capped), landscape)
        few = (outcome.clicks > 0) & (outcome.clicks <= SINGLY)
        assert few.any() and (outcome.clicks > 20).any() and (outcome.win_rate < 1e-6).any()


@pytest.mark.parametrize("name", ["airfrance-search", "ipinyou-display", "kag-social"])
@pytest.mark.parametrize("auction", ["second_price", "first_price"])
def test_hours_of_shipped_markets(assert_equal_bits, rng, name, auction):
    landscape = load_market(name).variant(auction=auction).landscape
    hour, log_bids = state_of(rng, landscape, 100)
    assert_equal_bits(hour, log_bids, purse_of(rng, hour), landscape)


def test_prices_that_c_does_not_know_are_refused():
    class Uniform:
        channels = 1

    with pytest.raises(TypeError, match="does not know prices of type Uniform"):
        prices_in_c(Pricing(Uniform()), 3)


def test_arrays_in_any_layout_are_read(assert_equal_bits, rng):
    hour, log_bids = state_of(rng, LANDSCAPE, 60)
    hour = replace(hour, ctr=np.asfortranarray(hour.ctr), volume=np.repeat(hour.volume, 2, axis=0)[::2])
    assert_equal_bits(hour, np.asfortranarray(log_bids), purse_of(rng, hour), LANDSCAPE)
