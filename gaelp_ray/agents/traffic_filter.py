"""Joint filter of traffic: the level of every channel, today's factor and the hour's, from Poisson counts of clicks.

Clicks of an hour are Poisson with mean expected x exp(level of the channel + day + hour), where the three logarithms
are normal a priori and `expected` is the calibrated click volume at the hour's own win rates. The belief is a normal
distribution of all of them together, (S + 2) dimensions with full covariance, updated by one channel's count after the
other (assumed density filtering: Maybeck 1982; Minka 2001): one count changes the belief of one sum, and the rest
follows from the covariance.
"""

from __future__ import annotations

import numpy as np

from gaelp_ray.market import Landscape
from gaelp_ray.records import FloatArray

NEWTON_STEPS = 2
"""Per count, from the compromise between the belief and the logarithm of the count."""


class TrafficFilter:
    """Means (S + 2, B) and covariances (S + 2, S + 2, B) of the log factors: S channels, then day and hour.

    Flights come last, so that the sums over channels run through contiguous memory.
    """

    def __init__(self, market: Landscape) -> None:
        self._channels = market.channels
        self._level = market.volume_log_sd**2 + market.ctr_log_sd**2
        self._day, self._hour = market.day_log_sd**2, market.hour_log_sd**2

    def begin(self, flights: int) -> None:
        """Back to the prior: every factor has mean 1, so that its logarithm has mean -variance / 2."""
        size = self._channels + 2
        self._mean = np.full((size, flights), -self._level / 2.0)
        self._covariance = np.zeros((size, size, flights))
        channels = np.arange(self._channels)
        self._covariance[channels, channels] = self._level
        self.new_day()

    def new_day(self) -> None:
        """Reset today's factor at midnight."""
        self._renew(-2, self._day)

    def update(self, clicks: FloatArray, expected: FloatArray) -> None:
        """Evidence of one hour, (B, S) each; channels without expected clicks are ignored."""
        self._renew(-1, self._hour)
        known = expected.T > 0.0
        count, due = np.where(known, clicks.T, 0.0), np.where(known, expected.T, 0.0)
        weight = np.where(known, count + 0.5, 0.0)
        observed = np.log(np.where(known, (count + 0.5) / np.where(known, due, 1.0), 1.0))
        for channel in range(self._channels):
            mean, covariance = self._mean, self._covariance
            toward = covariance[channel] + covariance[-2] + covariance[-1]  # (S + 2, B), with the observed sum
            prior = mean[channel] + mean[-2] + mean[-1]
            variance = np.maximum(toward[channel] + toward[-2] + toward[-1], 1e-12)
            start = (prior + variance * weight[channel] * observed[channel]) / (1.0 + variance * weight[channel])
            posterior, shrunk = _condition(prior, variance, start, count[channel], due[channel])
            gain = toward / variance
            mean += gain * (posterior - prior)
            covariance -= (gain * (variance - shrunk))[:, None] * gain[None]

    def later(self) -> FloatArray:
        """Expected factor on the calibrated clicks of later days, (B, S)."""
        factor: FloatArray = np.exp(self._mean[:-2] + self._variances() / 2.0).T
        return factor

    def today(self) -> FloatArray:
        """Expected factor on the calibrated clicks of the rest of today, (B, S)."""
        covariance = self._covariance
        variance = self._variances() + covariance[-2, -2] + 2.0 * covariance[:-2, -2]
        factor: FloatArray = np.exp(self._mean[:-2] + self._mean[-2] + variance / 2.0).T
        return factor

    def flight(self) -> FloatArray:
        """Mean log level of the channels, and log of today's factor, (B, 2)."""
        return np.stack([self._mean[:-2].mean(axis=0), self._mean[-2]], axis=1)

    def _variances(self) -> FloatArray:
        channels = np.arange(self._channels)
        variances: FloatArray = self._covariance[channels, channels]
        return variances

    def _renew(self, factor: int, variance: float) -> None:
        """Reset a factor to its prior, independent of all others."""
        self._mean[factor] = -variance / 2.0
        self._covariance[factor] = self._covariance[:, factor] = 0.0
        self._covariance[factor, factor] = variance


def _condition(
    prior: FloatArray, variance: FloatArray, start: FloatArray, count: FloatArray, due: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(mean, variance), (B,), of eta ~ Normal(prior, variance) given count ~ Poisson(due x exp(eta)).

    Laplace's approximation at the mode. The mean lies below the mode by half the third derivative times the squared
    variance (Lindley 1980), which would otherwise add up over the hours.
    """
    eta = start
    for _ in range(NEWTON_STEPS):
        rate = due * np.exp(eta)
        eta = eta + np.clip((variance * (count - rate) + prior - eta) / (1.0 + variance * rate), -1.0, 1.0)
    rate = due * np.exp(eta)
    shrunk = variance / (1.0 + variance * rate)
    return eta - 0.5 * rate * shrunk**2, shrunk
