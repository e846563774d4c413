"""The arithmetic of one auction hour: bids in; expected or drawn impressions, clicks, cost and revenue out.

Second-price auctions against one lognormal highest competing bid per channel. Everything is a pure function on arrays
of shape (B, S): B flights, S channels. Auctions are resolved in aggregate, so that an hour costs the same whether it
holds ten auctions or a million.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from gaelp_ray.records import FloatArray

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Hour:
    """The true state of one hour, all (B, S) except where said."""

    volume: FloatArray  # expected auctions
    log_price: FloatArray  # location of the highest competing bid
    log_sd: float
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


def clearing(log_bid: FloatArray, log_price: FloatArray, log_sd: float) -> tuple[FloatArray, FloatArray]:
    """(win probability, mean price below the bid) of a lognormal second-price auction.

    P(win) = Phi(z), E[price | win] = exp(mu + sd^2/2) Phi(z - sd) / Phi(z), z = (ln bid - mu) / sd.
    """
    z = (log_bid - log_price) / log_sd
    win = ndtr(z)
    price = np.exp(log_price + log_sd**2 / 2.0) * ndtr(z - log_sd) / np.maximum(win, 1e-300)
    # Where nothing is ever won the quotient loses its digits; the price tends to the bid there.
    return win, np.where(win > 1e-12, price, np.exp(log_bid))


def draw(rng: np.random.Generator, hour: Hour, bids: FloatArray, left: FloatArray) -> Outcome:
    """Draw one hour at these bids; no flight spends more than it has `left`, (B,), and none bids with nothing left."""
    log_bid = np.log(bids)
    win, price = clearing(log_bid, hour.log_price, hour.log_sd)
    prices = Prices(bids, price, price_variance(log_bid, hour, win, price))
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


def price_variance(log_bid: FloatArray, hour: Hour, win: FloatArray, price: FloatArray) -> FloatArray:
    """Variance of the price of one won auction, (B, S); `win` and `price` as clearing() gives them.

    E[price^2 | win] = exp(2 mu + 2 sd^2) Phi(z - 2 sd) / Phi(z).
    """
    z = (log_bid - hour.log_price) / hour.log_sd
    square = np.exp(2.0 * (hour.log_price + hour.log_sd**2)) * ndtr(z - 2.0 * hour.log_sd) / np.maximum(win, 1e-300)
    return np.maximum(square - price**2, 1e-6 * price**2)


@dataclass(frozen=True)
class Prices:
    """The price of one won auction, (B, S): never above `bid`."""

    bid: FloatArray
    mean: FloatArray
    variance: FloatArray


def charge(rng: np.random.Generator, clicks: IntArray, prices: Prices) -> FloatArray:
    """Cost of clicks: a draw of the sum of as many second prices, (B, S).

    A beta on [0, clicks x bid] with that sum's mean and variance. Exact in both, and no click ever costs more than its
    bid; how close its shape comes to single auctions is measured in tests/market/test_exact.py.
    """
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
