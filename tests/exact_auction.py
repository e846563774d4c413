"""One auction hour without aggregation: every auction, price and order drawn by itself.

The yardstick of draw_keyed(), which resolves an hour in aggregate: both must agree in distribution
(tests/market/test_keyed_auction_law.py). Its cost grows with the number of auctions, so that nothing trains with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaelp_ray.market.auction import Hour, Outcome, Purse
from gaelp_ray.market.prices import Shape
from gaelp_ray.records import FloatArray


@dataclass(frozen=True)
class Won:
    """Every auction that one channel of one flight would win with unlimited money: arrays of one entry each."""

    time: FloatArray  # within the hour, 0..1
    price: FloatArray  # of a click
    clicked: npt.NDArray[np.bool_]
    order: FloatArray  # revenue of the conversion; NaN without one


def draw_every_auction(rng: np.random.Generator, hour: Hour, bids: FloatArray, purse: Purse) -> Outcome:
    """Draw one hour at these bids, (B, S); conversions are reported at once.

    Auctions happen in order of time. Flights and channels are served while their purse holds money, and the click that
    empties a purse is billed what is left in it.
    """
    win, price = hour.pricing.clearing(np.log(bids), hour.log_price)
    rows = [_flight(rng, hour, bids, purse, flight) for flight in range(len(bids))]
    impressions, clicks, cost, conversions, revenue = (np.array(column) for column in zip(*rows, strict=True))
    pending = np.zeros_like(conversions)
    return Outcome(impressions, clicks, cost, conversions, revenue, pending, win, price, purse.open())


def _flight(
    rng: np.random.Generator, hour: Hour, bids: FloatArray, purse: Purse, flight: int
) -> tuple[list[int], list[int], FloatArray, list[int], list[float]]:
    """(impressions, clicks, cost, conversions, revenue) of one flight, by channel."""
    channels = range(bids.shape[1])
    won = [_won(rng, hour, bids, (flight, channel)) for channel in channels]
    caps = np.full(len(channels), np.inf) if purse.channel is None else purse.channel[flight]
    cost, until = _serve(won, float(purse.flight[flight]), caps)
    served = [one.time <= end for one, end in zip(won, until, strict=True)]
    orders = [one.order[on & ~np.isnan(one.order)] for one, on in zip(won, served, strict=True)]
    return (
        [int(on.sum()) for on in served],
        [int((one.clicked & on).sum()) for one, on in zip(won, served, strict=True)],
        cost,
        [len(values) for values in orders],
        [float(values.sum()) for values in orders],
    )


def _serve(won: list[Won], left: float, caps: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(cost, time until which it was served) of each channel."""
    cost = np.zeros(len(won))
    until = np.where((caps > 0.0) & (left > 0.0), 1.0, 0.0)
    events = (
        (time, s, price)
        for s, one in enumerate(won)
        for time, price in zip(one.time[one.clicked].tolist(), one.price[one.clicked].tolist(), strict=True)
    )
    for time, s, price in sorted(events):
        if time > until[s]:
            continue
        paid = min(price, left, caps[s] - cost[s])
        cost[s] += paid
        left -= paid
        if cost[s] >= caps[s]:
            until[s] = time
        if left <= 0.0:
            until = np.minimum(until, time)
    return cost, until


def _won(rng: np.random.Generator, hour: Hour, bids: FloatArray, cell: tuple[int, int]) -> Won:
    auctions = rng.poisson(hour.volume[cell])
    competing = np.exp(hour.log_price[cell]) * _prices(rng, hour.pricing.shape, auctions, cell[1])
    price = competing[competing < bids[cell]]
    if hour.pricing.first_price:
        price = np.full_like(price, bids[cell])
    clicked = rng.random(price.size) < hour.ctr[cell]
    converted = clicked & (rng.random(price.size) < hour.conversion_rate[cell])
    shape, mean = hour.order_value_shape, hour.order_value[cell[1]]
    order = np.full(price.size, np.nan)
    order[converted] = rng.gamma(shape, mean / shape, int(converted.sum()))
    return Won(rng.random(price.size), price, clicked, order)


def _prices(rng: np.random.Generator, shape: Shape, auctions: int, channel: int) -> FloatArray:
    """Competing prices at location 0: quantiles of uniform draws, infinite where no bid could win."""
    chance = rng.random((auctions, 1)) * np.ones(shape.channels)
    winnable = chance < shape.win(np.full(shape.channels, np.inf))
    prices: FloatArray = np.where(winnable, np.exp(shape.quantile(chance)), np.inf)[:, channel % shape.channels]
    return prices
