"""One auction hour without aggregation: every auction, price and order drawn by itself.

The yardstick of auction.draw(), which resolves an hour in aggregate: both must agree in distribution
(tests/market/test_exact.py). Its cost grows with the number of auctions, so that nothing trains with it.
"""

from __future__ import annotations

import numpy as np

from gaelp_ray.market.auction import Hour, Outcome
from gaelp_ray.market.prices import Shape
from gaelp_ray.records import FloatArray


def draw_every_auction(rng: np.random.Generator, hour: Hour, bids: FloatArray) -> Outcome:
    """Draw one hour at these bids, (B, S), without a budget; conversions are reported at once."""
    win, price = hour.pricing.clearing(np.log(bids), hour.log_price)
    cells = [_cell(rng, hour, bids, cell) for cell in np.ndindex(*bids.shape)]
    impressions, clicks, cost, conversions, revenue = (
        np.array(column).reshape(bids.shape) for column in zip(*cells, strict=True)
    )
    return Outcome(
        impressions,
        clicks,
        cost,
        conversions,
        revenue,
        np.zeros_like(conversions),
        win,
        price,
        np.ones((len(bids), 1), np.bool_),
    )


def _cell(
    rng: np.random.Generator, hour: Hour, bids: FloatArray, cell: tuple[int, ...]
) -> tuple[int, int, float, int, float]:
    """(impressions, clicks, cost, conversions, revenue) of one channel of one flight."""
    auctions = rng.poisson(hour.volume[cell])
    competing = np.exp(hour.log_price[cell]) * _prices(rng, hour.pricing.shape, auctions, cell[-1])
    paid = competing[competing < bids[cell]]
    if hour.pricing.first_price:
        paid = np.full_like(paid, bids[cell])
    clicked = rng.random(paid.size) < hour.ctr[cell]
    converted = rng.random(paid.size)[clicked] < hour.conversion_rate[cell]
    shape, mean = hour.order_value_shape, hour.order_value[cell[-1]]
    orders = rng.gamma(shape, mean / shape, int(converted.sum()))
    return paid.size, int(clicked.sum()), float(paid[clicked].sum()), int(converted.sum()), float(orders.sum())


def _prices(rng: np.random.Generator, shape: Shape, auctions: int, channel: int) -> FloatArray:
    """Competing prices at location 0: quantiles of uniform draws, infinite where no bid could win."""
    chance = rng.random((auctions, 1)) * np.ones(shape.channels)
    winnable = chance < shape.win(np.full(shape.channels, np.inf))
    prices: FloatArray = np.where(winnable, np.exp(shape.quantile(chance)), np.inf)[:, channel % shape.channels]
    return prices
