"""Intervals of pooled ROAS and of its paired difference, by resampling flights. For numbers that are all there."""

from __future__ import annotations

import numpy as np

from gaelp_ray.records import MIN_DELIVERY, Evaluation, FlightTotals, FloatArray, Interval
from gaelp_ray.results import Comparison
from gaelp_ray.threads import one_thread

RESAMPLES, PAIRED_RESAMPLES = 2000, 4000
SEED = 6
"""Of the resampling: the same flights have the same interval."""


@one_thread()
def summarise(totals: FlightTotals, confidence: float, min_delivery: float = MIN_DELIVERY) -> Evaluation:
    """Pooled metrics of flights, with a percentile bootstrap interval for pooled ROAS (flights are resampled)."""
    rng = np.random.default_rng(SEED)
    flights = len(totals)
    counts = rng.multinomial(flights, np.full(flights, 1.0 / flights), size=RESAMPLES).astype(np.float64)
    cost = counts @ totals.cost
    samples = np.divide(counts @ totals.revenue, cost, out=np.full_like(cost, np.nan), where=cost > 0)
    tail = (1.0 - confidence) / 2.0
    low, high = np.nanquantile(samples, [tail, 1.0 - tail]) if np.isfinite(samples).any() else (np.nan, np.nan)
    return Evaluation(totals.pooled(min_delivery), Interval(float(low), float(high)), confidence, totals)


@one_thread()
def compare(a: FlightTotals, b: FlightTotals, confidence: float) -> Comparison:
    """ROAS of a minus ROAS of b on the same flights, with a paired percentile bootstrap interval.

    Raises ValueError if the flights are not the same: the budgets of common flights are equal.
    """
    if not np.array_equal(a.budget, b.budget):
        raise ValueError("the two arms did not fly the same flights")
    n = len(a)
    rng = np.random.default_rng(n)
    counts = rng.multinomial(n, np.full(n, 1.0 / n), size=PAIRED_RESAMPLES).astype(np.float64)
    samples = _roas(counts, a) - _roas(counts, b)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(samples, [tail, 1.0 - tail])
    return Comparison(a.pooled().roas - b.pooled().roas, Interval(float(low), float(high)))


def _roas(counts: FloatArray, flights: FlightTotals) -> FloatArray:
    roas: FloatArray = (counts @ flights.revenue) / np.maximum(counts @ flights.cost, 1e-12)
    return roas
