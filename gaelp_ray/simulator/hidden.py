"""What a flight draws at its start and never shows: the true rates, prices and traffic of its week."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import CDLL
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from gaelp_ray.core.library import load
from gaelp_ray.core.weeks import Departures, draw_weeks
from gaelp_ray.market.auction import Hour, IntArray
from gaelp_ray.market.elementary import exp, ndtri
from gaelp_ray.market.landscape import DAYS, HOURS, HOURS_PER_DAY, MAX_CONVERSION_RATE, Landscape
from gaelp_ray.market.stream import Cells, Purpose
from gaelp_ray.records import FloatArray

Function: TypeAlias = Callable[[FloatArray], FloatArray]

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

    def first(self, flights: int) -> Hidden:
        """The first flights of the batch."""
        return replace(
            self,
            budget=self.budget[:flights],
            ctr=self.ctr[:flights],
            volume=self.volume[:flights],
            traffic=self.traffic[:, :flights],
            log_price=self.log_price[:, :flights],
            conversion_rate=self.conversion_rate[:, :flights],
        )

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
    if copies == 1:
        return hidden

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
    day: FloatArray  # (D, B)
    hour: FloatArray  # (H, B)


def draw_hidden(rng: np.random.Generator, market: Landscape, flights: int) -> Hidden:
    """Draw the truth of `flights` flights around the calibrated market."""
    per_channel = (flights, market.channels)
    budget = rng.random(flights)
    conversion_rate, ctr, volume = (rng.standard_normal(per_channel) for _ in range(3))
    drift = rng.standard_normal((HOURS, *per_channel))
    day, hour = rng.standard_normal((DAYS, flights)), rng.standard_normal((HOURS, flights))
    price = rng.standard_normal((HOURS, *per_channel))
    noise = Noise(budget, conversion_rate, ctr, volume, day, hour)
    return _hidden(market, noise, _LIBM, lambda first_rate: _weeks(market, (price, drift), _LIBM, first_rate))


def draw_hidden_keyed(cells: Cells, market: Landscape) -> Hidden:
    """Draw the truth of the flights `cells.flight`, (B, 1), on the channels `cells.channel`, (S,), by their keys.

    The same distribution as draw_hidden(). A flight does not depend on the other flights of the batch.
    """
    ctr, conversion_rate = cells.uniforms(Purpose.RATES)
    traffic = cells.at(hour=np.arange(HOURS)[:, None, None], channel=np.array([0])).uniforms(Purpose.TRAFFIC)
    hour, day = (ndtri(u[:, :, 0]) for u in traffic)
    noise = Noise(
        budget=cells.at(channel=np.array([0])).uniforms(Purpose.BUDGET)[0][:, 0],
        conversion_rate=ndtri(conversion_rate),
        ctr=ndtri(ctr),
        volume=ndtri(cells.uniforms(Purpose.VOLUME)[0]),
        day=day[::HOURS_PER_DAY],
        hour=hour,
    )
    library = load().library
    if library is None:
        return _hidden(market, noise, _EXACT, lambda first_rate: _keyed_weeks(cells, market, first_rate))
    return _hidden(market, noise, _EXACT, lambda first_rate: _compiled_weeks(library, cells, market, first_rate))


@dataclass(frozen=True)
class _Arithmetic:
    exp: Function
    square: Callable[[float], float]
    powers: Callable[[float], FloatArray]  # x^2h of x for h = 1..H

    def mean_one(self, log_sd: float, normal: FloatArray) -> FloatArray:
        """Logarithm of a lognormal with mean 1."""
        return log_sd * normal - self.square(log_sd) / 2.0


_LIBM = _Arithmetic(np.exp, lambda x: x**2, lambda x: np.float64(x) ** (2.0 * np.arange(1, HOURS + 1)))
_EXACT = _Arithmetic(exp, lambda x: x * x, lambda x: np.cumprod(np.full(HOURS, x * x)))


def _hidden(
    market: Landscape,
    noise: Noise,
    arithmetic: _Arithmetic,
    weeks: Callable[[FloatArray], tuple[FloatArray, FloatArray]],
) -> Hidden:
    """The truth that follows from this noise; `weeks` makes (log_price, conversion_rate) of the first conversion rates.

    Rates and volumes: lognormal with mean 1 around the calibration. Price level: AR(1) over hours, starting from the
    calibrated level. Conversion rates drift as a random walk. Traffic: shape of the week x noise per day x per hour.
    Every factor has mean 1, so that on average a flight meets the calibrated market.
    """

    exp = arithmetic.exp
    spread, mean_one = market.budget_log_range, arithmetic.mean_one
    log_price, conversion_rate = weeks(
        market.conversion_rate * exp(mean_one(market.conversion_rate_log_sd, noise.conversion_rate))
    )
    by_day = np.repeat(exp(mean_one(market.day_log_sd, noise.day)), HOURS_PER_DAY, axis=0)
    return Hidden(
        landscape=market,
        budget=market.budget * exp(-spread + 2.0 * spread * noise.budget),
        ctr=np.minimum(market.ctr * exp(mean_one(market.ctr_log_sd, noise.ctr)), MAX_CTR),
        volume=market.volume * exp(mean_one(market.volume_log_sd, noise.volume)),
        traffic=market.traffic[:, None] * by_day * exp(mean_one(market.hour_log_sd, noise.hour)),
        log_price=log_price,
        conversion_rate=conversion_rate,
    )


def _weeks(
    market: Landscape, noise: tuple[FloatArray, FloatArray], arithmetic: _Arithmetic, first_rate: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(log_price, conversion_rate) of this noise of the price and of the conversion rate's drift, (H, B, S)."""
    drift = np.cumsum(arithmetic.mean_one(market.conversion_rate_drift, noise[1]), axis=0)
    innovation_sd, half_variance = _price_level(market, arithmetic)
    level = innovation_sd * noise[0]
    for hour in range(1, HOURS):
        level[hour] += market.price_autocorrelation * level[hour - 1]
    log_price = market.log_price + (level - half_variance[:, None, None])
    return log_price, np.minimum(first_rate * arithmetic.exp(drift), MAX_CONVERSION_RATE)


