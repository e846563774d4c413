"""Several models on the same flights: who is better than whom, with intervals that hold for all pairs together.

The difference of two pooled ratios is a mean over common flights once it is linearised (sequences.Ratio), so that all
differences together are about multivariate normal, and their intervals hold together with the quantile of the largest
|t|: Hothorn, Bretz and Westfall, "Simultaneous inference in general parametric models" (Biometrical Journal, 2008),
section 3. They are never wider than Bonferroni's, and narrower because the pairs have models in common. The probability
that one model beats another is the confidence distribution of their difference at 0 (Xie and Singh, International
Statistical Review, 2013): of one pair, not corrected for the others. Start at duels().
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import stdtr, stdtrit

from gaelp_ray.evidence.pooled import pooled_ratio
from gaelp_ray.evidence.sequences import Ratio
from gaelp_ray.records import FlightTotals, FloatArray, Interval
from gaelp_ray.results import Comparison

DRAWS, SEED = 20_000, 7
"""Of the largest |t|; its quantile is then right to about 1 %, and the same models have the same intervals."""


@dataclass(frozen=True)
class Duel:
    """One metric of model `a` minus that of model `b`.

    probability: that a's is the higher one. The interval holds together with those of all other pairs.
    """

    a: str
    b: str
    found: Comparison
    probability: float


def duels(arms: Mapping[str, FlightTotals], metric: str, confidence: float) -> tuple[Duel, ...]:
    """All pairs of models in their order; empty where the metric was not measured, or there is one flight.

    Raises ValueError if the flights are not the same: the budgets of common flights are equal.
    """
    first, *others = arms.values()
    if not all(np.array_equal(first.budget, other.budget) for other in others):
        raise ValueError("the models did not fly the same flights")
    ratios = {label: ratio for label, totals in arms.items() if (ratio := pooled_ratio(totals, metric)) is not None}
    if len(ratios) < len(arms) or len(first) < 2:
        return ()
    pairs = list(combinations(ratios, 2))
    differences = [ratios[a] - ratios[b] for a, b in pairs]
    width = simultaneous_width(list(ratios.values()), confidence) / math.sqrt(len(first))
    return tuple(_duel(a, b, ratio, width) for (a, b), ratio in zip(pairs, differences, strict=True))


def _duel(a: str, b: str, difference: Ratio, width: float) -> Duel:
    value, radius = difference.value, width * difference.deviation
    flights = len(difference.influence)
    error = difference.deviation / math.sqrt(flights)
    # Models that do the same on every flight differ by nothing, surely.
    probability = float(stdtr(flights - 1, value / error)) if error > 0 else 0.5
    return Duel(a, b, Comparison(value, Interval(value - radius, value + radius)), probability)


def simultaneous_width(ratios: Sequence[Ratio], confidence: float) -> float:
    """Standard errors on either side of each difference, so that the intervals of all pairs hold together."""
    pairs = list(combinations(range(len(ratios)), 2))
    freedom = len(ratios[0].influence) - 1
    bonferroni = float(stdtrit(freedom, 1.0 - (1.0 - confidence) / (2.0 * len(pairs))))
    if len(pairs) == 1:
        return bonferroni
    largest = _largest_t(np.stack([ratio.influence for ratio in ratios]), pairs, freedom)
    return min(float(np.quantile(largest, confidence)), bonferroni)


def _largest_t(influence: FloatArray, pairs: Sequence[tuple[int, int]], freedom: int) -> FloatArray:
    """Draws of the largest |t| of all pairs if no two models differ; `influence`: (models, flights)."""
    rng = np.random.default_rng(SEED)
    centred = np.zeros(len(influence))
    # What the models have in common cancels in every pair; without it the covariance keeps its digits.
    covariance = np.cov(influence - influence.mean(axis=0))
    draws = rng.multivariate_normal(centred, covariance, DRAWS, method="eigh")
    scale = np.sqrt(rng.chisquare(freedom, DRAWS) / freedom)
    largest: FloatArray = np.zeros(DRAWS)
    for a, b in pairs:
        deviation = math.sqrt(max(covariance[a, a] + covariance[b, b] - 2.0 * covariance[a, b], 0.0))
        if deviation > 0:
            largest = np.maximum(largest, np.abs(draws[:, a] - draws[:, b]) / (deviation * scale))
    return largest
