"""What a flight draws at its start and never shows: the true rates, prices and traffic of its week."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from gaelp_ray.market.auction import Hour, IntArray
from gaelp_ray.market.elementary import exp, ndtri
from gaelp_ray.market.landscape import DAYS, HOURS, HOURS_PER_DAY, Landscape
from gaelp_ray.market.stream import Cells, Purpose
from gaelp_ray.records import FloatArray

Function: TypeAlias = Callable[[FloatArray], FloatArray]

MAX_CTR = 0.9
MAX_CONVERSION_RATE = 0.5


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

    def hour(self, t: int, log_fatigue: FloatArray, pending: IntArray | int = 0, exp: Function = np.exp) -> Hour:
        """The state of auctions in hour t, given what the flights have done to it so far, (B, S)."""
        ctr = self.ctr * exp(log_fatigue) if self.landscape.fatigue_rate else self.ctr
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

    return replace(
        hidden,
        budget=copied(hidden.budget, 0),
        ctr=copied(hidden.ctr, 0),
        volume=copied(hidden.volume, 0),
        traffic=copied(hidden.traffic, 1),
        log_price=copied(hidden.log_price, 1),
        conversion_rate=copied(hidden.conversion_rate, 1),
    )


@dataclass(frozen=True)
class Noise:
    """What makes B flights differ: standard normal numbers, but for the budget. S channels, H hours, D days."""

    budget: FloatArray  # (B,) uniform in 0..1
    conversion_rate: FloatArray  # (B, S)
    ctr: FloatArray  # (B, S)
    volume: FloatArray  # (B, S)
    drift: FloatArray  # (H, B, S)
    day: FloatArray  # (D, B)
    hour: FloatArray  # (H, B)
    price: FloatArray  # (H, B, S)


def draw_hidden(rng: np.random.Generator, market: Landscape, flights: int) -> Hidden:
    """Draw the truth of `flights` flights around the calibrated market."""
    per_channel = (flights, market.channels)
    noise = Noise(
        budget=rng.random(flights),
        conversion_rate=rng.standard_normal(per_channel),
        ctr=rng.standard_normal(per_channel),
        volume=rng.standard_normal(per_channel),
        drift=rng.standard_normal((HOURS, *per_channel)),
        day=rng.standard_normal((DAYS, flights)),
        hour=rng.standard_normal((HOURS, flights)),
        price=rng.standard_normal((HOURS, *per_channel)),
    )
    return _hidden(market, noise, _LIBM)


def draw_hidden_keyed(cells: Cells, market: Landscape) -> Hidden:
    """Draw the truth of the flights `cells.flight`, (B, 1), on the channels `cells.channel`, (S,), by their keys.

    The law is that of draw_hidden(). A flight is the same whatever other flights are drawn with it.
    """
    ctr, conversion_rate = cells.uniforms(Purpose.RATES)
    days = [cells.at(hour=np.arange(day, day + HOURS_PER_DAY)[:, None, None]) for day in range(0, HOURS, HOURS_PER_DAY)]
    # Day by day, to bound memory.
    price, drift = (
        np.concatenate([ndtri(u) for u in part])
        for part in zip(*(day.uniforms(Purpose.LEVELS) for day in days), strict=True)
    )
    traffic = cells.at(hour=np.arange(HOURS)[:, None, None], channel=np.array([0])).uniforms(Purpose.TRAFFIC)
    hour, day = (ndtri(u[:, :, 0]) for u in traffic)
    noise = Noise(
        budget=cells.at(channel=np.array([0])).uniforms(Purpose.BUDGET)[0][:, 0],
        conversion_rate=ndtri(conversion_rate),
        ctr=ndtri(ctr),
        volume=ndtri(cells.uniforms(Purpose.VOLUME)[0]),
        drift=drift,
        day=day[::HOURS_PER_DAY],
        hour=hour,
        price=price,
    )
    return _hidden(market, noise, _EXACT)


@dataclass(frozen=True)
class _Arithmetic:
    exp: Function
    square: Callable[[float], float]
    powers: Callable[[float], FloatArray]  # x^2h of x for h = 1..H


_LIBM = _Arithmetic(np.exp, lambda x: x**2, lambda x: np.float64(x) ** (2.0 * np.arange(1, HOURS + 1)))
_EXACT = _Arithmetic(exp, lambda x: x * x, lambda x: np.cumprod(np.full(HOURS, x * x)))


def _hidden(market: Landscape, noise: Noise, arithmetic: _Arithmetic) -> Hidden:
    """The truth that follows from this noise.

    Rates and volumes: lognormal with mean 1 around the calibration. Price level: AR(1) over hours, starting from the
    calibrated level. Conversion rates drift as a random walk. Traffic: shape of the week x noise per day x per hour.
    Every factor has mean 1, so that on average a flight meets the calibrated market.
    """

    exp, square = arithmetic.exp, arithmetic.square

    def mean_one(log_sd: float, normal: FloatArray) -> FloatArray:
        """Logarithm of a lognormal with mean 1."""
        return log_sd * normal - square(log_sd) / 2.0

    spread, rho = market.budget_log_range, market.price_autocorrelation
    conversion_rate = market.conversion_rate * exp(mean_one(market.conversion_rate_log_sd, noise.conversion_rate))
    drift = np.cumsum(mean_one(market.conversion_rate_drift, noise.drift), axis=0)
    by_day = np.repeat(exp(mean_one(market.day_log_sd, noise.day)), HOURS_PER_DAY, axis=0)
    level = market.price_log_sd * np.sqrt(1.0 - square(rho)) * noise.price
    for hour in range(1, HOURS):
        level[hour] += rho * level[hour - 1]
    level_variance = square(market.price_log_sd) * (1.0 - arithmetic.powers(rho))
    return Hidden(
        landscape=market,
        budget=market.budget * exp(-spread + 2.0 * spread * noise.budget),
        ctr=np.minimum(market.ctr * exp(mean_one(market.ctr_log_sd, noise.ctr)), MAX_CTR),
        volume=market.volume * exp(mean_one(market.volume_log_sd, noise.volume)),
        traffic=market.traffic[:, None] * by_day * exp(mean_one(market.hour_log_sd, noise.hour)),
        log_price=market.log_price + (level - level_variance[:, None, None] / 2.0),
        conversion_rate=np.minimum(conversion_rate * exp(drift), MAX_CONVERSION_RATE),
    )
