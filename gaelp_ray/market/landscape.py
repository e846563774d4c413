"""A market as arrays: what the simulator draws from and what every bidder knows beforehand.

Landscape holds the calibrated means per channel (arrays of shape (S,)) and the sizes of the departures. It also
defines the action: a log multiplier on the historical bid of each channel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from gaelp_ray.market.elementary import exp, log, log_ndtr
from gaelp_ray.market.prices import Lognormal, Pricing, Shape, Table
from gaelp_ray.records import FloatArray

HOURS = 168
"""Steps of one flight: 7 days x 24 hours."""

HOURS_PER_DAY = 24
DAYS = HOURS // HOURS_PER_DAY

MAX_CONVERSION_RATE = 0.5
"""Of a flight, whatever its channel's calibrated rate is."""

LOWEST_LOG_FATIGUE = -30.0
"""A click-through rate does not fall further: nobody clicks any more."""


@dataclass(frozen=True)
class SafetyLimits:
    """What is counted as a violation."""

    max_bid: FloatArray  # (S,) per click
    max_spend_share: float  # of the flight's spend, on one channel
    min_delivery: float
    max_pacing_error: float  # |spent share of the budget - passed share of the expected traffic|


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
    report_rate: float  # chance per hour that a conversion still waiting is reported; 1: no delay
    fatigue_rate: float  # log of CTR lost when every auction of an average week has been won; 0: no fatigue
    spend_cap: FloatArray  # share of the budget that a channel may spend; 1: no cap
    safety: SafetyLimits

    @property
    def channels(self) -> int:
        """S, the number of channels."""
        return len(self.ctr)

    @property
    def value(self) -> FloatArray:
        """Calibrated revenue per click, (S,)."""
        return self.conversion_rate * self.order_value

    def log_fatigue(self, impressions: FloatArray) -> FloatArray:
        """Log of what so many won impressions have left of the click-through rate, (..., S): 0 without fatigue."""
        left = impressions * (-self.fatigue_rate / (DAYS * self.volume))
        tired: FloatArray = np.maximum(left, LOWEST_LOG_FATIGUE)
        return tired

    @property
    def action_scale(self) -> float:
        """Log of the largest bid multiplier: what an action of 1 means."""
        return float(self._log_bid[1])

    def bids(self, action: npt.NDArray[np.float32]) -> FloatArray:
        """Bids per click of actions in [-1, 1], (..., S): historical bid x exp(action_scale x action)."""
        return self.bid * exp(self._log_bid[1] * np.clip(action, -1.0, 1.0).astype(np.float64))

    def log_bids(self, action: npt.NDArray[np.float32]) -> FloatArray:
        """Logarithm of bids()."""
        base, scale = self._log_bid
        log_bids = action.astype(np.float64)
        # In place, and without np.clip(), which alone takes as long on a small batch.
        np.minimum(np.maximum(log_bids, -1.0, out=log_bids), 1.0, out=log_bids)
        log_bids *= scale
        log_bids += base
        return log_bids

    @cached_property
    def _log_bid(self) -> tuple[FloatArray, FloatArray]:
        """Logarithms of the historical bids, (S,), and of the largest multiplier."""
        return log(self.bid), log(np.float64(self.max_bid_multiplier))

    def action(self, log_bids: FloatArray) -> npt.NDArray[np.float32]:
        """The action of log bids per click, (..., S); bids out of reach are clipped."""
        scaled = (log_bids - self._log_bid[0]) / self._log_bid[1]
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
        return _gamma_shape(math.sqrt(self.volume_log_sd * self.volume_log_sd + self.ctr_log_sd * self.ctr_log_sd))


def _gamma_shape(log_sd: float) -> float:
    # A spread of zero means that the calibration is exact; a floor keeps the prior finite.
    variance = max(log_sd, 1e-2) * max(log_sd, 1e-2)
    return float(1.0 / (exp(np.array(variance)) - 1.0))


