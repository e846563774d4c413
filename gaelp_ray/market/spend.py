"""How much money a market takes in one flight at the highest bids: the bound of every budget.

Moments only, without a simulation: expected spend, and how far flights differ from it by the market's departures and
by chance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from gaelp_ray.market.landscape import DAYS, HOURS, HOURS_PER_DAY, Landscape
from gaelp_ray.records import FloatArray

QUANTILES = 64
"""Of budget and of spend, for the mean over both."""


@dataclass(frozen=True)
class LargestSpend:
    """What flights spend that bid max_bid_multiplier x the historical bids all week and never run out of money."""

    mean: float
    variation: float  # coefficient of variation between flights

    def quantile(self, share: float) -> float:
        """The amount that this share of flights stays below: a lognormal with these two moments."""
        log_sd = np.sqrt(np.log1p(self.variation**2))
        return float(self.mean * np.exp(log_sd * ndtri(share) - log_sd**2 / 2.0))


def spendable(landscape: Landscape) -> float:
    """Expected spend per flight at the highest bids; a channel with a cap spends at most its share of the budget."""
    spend = _by_channel(landscape)[0]
    capped = landscape.spend_cap < 1.0
    limit = np.where(capped, landscape.spend_cap * landscape.budget, np.inf)
    return float(np.minimum(spend, limit).sum())


def largest_spend(landscape: Landscape) -> LargestSpend:
    """Mean and variation of the spend at the highest bids, without caps."""
    spend, chance = _by_channel(landscape)
    mean = float(spend.sum())
    own = np.expm1(landscape.volume_log_sd**2 + landscape.ctr_log_sd**2 + np.log1p(_price_variance(landscape)))
    days = landscape.traffic.reshape(DAYS, HOURS_PER_DAY).sum(axis=1) / DAYS
    common = float((days**2).sum() * np.expm1(landscape.day_log_sd**2))
    common += float(((landscape.traffic / DAYS) ** 2).sum() * np.expm1(landscape.hour_log_sd**2))
    channels = float(own * (spend**2).sum()) / mean**2
    variance = (1.0 + common) * (1.0 + channels) - 1.0 + float(chance.sum()) / mean**2
    return LargestSpend(mean, float(np.sqrt(variance)))


def largest_delivery(landscape: Landscape) -> float:
    """Share of all budgets that flights at the highest bids spend, 0..1: E[min(budget, spend)] / E[budget].

    Budgets are log-uniform around the market's; spend is a lognormal with the moments of largest_spend(), with a lower
    mean where channels have caps.
    """
    shares = (np.arange(QUANTILES) + 0.5) / QUANTILES
    largest = replace(largest_spend(landscape), mean=spendable(landscape))
    spend = np.array([largest.quantile(share) for share in shares])
    budget = landscape.budget * np.exp(landscape.budget_log_range * (2.0 * shares - 1.0))
    return float(np.minimum.outer(budget, spend).mean() / budget.mean())


def _by_channel(landscape: Landscape) -> tuple[FloatArray, FloatArray]:
    """(expected spend of a week, its variance by the chance of single clicks) at the highest bids, (S,) each."""
    log_bid = np.log(landscape.bid * landscape.max_bid_multiplier)
    win, price = landscape.pricing.clearing(log_bid, landscape.log_price)
    variance = landscape.pricing.variance(log_bid, landscape.log_price, win, price)
    clicks = landscape.volume * landscape.ctr * DAYS * win
    if landscape.fatigue_rate:  # click-through rate, averaged over the impressions won so far
        lost = landscape.fatigue_rate * win
        clicks = clicks * -np.expm1(-lost) / lost
    return clicks * price, clicks * (price**2 + variance)


def _price_variance(landscape: Landscape) -> float:
    """Variance of the mean over a week of a channel's price level, which has mean 1."""
    lags = np.arange(1, HOURS)
    shared = (HOURS + 2.0 * ((HOURS - lags) * landscape.price_autocorrelation**lags).sum()) / HOURS**2
    return float(shared * np.expm1(landscape.price_log_sd**2))
