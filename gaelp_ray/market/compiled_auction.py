"""keyed_auction.draw_keyed() in C where the core is compiled: the same bits, several times faster."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import CDLL
from functools import partial

import numpy as np

from gaelp_ray.core.hour import CompiledHour, Constants, Known
from gaelp_ray.core.library import load
from gaelp_ray.market.auction import Hour, Outcome, Purse
from gaelp_ray.market.compiled_prices import prices_in_c
from gaelp_ray.market.elementary import exp
from gaelp_ray.market.keyed_auction import draw_keyed
from gaelp_ray.market.landscape import Landscape
from gaelp_ray.market.stream import Cells
from gaelp_ray.records import FloatArray

Draw = Callable[[int, Hour, FloatArray, Purse], tuple[FloatArray, Outcome]]
"""Hour of the flight, its state, log bids (B, S) and purse -> (bids, (B, S), what they bring)."""


def auction_of(cells: Cells, landscape: Landscape) -> Draw:
    """What draws the hours of these flights, (B, 1), on these channels, (S,)."""
    library = load().library
    if library is None:
        return partial(_draw_in_numpy, cells)
    return partial(_draw_in_c, compiled_hour(library, cells, landscape))


def compiled_hour(library: CDLL, cells: Cells, landscape: Landscape) -> CompiledHour:
    """The hours of these flights in C."""
    prices, shape = prices_in_c(landscape.pricing, landscape.channels), landscape.order_value_shape
    constants = Constants(prices, landscape.order_value / shape, shape)
    return CompiledHour(library, cells.seed, cells.flight[:, 0], constants)


def _draw_in_numpy(cells: Cells, t: int, hour: Hour, log_bids: FloatArray, purse: Purse) -> tuple[FloatArray, Outcome]:
    return exp(log_bids), draw_keyed(cells.at(hour=np.array(t)), hour, log_bids, purse)


def _draw_in_c(
    compiled: CompiledHour, t: int, hour: Hour, log_bids: FloatArray, purse: Purse
) -> tuple[FloatArray, Outcome]:
    state = hour.log_price, hour.volume, hour.ctr, hour.conversion_rate
    drawn = compiled.draw(t, Known(log_bids, *state, purse.flight, purse.channel))
    pending = hour.pending if isinstance(hour.pending, np.ndarray) else None
    booked, revenue = compiled.book(pending, hour.report_rate)
    outcome = Outcome(
        booked.impressions, booked.served, drawn.cost, booked.conversions, revenue, booked.still_pending, drawn.win,
        drawn.mean, purse.open(),
    )  # fmt: skip
    return drawn.bid, outcome