@dataclass(frozen=True)
class History:
    """What the channels did in the calibration period, (S,) arrays but `days` and `shares`."""

    impressions: FloatArray
    clicks: FloatArray
    cost: FloatArray
    conversion_rate: FloatArray
    order_value: FloatArray
    days: float
    shares: Sequence[Sequence[float]]  # of the week's traffic, 7 x 24


@dataclass(frozen=True)
class Competition:
    """Competing prices of S channels, and the bids that the history was made with."""

    bid: FloatArray
    log_price: FloatArray
    shape: Shape


def solve_landscape(
    history: History, competition: Competition, first_price: bool, others: Mapping[str, Any]
) -> Landscape:
    """The arrays of a market; `others` are its budget, departures and conditions under Landscape's names.

    The history is read as second prices whatever the market's rule is: `first_price` asks what the same competition
    would cost if winners paid their bids.
    """
    week = np.concatenate([np.asarray(day, dtype=np.float64) for day in history.shares])
    won = competition.shape.win(log(competition.bid) - competition.log_price)
    return Landscape(
        ctr=history.clicks / history.impressions,
        conversion_rate=history.conversion_rate,
        cpc=history.cost / history.clicks,
        order_value=history.order_value,
        bid=competition.bid,
        volume=history.impressions / history.days / won,
        log_price=competition.log_price,
        pricing=Pricing(competition.shape, first_price),
        traffic=7.0 * week / week.sum(),
        **others,
    )


def lognormal_competition(
    cpc: FloatArray, paid_over_bid: float | FloatArray, log_sd: float | FloatArray
) -> Competition:
    """Lognormal prices whose mean below the historical bid is the price paid; one number for all channels, or (S,)."""
    bid = cpc / paid_over_bid
    return Competition(bid, solve_log_price(cpc, bid, log_sd), Lognormal(log_sd, np.size(log_sd)))


TABLE_BINS = 300


def table_competition(
    ctr: FloatArray, bid: float, end: float, cumulative: Sequence[tuple[Sequence[float], Sequence[float]]]
) -> Competition:
    """Prices per mille impressions from tables, as prices per click of channels with these click-through rates.

    `cumulative` holds for each channel (prices, chance that the competing price lies below), linear in between.
    """
    grid = np.linspace(0.0, end, TABLE_BINS + 1)
    shape = Table(end / TABLE_BINS, np.stack([_interpolated(grid, *map(np.array, row)) for row in cumulative]))
    per_click = 1.0 / (1000.0 * ctr)
    return Competition(bid * per_click, log(per_click), shape)


def _interpolated(x: FloatArray, points: FloatArray, values: FloatArray) -> FloatArray:
    """np.interp() within the points; that one is compiled with fused products on some processors."""
    left = np.clip(np.searchsorted(points, x, side="right") - 1, 0, len(points) - 2)
    width = points[left + 1] - points[left]
    slope = (values[left + 1] - values[left]) / np.where(width > 0.0, width, 1.0)
    between: FloatArray = slope * (x - points[left]) + values[left]
    return np.where(x >= points[-1], values[-1], between)


def solve_log_price(paid: FloatArray, bid: FloatArray, log_sd: float | FloatArray) -> FloatArray:
    """Location mu of a lognormal price whose mean below `bid` is `paid`, (S,), by bisection.

    Mean below the bid: exp(mu + sd^2/2) Phi(z - sd) / Phi(z), z = (ln bid - mu) / sd. It grows with mu from 0 towards
    the bid, in logarithms so that it keeps its digits far in the tail. `paid` must lie below 0.95 of the bid.
    """
    log_paid, log_bid, half_variance = log(paid), log(bid), 0.5 * (log_sd * log_sd)
    low, high = log_paid - 20.0 * log_sd, log_bid + 100.0 * log_sd
    for _ in range(100):
        mu = (low + high) / 2.0
        z = (log_bid - mu) / log_sd
        log_mean = mu + half_variance + log_ndtr(z - log_sd) - log_ndtr(z)
        too_dear = log_mean > log_paid
        low, high = np.where(too_dear, low, mu), np.where(too_dear, mu, high)
    return (low + high) / 2.0
