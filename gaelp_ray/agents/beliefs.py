"""What BayesDual believes of a flight: the worth of a click, how many clicks are to come, and where prices lie.

Each belief reads the observation hour by hour and keeps what it needs per flight, in arrays of shape (B, S) or (B,).
Constants of DualConfig may be numbers, or arrays (B, 1) that give every flight its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gaelp_ray.market import Landscape
from gaelp_ray.market.elementary import exp, log, total
from gaelp_ray.market.landscape import HOURS, HOURS_PER_DAY
from gaelp_ray.market.observation import View
from gaelp_ray.records import FloatArray, zeros
from gaelp_ray.sections import DualConfig

TODAY_PRIOR = 20.0
"""Clicks that today's (and the flight's) traffic is shrunk by, so that a quiet night decides nothing."""


class Values:
    """Conversion rates: a gamma posterior per channel, whose certainty fades as the rates drift.

    Drift adds its variance to the log of the rate each hour. With gamma shape a that variance is about 1 / a, so that
    a becomes a / (1 + a x variance) at the same mean (Harvey & Fernandes 1989, with the discount that the drift
    implies). `forgetting` is the cruder way: a share of clicks and conversions lost per hour, never of the prior.
    """

    def __init__(self, config: DualConfig, market: Landscape, flights: int) -> None:
        shape = (flights, market.channels)
        self._config, self._market = config, market
        self._all_clicks, self._unripe = zeros(*shape), zeros(*shape)
        self._seen_clicks, self._seen_conversions = zeros(*shape), zeros(*shape)
        prior = market.conversion_prior_clicks * config.prior_strength * np.ones((flights, 1))
        self.prior = (prior * market.conversion_rate, prior)
        self._sales, self._clicks = zeros(*shape), zeros(*shape)  # what was seen, and is not forgotten
        self._drifts = bool(np.any(config.drift_tracking)) and market.conversion_rate_drift > 0.0

    def log_value(self, view: View, t: int) -> FloatArray:
        """log of expected revenue per click, (B, S): posterior conversion rate x mean order value."""
        market, config = self._market, self._config
        clicks = self._ripe(_count_of(view.channel("log_clicks")))
        # The observation's posterior, solved for the conversions that led to it.
        exact = exp(view.channel("log_conversion_rate_ratio")) * market.conversion_rate
        prior = market.conversion_prior_clicks
        conversions = np.maximum(exact * (clicks + prior) - market.conversion_rate * prior, 0.0)
        keep = 1.0 - config.forgetting
        self._clicks = self._clicks * keep + clicks - self._seen_clicks
        self._sales = self._sales * keep + conversions - self._seen_conversions
        self._seen_clicks, self._seen_conversions = clicks, conversions
        sales = np.maximum(self._sales, 0.0) + self.prior[0]
        rate = sales / (np.maximum(self._clicks, 0.0) + self.prior[1])
        if self._drifts:
            self._fade(sales)
        optimism = config.optimism * (1.0 - t / HOURS) / np.sqrt(sales)
        log_value: FloatArray = log(rate * market.order_value) + optimism
        return log_value

    def _fade(self, sales: FloatArray) -> None:
        drift = self._market.conversion_rate_drift
        keep = 1.0 / (1.0 + sales * self._config.drift_tracking * (drift * drift))
        self._sales, self._clicks = self._sales * keep, self._clicks * keep
        self.prior = (self.prior[0] * keep, self.prior[1] * keep)

    def _ripe(self, clicks: FloatArray) -> FloatArray:
        """Clicks weighted by the chance that their conversions, if any, have been reported, (B, S)."""
        waits = 1.0 - self._market.report_rate
        if waits:
            self._unripe = (self._unripe + clicks - self._all_clicks) * waits
            self._all_clicks = clicks
        return clicks - self._unripe


class Volumes:
    """Clicks to come: a gamma posterior of each channel's clicks against what was expected at the same win rates.

    Here every click counts as evidence of the channel's volume, though hours and days are noisy for all channels
    alike. `traffic_use` carries today's surplus to the rest of today.
    """

    def __init__(self, config: DualConfig, market: Landscape, flights: int) -> None:
        self._config, self._market = config, market
        self.prior = market.volume_prior_clicks * config.volume_prior_strength
        self.calibrated = market.volume * market.ctr
        self.ahead = np.append(np.cumsum(market.traffic[::-1])[::-1], 0.0)
        self._at_midnight = (zeros(flights), zeros(flights))  # (clicks, expected clicks) of the flight
        # Clicks / expected clicks of all channels, (B,): over the flight, and since midnight.
        self.flight, self.today = np.ones(flights), np.ones(flights)

    def clicks_ahead(self, view: View, t: int) -> FloatArray:
        """Expected clicks of the rest of the flight if every auction were won, (B, S), with today's fatigue."""
        clicks, expected = (_count_of(view.channel(name)) for name in ("log_clicks", "log_expected_clicks"))
        self._count(total(clicks), total(expected), t)
        volume: FloatArray = self.calibrated * self._levels(clicks, expected, t)
        return volume * exp(view.channel("log_fatigue")) if self._market.fatigue_rate else volume

    def _levels(self, clicks: FloatArray, expected: FloatArray, t: int) -> FloatArray:
        """Volume relative to calibration x traffic ahead in average days, (B, S)."""
        ratio = (clicks + self.prior) / (expected + self.prior)
        ahead: Any = self.ahead[t]
        if np.any(self._config.traffic_use):
            surplus = exp(self._config.traffic_use * log(self.today / self.flight)[:, None]) - 1.0
            ahead = ahead + self.rest_of_today(t) * surplus
        levels: FloatArray = ratio * ahead
        return levels

    def _count(self, clicks: FloatArray, expected: FloatArray, t: int) -> None:
        if t % HOURS_PER_DAY == 0:
            self._at_midnight = (clicks, expected)
        self.flight = (clicks + TODAY_PRIOR) / (expected + TODAY_PRIOR)
        self.today = (clicks - self._at_midnight[0] + TODAY_PRIOR) / (expected - self._at_midnight[1] + TODAY_PRIOR)

    def rest_of_today(self, t: int) -> float:
        """Calibrated traffic from hour t to midnight, in average days."""
        midnight = min(HOURS, (t // HOURS_PER_DAY + 1) * HOURS_PER_DAY)
        return float(self.ahead[t] - self.ahead[midnight])


class FilteredVolumes(Volumes):
    """Clicks to come, told apart: what belongs to a channel, to the flight, and to today.

    The log of an hour's clicks against expectation is channel + level + day + hour's noise + counting noise. Channels
    are compared with each other, which no traffic disturbs; the flight's level and today's factor are the two states
    of a Kalman filter whose variances are the market's own departures.
    """

    def __init__(self, config: DualConfig, market: Landscape, flights: int) -> None:
        super().__init__(config, market, flights)
        noise = config.traffic_noise
        self.day_variance, self.hour_variance = _square(market.day_log_sd * noise), _square(market.hour_log_sd * noise)
        share = self.calibrated / total(self.calibrated[None])
        spread = _square(market.volume_log_sd) + _square(market.ctr_log_sd)
        level = spread * total(_square(share)[None]) * np.ones(flights)
        # Means and covariances of (level, day), each (B,). All factors have mean 1, so that logs have mean -variance/2.
        self._level, self._level_var = -level / 2.0, level
        self._midnight()
        self._before = (zeros(flights, market.channels), zeros(flights, market.channels))

    def first(self) -> dict[str, FloatArray]:
        """Means and variances before the first hour, (B,) each, under the names that core/dual.py has for them."""
        return {
            "level": self._level,
            "level_variance": self._level_var,
            "day": self._today,
            "day_level_variance": self._today_var,
        }

    def _midnight(self) -> None:
        flat = np.ones_like(self._level)
        self._today, self._today_var = -np.ravel(self.day_variance) / 2.0 * flat, np.ravel(self.day_variance) * flat
        self._covariance = zeros(len(self._level))

    def _levels(self, clicks: FloatArray, expected: FloatArray, t: int) -> FloatArray:
        relative = (clicks / self.flight[:, None] + self.prior) / (expected + self.prior)
        if t:
            self._hear(clicks, expected * relative)
        if t % HOURS_PER_DAY == 0 and t:
            self._midnight()
        rest = self.rest_of_today(t)
        level = exp(self._level + self._level_var / 2.0)
        both = self._level_var + 2.0 * self._covariance + self._today_var
        today = exp(self._level + self._today + both / 2.0)
        levels: FloatArray = relative * (level * (self.ahead[t] - rest) + today * rest)[:, None]
        return levels

    def _hear(self, clicks: FloatArray, expected: FloatArray) -> None:
        """One step of the filter: the last hour's clicks against what these channels would bring on average."""
        heard, due = (now - before for now, before in zip((clicks, expected), self._before, strict=True))
        self._before = (clicks, expected)
        heard, due = (np.maximum(total(clicks), 0.0) + 0.5 for clicks in (heard, due))
        surprise = log(heard / due) + np.ravel(self.hour_variance) / 2.0 - self._level - self._today
        toward_level, toward_today = self._level_var + self._covariance, self._today_var + self._covariance
        variance = toward_level + toward_today + np.ravel(self.hour_variance) + 1.0 / heard
        gain = (toward_level / variance, toward_today / variance)
        self._level, self._today = self._level + gain[0] * surprise, self._today + gain[1] * surprise
        self._level_var = self._level_var - gain[0] * toward_level
        self._covariance = self._covariance - gain[0] * toward_today
        self._today_var = self._today_var - gain[1] * toward_today


class Prices:
    """The level of competing prices over the calibrated ones: that of the last hour, decaying as its AR(1) does."""

    def __init__(self, config: DualConfig, market: Landscape) -> None:
        self._config, self._market = config, market
        self.decay = _mean_decay(market.price_autocorrelation)
        self._log_cpc = log(market.cpc)

    def log_prices(self, view: View, t: int) -> tuple[FloatArray, FloatArray]:
        """Expected location of competing prices in this hour and over the rest of the flight, (B, S) each."""
        level = self._level(view, t)
        market = self._market
        return market.log_price + level * market.price_autocorrelation, market.log_price + level * self.decay[t]

    def _level(self, view: View, t: int) -> FloatArray:
        """How far competing prices lay above the calibrated ones in the last hour, (B, S), times price_tracking.

        Win rate and price paid determine it without knowing the bid (Pricing.location).
        """
        market = self._market
        win_rate = view.channel("win_rate")
        # Where almost nothing or almost everything was won, float32 has lost the digits that the level needs.
        known = (win_rate > 1e-6) & (win_rate < 1.0 - 1e-6)
        if t == 0 or not known.any():
            return zeros(*win_rate.shape)
        log_paid = view.channel("log_price_ratio") + self._log_cpc
        level = market.pricing.location(np.where(known, win_rate, 0.5), log_paid) - market.log_price
        tracked: FloatArray = self._config.price_tracking * np.where(known, np.clip(level, -3.0, 3.0), 0.0)
        return tracked


def _mean_decay(rho: float) -> FloatArray:
    """What is left on average of a price level over the n hours from each hour on, (H,): mean of rho, ..., rho^n."""
    powers = np.cumprod(np.full(HOURS, rho))
    decay: FloatArray = (np.cumsum(powers) / np.arange(1, HOURS + 1))[::-1]
    return decay


def _count_of(log_count: FloatArray) -> FloatArray:
    """x of log(1 + x)."""
    count: FloatArray = exp(log_count) - 1.0
    return count


def _square(x: Any) -> Any:
    return x * x
