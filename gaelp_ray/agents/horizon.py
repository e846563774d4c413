"""The rest of a flight in blocks of hours, with prices as spread as they will be (used by ExactBayes).

A bid is made for prices that are not known yet: the level of competing prices moves on as an AR(1) process. Spend is
not linear in that level, so that a plan for its mean alone spends too much or too little. Each block of hours has its
own distribution of the level, given the last one that was seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gaelp_ray.agents.planning import Outlook
from gaelp_ray.market import Landscape
from gaelp_ray.market.landscape import HOURS, HOURS_PER_DAY
from gaelp_ray.market.observation import View
from gaelp_ray.market.prices import Lognormal, Pricing
from gaelp_ray.records import FloatArray, zeros

EDGES = (0, 1, 6, 24, 72)
"""Hours from now at which blocks begin: prices are known best, and change fastest, in the next hours."""


class PriceLevel:
    """The AR(1) level of competing prices of each channel, (B, S), as of the last hour; 0 on average."""

    def __init__(self, market: Landscape, flights: int) -> None:
        self._market, self._variance = market, level_variance(market, np.arange(1.0, HOURS + 1.0))
        self._level = zeros(flights, market.channels)

    def update(self, view: View, t: int) -> None:
        """The level of hour t - 1, which win rate and price paid determine exactly (Pricing.location).

        Where almost nothing or almost everything was won, float32 has lost the digits that the level needs: it is
        taken to have decayed towards its mean.
        """
        market = self._market
        win_rate = view.channel("win_rate")
        known = (win_rate > 1e-6) & (win_rate < 1.0 - 1e-6)
        log_paid = view.channel("log_price_ratio") + np.log(market.cpc)
        location = market.pricing.location(np.where(known, win_rate, 0.5), log_paid)
        # Prices have mean 1 around the calibration, hence their logarithm -variance / 2.
        level = np.clip(location - market.log_price, -3.0, 3.0) + self._variance[t - 1] / 2.0
        self._level = np.where(known, level, market.price_autocorrelation * self._level)

    def log_price(self, decay: FloatArray | float, shift: FloatArray | float) -> FloatArray:
        """Locations of competing prices, (..., B, S), when `decay` is left of the level, and `shift` is added."""
        location: FloatArray = self._market.log_price + decay * self._level + shift
        return location

    def next_hour(self, t: int) -> FloatArray:
        """Expected location of competing prices in hour t, (B, S)."""
        return self.log_price(self._market.price_autocorrelation, -self._variance[t] / 2.0)


def level_variance(market: Landscape, hours: FloatArray) -> FloatArray:
    """Variance of an AR(1) level that many hours after it was known: price_log_sd^2 (1 - rho^(2 hours))."""
    variance: FloatArray = market.price_log_sd**2 * (1.0 - market.price_autocorrelation ** (2.0 * hours))
    return variance


@dataclass(frozen=True)
class Blocks:
    """The hours from t to the end of a flight, in K parts, (K,) arrays; what does not depend on the flight."""

    today: FloatArray  # calibrated traffic before midnight, in average days
    later: FloatArray  # and after it
    decay: FloatArray  # what is left of the price level, on average over the hours
    shift: FloatArray  # added to the location of prices
    pricing: Pricing

    @classmethod
    def ahead(cls, market: Landscape, t: int) -> Blocks:
        """The blocks as of hour t.

        Lognormal second prices stay lognormal with the level's variance added to theirs. Other prices become three
        parts a block, at the nodes of Gauss and Hermite.
        """
        edges = [t + edge for edge in EDGES if t + edge < HOURS] + [HOURS]
        rows = np.array([_block(market, t, first, last) for first, last in pairwise(edges)])
        today, later, decay, variance, shift = rows.T
        shape = market.pricing.shape
        if isinstance(shape, Lognormal) and not market.pricing.first_price:
            log_sd = np.sqrt(shape.log_sd**2 + variance[:, None, None])
            return cls(today, later, decay, shift, Pricing(Lognormal(log_sd, shape.channels)))
        sd = np.sqrt(3.0 * variance)
        shifts = np.concatenate([shift - sd, shift, shift + sd])
        today, later = (np.concatenate([part / 6.0, part / 1.5, part / 6.0]) for part in (today, later))
        return cls(today, later, np.tile(decay, 3), shifts, market.pricing)

    def clicks(self, today: FloatArray, later: FloatArray) -> FloatArray:
        """Clicks to come if every auction were won, (K, B, S), of those of an average day today and later, (B, S)."""
        return self.today[:, None, None] * today + self.later[:, None, None] * later

    def log_price(self, level: PriceLevel) -> FloatArray:
        """Locations of competing prices, (K, B, S)."""
        return level.log_price(self.decay[:, None, None], self.shift[:, None, None])


def _block(market: Landscape, t: int, first: int, last: int) -> tuple[float, float, float, float, float]:
    """(today, later, decay, variance, shift) of the hours from `first` to before `last`: means over their traffic."""
    hours, traffic = np.arange(float(first), float(last)), market.traffic[first:last]
    weights = (traffic + 1e-12) / (traffic + 1e-12).sum()
    today = hours < (t // HOURS_PER_DAY + 1) * HOURS_PER_DAY
    return (
        float(traffic[today].sum()),
        float(traffic[~today].sum()),
        float(weights @ market.price_autocorrelation ** (hours - t + 1.0)),
        float(weights @ level_variance(market, hours - t + 1.0)),
        float(weights @ level_variance(market, hours + 1.0)) / -2.0,
    )


class Horizon(Outlook):
    """An outlook whose clicks and log_price have K parts, (K, B, S), that are bid for alike."""

    def spend(self, log_multiplier: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Expected spend of each channel over all parts, and minus its derivative, (B, S) each."""
        spend, slope = super().spend(log_multiplier)
        return spend.sum(axis=0), slope.sum(axis=0)

    def impressions(self, log_multiplier: FloatArray, ctr: FloatArray) -> FloatArray:
        """Expected impressions of each channel over all parts, (B, S)."""
        impressions: FloatArray = super().impressions(log_multiplier, ctr).sum(axis=0)
        return impressions