def _price_level(market: Landscape, arithmetic: _Arithmetic) -> tuple[float, FloatArray]:
    """(standard deviation of the price level's innovations, half of the level's variance in each hour)."""
    rho, square = market.price_autocorrelation, arithmetic.square
    variance = square(market.price_log_sd) * (1.0 - arithmetic.powers(rho))
    return float(market.price_log_sd * np.sqrt(1.0 - square(rho))), variance / 2.0


def _keyed_weeks(cells: Cells, market: Landscape, first_rate: FloatArray) -> tuple[FloatArray, FloatArray]:
    """_weeks() of keyed noise; this is drawn day by day, to bound memory."""
    days = [cells.at(hour=np.arange(day, day + HOURS_PER_DAY)[:, None, None]) for day in range(0, HOURS, HOURS_PER_DAY)]
    price, drift = (
        np.concatenate([ndtri(u) for u in part])
        for part in zip(*(day.uniforms(Purpose.LEVELS) for day in days), strict=True)
    )
    return _weeks(market, (price, drift), _EXACT, first_rate)


def _compiled_weeks(
    library: CDLL, cells: Cells, market: Landscape, first_rate: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """_keyed_weeks() in C."""
    innovation_sd, half_variance = _price_level(market, _EXACT)
    drift_sd = market.conversion_rate_drift
    departures = Departures(
        price_sd=innovation_sd,
        price_autocorrelation=market.price_autocorrelation,
        drift_sd=drift_sd,
        half_drift_variance=drift_sd * drift_sd / 2.0,
        highest_rate=MAX_CONVERSION_RATE,
    )
    key = cells.seed, cells.flight.astype(np.uint64), cells.channel.astype(np.uint64)
    return draw_weeks(library, key, departures, half_variance, (market.log_price, first_rate))
