"""The arithmetic of one auction hour: bids in; expected or drawn impressions, clicks, cost and revenue out.

Auctions against one highest competing bid per channel (prices.py). Everything is a pure function on arrays
of shape (B, S): B flights, S channels. Auctions are resolved in aggregate, so that an hour costs the same whether it
holds ten auctions or a million.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaelp_ray.market.prices import Pricing
from gaelp_ray.records import FloatArray

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Hour:
    """The true state of one hour, all (B, S) except where said."""

    volume: FloatArray  # expected auctions
    log_price: FloatArray  # location of the highest competing bid
    pricing: Pricing
    ctr: FloatArray
    conversion_rate: FloatArray
    order_value: FloatArray  # (S,) mean revenue of a conversion
    order_value_shape: float  # gamma shape of a single order's value


@dataclass(frozen=True)
class Outcome:
    """What an hour brought, all (B, S)."""

    impressions: IntArray
    clicks: IntArray
    cost: FloatArray
    conversions: IntArray
    revenue: FloatArray
    win_rate: FloatArray  # probability of winning an auction at this bid
    price: FloatArray  # mean competing price below this bid


def draw(rng: np.random.Generator, hour: Hour, bids: FloatArray, left: FloatArray) -> Outcome:
    """Draw one hour at these bids; no flight spends more than it has `left`, (B,), and none bids with nothing left."""
    log_bid = np.log(bids)
    win, price = hour.pricing.clearing(log_bid, hour.log_price)
    prices = Prices(bids, price, hour.pricing.variance(log_bid, hour.log_price, win, price))
    impressions = rng.poisson(hour.volume * win * (left > 0.0)[:, None])
    clicks = rng.binomial(impressions, hour.ctr)
    cost = charge(rng, clicks, prices)
    short = cost.sum(axis=1) > left
    if short.any():
        # The hour in which the budget runs out: each auction takes place only with the chance that money is left.
        keep = np.ones_like(cost)
        keep[short] = (left[short] / cost[short].sum(axis=1))[:, None]
        kept = rng.binomial(clicks, keep)
        impressions = kept + rng.binomial(impressions - clicks, keep)
        clicks = kept
        cost[short] = _within(charge(rng, clicks, prices)[short], left[short])
    conversions = rng.binomial(clicks, hour.conversion_rate)
    revenue = np.zeros_like(cost)
    sold = np.nonzero(conversions)
    shape = hour.order_value_shape
    revenue[sold] = rng.gamma(shape * conversions[sold], hour.order_value[sold[1]] / shape)
    return Outcome(impressions, clicks, cost, conversions, revenue, win, price)


@dataclass(frozen=True)
class Prices:
    """The price of one won auction, (B, S): never above `bid`."""

    bid: FloatArray
    mean: FloatArray
    variance: FloatArray


def charge(rng: np.random.Generator, clicks: IntArray, prices: Prices) -> FloatArray:
    """Cost of clicks: a draw of the sum of as many prices paid, (B, S).

    A beta on [0, clicks x bid] with that sum's mean and variance. Exact in both, and no click ever costs more than its
    bid; how close its shape comes to single auctions is measured in tests/market/test_exact.py.
    """
    if not prices.variance.any():  # the winner pays the bid
        return clicks * prices.mean
    share = np.minimum(prices.mean / prices.bid, 1.0 - 1e-9)
    variance = prices.variance / (prices.bid**2 * np.maximum(clicks, 1))
    concentration = np.maximum(share * (1.0 - share) / variance - 1.0, 1e-6)
    cost: FloatArray = clicks * prices.bid * rng.beta(share * concentration, (1.0 - share) * concentration)
    return cost


def _within(cost: FloatArray, left: FloatArray) -> FloatArray:
    """Costs (B, S), without what chance has still left above the budget: platforms do not charge overdelivery."""
    # A hair below the budget, so that rounding never carries a sum above it.
    over = cost.sum(axis=1) / np.maximum(left * (1.0 - 1e-12), 1e-300)
    within: FloatArray = cost / np.maximum(over, 1.0)[:, None]
    return within
