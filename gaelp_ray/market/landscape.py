"""A market as arrays: what the simulator draws from and what every bidder knows beforehand.

Landscape holds the calibrated means per channel (arrays of shape (S,)) and the sizes of the departures. It also
defines the action: a log multiplier on the historical bid of each channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr

from gaelp_ray.market.prices import Lognormal, Pricing
from gaelp_ray.records import FloatArray

HOURS = 168
"""Steps of one flight: 7 days x 24 hours."""

HOURS_PER_DAY = 24


@dataclass(frozen=True)
class Landscape:
    """Calibrated means of S channels, and the sizes of a flight's departures from them."""

    ctr: FloatArray  # clicks / impressions
    conversion_rate: FloatArray  # conversions / clicks
    cpc: FloatArray  # mean price paid per click at the historical bid
    order_value: FloatArray  # revenue / conversions
    bid: FloatArray  # historical bid per click
    volume: FloatArray  # auctions per day that a high enough bid could win
    log_price: FloatArray  # location of the highest competing bid
    pricing: Pricing  # its shape, and what the winner pays
    traffic: FloatArray  # (168,) traffic of each hour in units of an average day
    budget: float
    budget_log_range: float
    max_bid_multiplier: float
    conversion_rate_log_sd: float
    ctr_log_sd: float
    volume_log_sd: float
    price_log_sd: float
    price_autocorrelation: float
    hour_log_sd: float
    day_log_sd: float
    conversion_rate_drift: float
    order_value_shape: float

    @property
    def channels(self) -> int:
        """S, the number of channels."""
        return len(self.ctr)

    @property
    def value(self) -> FloatArray:
        """Calibrated revenue per click, (S,)."""
        return self.conversion_rate * self.order_value

    @property
    def action_scale(self) -> float:
        """Log of the largest bid multiplier: what an action of 1 means."""
        return float(np.log(self.max_bid_multiplier))

    def bids(self, action: npt.NDArray[np.float32]) -> FloatArray:
        """Bids per click of actions in [-1, 1], (..., S): historical bid x exp(action_scale x action)."""
        bids: FloatArray = self.bid * np.exp(self.action_scale * np.clip(action, -1.0, 1.0).astype(np.float64))
        return bids

    def action(self, log_bids: FloatArray) -> npt.NDArray[np.float32]:
        """The action of log bids per click, (..., S); bids out of reach are clipped."""
        scaled = (log_bids - np.log(self.bid)) / self.action_scale
        action: npt.NDArray[np.float32] = np.clip(scaled, -1.0, 1.0).astype(np.float32)
        return action

    @property
    def conversion_prior_clicks(self) -> FloatArray:
        """Clicks that the calibrated conversion rate is worth as a prior, (S,).

        The gamma prior with the mean and the coefficient of variation of the lognormal heterogeneity:
        shape = 1 / (exp(sd^2) - 1) conversions, hence shape / conversion_rate clicks.
        """
        return _gamma_shape(self.conversion_rate_log_sd) / self.conversion_rate

    @property
    def volume_prior_clicks(self) -> float:
        """Expected clicks that the calibrated click volume (volume x CTR) is worth as a prior."""
        return _gamma_shape(float(np.hypot(self.volume_log_sd, self.ctr_log_sd)))


def _gamma_shape(log_sd: float) -> float:
    # A spread of zero means that the calibration is exact; a floor keeps the prior finite.
    return float(1.0 / np.expm1(max(log_sd, 1e-2) ** 2))


def solve_landscape(
    sums: Mapping[str, Sequence[float]],
    days: float,
    shares: Sequence[Sequence[float]],
    prices: Mapping[str, Any],
    scalars: Mapping[str, float],
) -> Landscape:
    """Means per channel from sums over `days`; the price level from the mean price paid at the historical bid.

    The history is read as second prices whatever the market's rule is: `first_price` asks what the same competition
    would cost if winners paid their bids.
    """
    total = {name: np.asarray(column, dtype=np.float64) for name, column in sums.items()}
    cpc = total["cost"] / total["clicks"]
    bid = cpc / prices["paid_over_bid"]
    log_price = solve_log_price(cpc, bid, prices["log_sd"])
    pricing = Pricing(Lognormal(prices["log_sd"]), prices["first_price"])
    won = pricing.shape.win(np.log(bid) - log_price)
    week = np.concatenate([np.asarray(day, dtype=np.float64) for day in shares])
    return Landscape(
        ctr=total["clicks"] / total["impressions"],
        conversion_rate=total["conversions"] / total["clicks"],
        cpc=cpc,
        order_value=total["revenue"] / total["conversions"],
        bid=bid,
        volume=total["impressions"] / days / won,
        log_price=log_price,
        pricing=pricing,
        traffic=7.0 * week / week.sum(),
        **scalars,
    )


def solve_log_price(paid: FloatArray, bid: FloatArray, log_sd: float) -> FloatArray:
    """Location mu of a lognormal price whose mean below `bid` is `paid`, (S,), by bisection.

    Mean below the bid: exp(mu + sd^2/2) Phi(z - sd) / Phi(z), z = (ln bid - mu) / sd. It grows with mu from 0 towards
    the bid, in logarithms so that it keeps its digits far in the tail. `paid` must lie below 0.95 of the bid.
    """
    low, high = np.log(paid) - 20.0 * log_sd, np.log(bid) + 100.0 * log_sd
    for _ in range(100):
        mu = (low + high) / 2.0
        z = (np.log(bid) - mu) / log_sd
        log_mean = mu + log_sd**2 / 2.0 + log_ndtr(z - log_sd) - log_ndtr(z)
        too_dear = log_mean > np.log(paid)
        low, high = np.where(too_dear, low, mu), np.where(too_dear, mu, high)
    return (low + high) / 2.0
