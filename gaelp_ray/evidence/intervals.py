"""Intervals of pooled ROAS and of SCORE, and of a paired difference of the latter, by resampling flights."""

from __future__ import annotations

import numpy as np

from gaelp_ray.records import SCORE, Evaluation, FlightTotals, FloatArray, Interval
from gaelp_ray.results import Comparison

RESAMPLES, PAIRED_RESAMPLES = 2000, 4000
SEED = 6
"""Of the resampling: the same flights have the same interval."""


def summarise(totals: FlightTotals, confidence: float) -> Evaluation:
    """Pooled metrics of flights, with percentile bootstrap intervals for ROAS and SCORE."""
    rng = np.random.default_rng(SEED)
    counts = _resampled(rng, len(totals), RESAMPLES)
    roas = _percentiles(_ratios(_sums(counts, totals.revenue), _sums(counts, totals.cost)), confidence)
    return Evaluation(totals.pooled(), roas, _percentiles(_scores(counts, totals), confidence), confidence, totals)


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
    """How often each flight is drawn in each resample, (flights, times)."""
    counts = rng.multinomial(flights, np.full(flights, 1.0 / flights), size=times)
    by_flight: FloatArray = counts.T.astype(np.float64, order="C")
    return by_flight


def _sums(counts: FloatArray, values: FloatArray) -> FloatArray:
    """values @ counts, flight by flight: a matrix product adds in an order that follows the processor."""
    added = np.zeros(counts.shape[1])
    for times, value in zip(counts, values, strict=True):
        added += times * value
    return added


def _scores(counts: FloatArray, flights: FlightTotals) -> FloatArray:
    """SCORE of each resample, (times,)."""
    revenue, cost, budget = (_sums(counts, x) for x in (flights.expected_revenue, flights.cost, flights.budget))
    return _ratios(revenue, np.maximum(cost, budget))


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
