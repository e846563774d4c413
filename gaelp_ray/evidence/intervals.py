"""Intervals of pooled ROAS and of SCORE, and of a paired difference of the latter, by resampling flights."""

from __future__ import annotations

import numpy as np

from gaelp_ray.records import SCORE, Evaluation, FlightTotals, FloatArray, Interval
from gaelp_ray.results import Comparison
from gaelp_ray.threads import one_thread

RESAMPLES, PAIRED_RESAMPLES = 2000, 4000
SEED = 6
"""Of the resampling: the same flights have the same interval."""


@one_thread()
def summarise(totals: FlightTotals, confidence: float) -> Evaluation:
    """Pooled metrics of flights, with percentile bootstrap intervals for ROAS and SCORE."""
    rng = np.random.default_rng(SEED)
    counts = _resampled(rng, len(totals), RESAMPLES)
    roas = _percentiles(_ratios(counts @ totals.revenue, counts @ totals.cost), confidence)
    return Evaluation(totals.pooled(), roas, _percentiles(_scores(counts, totals), confidence), confidence, totals)


@one_thread()
def compare(a: FlightTotals, b: FlightTotals, confidence: float) -> Comparison:
    """SCORE of a minus that of b on the same flights, with a paired percentile bootstrap interval.

    Raises ValueError if the flights are not the same: the budgets of common flights are equal.
    """
    if not np.array_equal(a.budget, b.budget):
        raise ValueError("the two arms did not fly the same flights")
    counts = _resampled(np.random.default_rng(len(a)), len(a), PAIRED_RESAMPLES)
    interval = _percentiles(_scores(counts, a) - _scores(counts, b), confidence)
    return Comparison(getattr(a.pooled(), SCORE) - getattr(b.pooled(), SCORE), interval)


def _resampled(rng: np.random.Generator, flights: int, times: int) -> FloatArray:
    """How often each flight is drawn in each resample, (times, flights)."""
    return rng.multinomial(flights, np.full(flights, 1.0 / flights), size=times).astype(np.float64)


def _scores(counts: FloatArray, flights: FlightTotals) -> FloatArray:
    """SCORE of each resample, (times,)."""
    return _ratios(counts @ flights.expected_revenue, np.maximum(counts @ flights.cost, counts @ flights.budget))


def _ratios(above: FloatArray, below: FloatArray) -> FloatArray:
    """NaN where nothing was spent."""
    return np.divide(above, below, out=np.full_like(below, np.nan), where=below > 0)


def _percentiles(samples: FloatArray, confidence: float) -> Interval:
    """The middle share of the samples that are numbers; NaN without any."""
    if not np.isfinite(samples).any():
        return Interval(np.nan, np.nan)
    tail = (1.0 - confidence) / 2.0
    low, high = np.nanquantile(samples, [tail, 1.0 - tail])
    return Interval(float(low), float(high))
