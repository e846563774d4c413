"""What a flight draws at its start and never shows: the true rates, prices and traffic of its week."""

from __future__ import annotations

from ctypes import CDLL
from dataclasses import dataclass, replace

import numpy as np

from gaelp_ray.core.library import load
from gaelp_ray.core.weeks import Departures, draw_weeks
from gaelp_ray.market.auction import Hour, IntArray
from gaelp_ray.market.elementary import exp, ndtri
from gaelp_ray.market.landscape import HOURS, HOURS_PER_DAY, MAX_CONVERSION_RATE, Landscape
from gaelp_ray.market.stream import Cells, Purpose
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

    def hour(self, t: int, log_fatigue: FloatArray, pending: IntArray | int = 0) -> Hour:
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


def draw_hidden(cells: Cells, market: Landscape) -> Hidden:
    """Draw the truth of the flights `cells.flight`, (B, 1), on the channels `cells.channel`, (S,), by their keys.

    Rates and volumes: lognormal with mean 1 around the calibration. Price level: AR(1) over hours, starting from the
    calibrated level. Conversion rates drift as a random walk. Traffic: shape of the week x noise per day x per hour.
    Every factor has mean 1, so that on average a flight meets the calibrated market.
    """
    flights = cells.at(channel=np.array([0]))
    budget, spread = flights.uniforms(Purpose.BUDGET)[0][:, 0], market.budget_log_range
    ctr, first_rate = (ndtri(u) for u in cells.uniforms(Purpose.RATES))
    volume = ndtri(cells.uniforms(Purpose.VOLUME)[0])
    traffic = flights.at(hour=np.arange(HOURS)[:, None, None]).uniforms(Purpose.TRAFFIC)
    by_hour, day = (ndtri(u[:, :, 0]) for u in traffic)  # (H, B); a day has the noise of its first hour
    by_day = np.repeat(_mean_one(market.day_log_sd, day[::HOURS_PER_DAY]), HOURS_PER_DAY, axis=0)
    log_price, conversion_rate = _weeks(
        cells, market, market.conversion_rate * _mean_one(market.conversion_rate_log_sd, first_rate)
    )
    return Hidden(
        landscape=market,
        budget=market.budget * exp(-spread + 2.0 * spread * budget),
        ctr=np.minimum(market.ctr * _mean_one(market.ctr_log_sd, ctr), MAX_CTR),
        volume=market.volume * _mean_one(market.volume_log_sd, volume),
        traffic=market.traffic[:, None] * by_day * _mean_one(market.hour_log_sd, by_hour),
        log_price=log_price,
        conversion_rate=conversion_rate,
    )


def _mean_one(log_sd: float, normal: FloatArray) -> FloatArray:
    """Lognormal numbers with mean 1."""
    return exp(_log_mean_one(log_sd, normal))


def _log_mean_one(log_sd: float, normal: FloatArray) -> FloatArray:
    return log_sd * normal - log_sd * log_sd / 2.0


def _weeks(cells: Cells, market: Landscape, first_rate: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(log_price, conversion_rate), (H, B, S), from these first conversion rates, (B, S)."""
    library = load().library
    if library is None:
        return _weeks_in_numpy(cells, market, first_rate)
    return _weeks_in_c(library, cells, market, first_rate)


def _weeks_in_numpy(cells: Cells, market: Landscape, first_rate: FloatArray) -> tuple[FloatArray, FloatArray]:
    """_weeks(); the noise is drawn day by day, to bound memory."""
    days = [cells.at(hour=np.arange(day, day + HOURS_PER_DAY)[:, None, None]) for day in range(0, HOURS, HOURS_PER_DAY)]
    price, drift = (
        np.concatenate([ndtri(u) for u in part])
        for part in zip(*(day.uniforms(Purpose.LEVELS) for day in days), strict=True)
    )
    drifted = np.cumsum(_log_mean_one(market.conversion_rate_drift, drift), axis=0)
    innovation_sd, half_variance = _price_level(market)
    level = innovation_sd * price
    for hour in range(1, HOURS):
        level[hour] += market.price_autocorrelation * level[hour - 1]
    log_price = market.log_price + (level - half_variance[:, None, None])
    return log_price, np.minimum(first_rate * exp(drifted), MAX_CONVERSION_RATE)


def _price_level(market: Landscape) -> tuple[float, FloatArray]:
    """(standard deviation of the price level's innovations, half of the level's variance in each hour)."""
    square, sd = market.price_autocorrelation * market.price_autocorrelation, market.price_log_sd
    variance = sd * sd * (1.0 - np.cumprod(np.full(HOURS, square)))
    return float(sd * np.sqrt(1.0 - square)), variance / 2.0


def _weeks_in_c(
    library: CDLL, cells: Cells, market: Landscape, first_rate: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """_weeks() in C."""
    innovation_sd, half_variance = _price_level(market)
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
