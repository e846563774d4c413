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
    win, price = clearing(np.log(bids), hour.log_price, hour.log_sd)
    impressions = rng.poisson(hour.volume * win * (left > 0.0)[:, None])
    clicks = rng.binomial(impressions, hour.ctr)
    cost = clicks * price
    short = cost.sum(axis=1) > left
    if short.any():
        impressions[short], clicks[short], cost[short] = _thin(
            rng, (impressions[short], clicks[short]), price[short], left[short]
        )
    conversions = rng.binomial(clicks, hour.conversion_rate)
    revenue = np.zeros_like(cost)
    sold = np.nonzero(conversions)
    shape = hour.order_value_shape
    revenue[sold] = rng.gamma(shape * conversions[sold], hour.order_value[sold[1]] / shape)
    return Outcome(impressions, clicks, cost, conversions, revenue, win, price)


def _thin(
    rng: np.random.Generator, seen: tuple[IntArray, IntArray], price: FloatArray, left: FloatArray
) -> tuple[IntArray, IntArray, FloatArray]:
    """The hour in which the budget runs out: each auction takes place only with the chance that money is left.

    What chance still leaves above the budget is not charged, as ad platforms do not charge overdelivery.
    """
    impressions, clicks = seen
    keep = np.broadcast_to((left / (clicks * price).sum(axis=1))[:, None], clicks.shape)
    kept_clicks = rng.binomial(clicks, keep)
    kept_impressions = kept_clicks + rng.binomial(impressions - clicks, keep)
    cost = kept_clicks * price
    # A hair below the budget, so that rounding never carries a sum above it.
    over = cost.sum(axis=1) / np.maximum(left * (1.0 - 1e-12), 1e-300)
    return kept_impressions, kept_clicks, cost / np.maximum(over, 1.0)[:, None]
