"""Posterior of conversion rates on a grid: lognormal prior, binomial evidence, random-walk drift.

The hidden log rate of a channel is a node of a grid. Bayes' rule multiplies the probabilities of the nodes by the
likelihood of each hour; the drift moves probability between neighbours. Nothing is assumed about the posterior's shape,
unlike the gamma belief of beliefs.Values, which has the mean and the variance of the lognormal prior only.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import expm

from gaelp_ray.market import Landscape
from gaelp_ray.market.landscape import HOURS, MAX_CONVERSION_RATE
from gaelp_ray.records import FloatArray

REACH = 5.0
"""Standard deviations of the log rate that the grid covers below its mean, and above the log of the mean rate."""

LONGEST_STEP = 0.15
"""Of the grid: a drift's jumps from node to node are then small against what is not known of a rate."""

NODES = (24, 120)
"""Fewest and most nodes of a grid."""

FLOOR = np.float32(1e-30)
"""Least probability of a node, so that no evidence is impossible."""


class RatePosterior:
    """Probabilities of the conversion rates of B flights and S channels at G nodes, (B, S, G)."""

    def __init__(self, market: Landscape) -> None:
        sd, drift = market.conversion_rate_log_sd, market.conversion_rate_drift
        nodes = grid(market)
        step = float(nodes[1] - nodes[0])
        # A prior narrower than the grid's step still needs two nodes.
        prior = np.exp(-0.5 * ((nodes + sd**2 / 2.0) / max(sd, step)) ** 2)
        prior /= prior.sum()
        relative = np.exp(nodes) / (prior @ np.exp(nodes))  # the prior's mean is the calibrated rate
        rate = np.minimum(market.conversion_rate[:, None] * relative, MAX_CONVERSION_RATE)
        self._walk = random_walk(len(nodes), step, drift).astype(np.float32) if drift else None
        self._prior = prior.astype(np.float32) if self._walk is None else prior.astype(np.float32) @ self._walk
        self._rate = rate.astype(np.float32)  # (S, G)
        self._log_rate, self._log_miss = np.log(self._rate), np.log1p(-self._rate)

    def begin(self, flights: int) -> None:
        """Back to the prior."""
        self._probability = np.tile(self._prior, (flights, len(self._rate), 1))

    def update(self, clicks: FloatArray, conversions: FloatArray) -> None:
        """Evidence of one hour, (B, S) each, then the drift to the next hour.

        Conversions are binomial. With delayed reports `clicks` are those that became ripe, which need not be whole.
        """
        hits = conversions.astype(np.float32)[..., None]
        misses = clicks.astype(np.float32)[..., None] - hits
        likelihood = hits * self._log_rate
        likelihood += misses * self._log_miss
        likelihood -= likelihood.max(axis=-1, keepdims=True)
        probability = self._probability * np.exp(likelihood, out=likelihood)
        np.maximum(probability, FLOOR, out=probability)
        if self._walk is not None:
            probability = probability @ self._walk
        self._probability = probability / probability.sum(axis=-1, keepdims=True)

    def mean(self) -> FloatArray:
        """Expected conversion rates of the coming hour, (B, S)."""
        mean: FloatArray = np.einsum("bsg,sg->bs", self._probability, self._rate).astype(np.float64)
        return mean


def grid(market: Landscape) -> FloatArray:
    """Logs of conversion rates relative to calibration, (G,), in equal steps.

    A step is the standard deviation of the sharpest posterior that a flight can end with: all conversions that the
    budget, or the calibrated volume, buys in the best channel. Drift keeps it above sqrt(drift x sd of an hour's
    evidence), the steady state of the Kalman filter of a slow random walk. With such steps sums over the grid are exact
    to 1e-6, and with twice as long ones to 1 %.
    """
    drift = market.conversion_rate_drift
    spread = max(float(np.hypot(market.conversion_rate_log_sd, drift * np.sqrt(HOURS))), 1e-2)
    clicks = np.minimum(market.budget / market.cpc, market.volume * market.ctr * market.traffic.sum())
    conversions = float(np.max(clicks * market.conversion_rate))
    sharpest = max(conversions**-0.5, float(np.sqrt(drift * (HOURS / conversions) ** 0.5)))
    step = min(sharpest, LONGEST_STEP)
    low, high = -(spread**2) / 2.0 - REACH * spread, spread**2 / 2.0 + REACH * spread
    return np.linspace(low, high, int(np.clip(np.ceil((high - low) / step), *NODES)) + 1)


def random_walk(nodes: int, step: float, sd: float) -> FloatArray:
    """Transition probabilities (G, G) of one hour of the drift of log rates, from row to column.

    A birth-death process in continuous time, so that any `sd` is allowed on any grid. Its jumps have the variance sd^2
    per hour, and their intensities up and down, 1 : exp(step), leave the expected rate where it is.
    """
    intensity = (sd / step) ** 2
    generator = np.zeros((nodes, nodes))
    inner = np.arange(nodes - 1)
    generator[inner, inner + 1] = intensity / (1.0 + np.exp(step))
    generator[inner + 1, inner] = intensity / (1.0 + np.exp(-step))
    generator -= np.diag(generator.sum(axis=1))
    transition: FloatArray = expm(generator)
    return transition
