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
    pending: IntArray | int = 0  # conversions of earlier clicks that nobody has seen yet
    report_rate: float = 1.0  # chance that a conversion which waits is reported in this hour


@dataclass(frozen=True)
class Outcome:
    """What an hour brought, all (B, S)."""

    impressions: IntArray
    clicks: IntArray
    cost: FloatArray
    conversions: IntArray  # reported in this hour
    revenue: FloatArray  # of the reported conversions
    pending: IntArray  # conversions that still wait to be reported
    win_rate: FloatArray  # probability of winning an auction at this bid
    price: FloatArray  # mean price of a won click at this bid
    open: npt.NDArray[np.bool_]  # whether there was money left to bid with, (B, 1) or (B, S)


@dataclass(frozen=True)
class Purse:
    """What may still be spent."""

    flight: FloatArray  # (B,)
    channel: FloatArray | None = None  # (B, S), where channels have caps of their own

    def open(self) -> npt.NDArray[np.bool_]:
        """Where bids are still taken: (B, 1) or (B, S)."""
        funded = (self.flight > 0.0)[:, None]
        return funded if self.channel is None else funded & (self.channel > 0.0)

    def share(self, cost: FloatArray) -> FloatArray | None:
        """The share of each cell's cost that the purse covers, (B, S); None where it covers all."""
        share = None
        if self.channel is not None and (cost > self.channel).any():
            share = np.minimum(self.channel / np.maximum(cost, 1e-300), 1.0)
            cost = cost * share
        total = cost.sum(axis=1)
        short = total > self.flight
        if short.any():
            share = np.ones_like(cost) if share is None else share
            share[short] *= (self.flight[short] / total[short])[:, None]
        return share

    def clip(self, cost: FloatArray) -> FloatArray:
        """Costs without what chance has still left above the purse: platforms do not charge overdelivery."""
        # A hair below, so that rounding never carries a sum above the budget.
        if self.channel is not None:
            cost = np.minimum(cost, self.channel * (1.0 - 1e-12))
        over = cost.sum(axis=1) / np.maximum(self.flight * (1.0 - 1e-12), 1e-300)
        clipped: FloatArray = cost / np.maximum(over, 1.0)[:, None]
        clipped[self.flight < 1e-290] = 0.0  # where the line above has no digits left
        return clipped


def draw(rng: np.random.Generator, hour: Hour, bids: FloatArray, purse: Purse) -> Outcome:
    """Draw one hour at these bids; nobody spends more than is in the purse, and with an empty one nobody bids."""
    log_bid = np.log(bids)
    win, price = hour.pricing.clearing(log_bid, hour.log_price)
    prices = Prices(bids, price, hour.pricing.variance(log_bid, hour.log_price, win, price))
    open_ = purse.open()
    impressions = rng.poisson(hour.volume * win * open_)
    clicks = rng.binomial(impressions, hour.ctr)
    cost = charge(rng, clicks, prices)
    share = purse.share(cost)
    if share is not None:
        # The hour in which money runs out: each auction takes place only with the chance that some is left.
        kept = rng.binomial(clicks, share)
        impressions = kept + rng.binomial(impressions - clicks, share)
        clicks = kept
        short = (share < 1.0).any(axis=1)
        cost[short] = purse.clip(np.where(share < 1.0, charge(rng, clicks, prices), cost))[short]
    waiting = rng.binomial(clicks, hour.conversion_rate) + hour.pending
    conversions = waiting if hour.report_rate >= 1.0 else rng.binomial(waiting, hour.report_rate)
    revenue = np.zeros_like(cost)
    sold = np.nonzero(conversions)
    shape = hour.order_value_shape
    revenue[sold] = rng.gamma(shape * conversions[sold], hour.order_value[sold[1]] / shape)
    return Outcome(impressions, clicks, cost, conversions, revenue, waiting - conversions, win, price, open_)


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
