"""What a flight draws at its start and never shows: the true rates, prices and traffic of its week."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaelp_ray.market.auction import Hour, IntArray
from gaelp_ray.market.landscape import HOURS, HOURS_PER_DAY, MAX_CONVERSION_RATE, Landscape
from gaelp_ray.records import FloatArray

MAX_CTR = 0.9


@dataclass(frozen=True)
class Hidden:
    """The truth of B flights: H hours, S channels."""

    landscape: Landscape
    budget: FloatArray  # (B,)
    ctr: FloatArray  # (B, S)
    volume: FloatArray  # (B, S) auctions on an average day
    traffic: FloatArray  # (H, B) hour's traffic in units of an average day, with its noise
    log_price: FloatArray  # (H, B, S)
    conversion_rate: FloatArray  # (H, B, S)

    def hour(self, t: int, log_fatigue: FloatArray, pending: IntArray | int = 0) -> Hour:
        """The state of auctions in hour t, given what the flights have done to it so far, (B, S)."""
        ctr = self.ctr * np.exp(log_fatigue) if self.landscape.fatigue_rate else self.ctr
        return Hour(
            volume=self.volume * self.traffic[t][:, None],
            log_price=self.log_price[t],
            pricing=self.landscape.pricing,
            ctr=ctr,
            conversion_rate=self.conversion_rate[t],
            order_value=self.landscape.order_value,
            order_value_shape=self.landscape.order_value_shape,
            pending=pending,
            # What is not reported by the end counts in the last hour: a flight answers for all of its clicks.
            report_rate=self.landscape.report_rate if t < HOURS - 1 else 1.0,
        )


def repeated(hidden: Hidden, copies: int) -> Hidden:
    """The same flights `copies` times, one block after the other: common ground for bidders to be compared on."""

    def copied(array: FloatArray, flights: int) -> FloatArray:
        return np.concatenate([array] * copies, axis=flights)

    return Hidden(
        landscape=hidden.landscape,
        budget=copied(hidden.budget, 0),
        ctr=copied(hidden.ctr, 0),
        volume=copied(hidden.volume, 0),
        traffic=copied(hidden.traffic, 1),
        log_price=copied(hidden.log_price, 1),
        conversion_rate=copied(hidden.conversion_rate, 1),
    )


def draw_hidden(rng: np.random.Generator, market: Landscape, flights: int) -> Hidden:
    """Draw the truth of `flights` flights around the calibrated market.

    Rates and volumes: lognormal with mean 1 around the calibration. Price level: AR(1) over hours, starting from the
    calibrated level. Conversion rates drift as a random walk. Traffic: shape of the week x noise per day x per hour.
    Every factor has mean 1, so that on average a flight meets the calibrated market.
    """
    per_channel = (flights, market.channels)
    per_hour = (HOURS, *per_channel)
    spread = market.budget_log_range
    budget = market.budget * np.exp(rng.uniform(-spread, spread, flights))
    conversion_rate = market.conversion_rate * _lognormal(rng, market.conversion_rate_log_sd, per_channel)
    ctr = np.minimum(market.ctr * _lognormal(rng, market.ctr_log_sd, per_channel), MAX_CTR)
    volume = market.volume * _lognormal(rng, market.volume_log_sd, per_channel)
    drift = np.cumsum(_lognormal_log(rng, market.conversion_rate_drift, per_hour), axis=0)
    by_day = np.repeat(_lognormal(rng, market.day_log_sd, (HOURS // HOURS_PER_DAY, flights)), HOURS_PER_DAY, axis=0)
    by_hour = _lognormal(rng, market.hour_log_sd, (HOURS, flights))
    return Hidden(
        landscape=market,
        budget=budget,
        ctr=ctr,
        volume=volume,
        traffic=market.traffic[:, None] * by_day * by_hour,
        log_price=market.log_price + _price_level(rng, market, per_hour),
        conversion_rate=np.minimum(conversion_rate * np.exp(drift), MAX_CONVERSION_RATE),
    )


def _lognormal(rng: np.random.Generator, log_sd: float, shape: tuple[int, ...]) -> FloatArray:
    return np.exp(_lognormal_log(rng, log_sd, shape))


def _lognormal_log(rng: np.random.Generator, log_sd: float, shape: tuple[int, ...]) -> FloatArray:
    """Logarithm of a lognormal with mean 1."""
    return log_sd * rng.standard_normal(shape) - log_sd**2 / 2.0


def _price_level(rng: np.random.Generator, market: Landscape, shape: tuple[int, ...]) -> FloatArray:
    rho = market.price_autocorrelation
    level: FloatArray = market.price_log_sd * np.sqrt(1.0 - rho**2) * rng.standard_normal(shape)
    for hour in range(1, len(level)):
        level[hour] += rho * level[hour - 1]
    variance = market.price_log_sd**2 * (1.0 - rho ** (2.0 * np.arange(1, len(level) + 1)))
    mean_one: FloatArray = level - variance[:, None, None] / 2.0
    return mean_one
