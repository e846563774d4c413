"""Tests of one mean at planned looks: a group-sequential boundary with a stated total error.

A boundary holds a critical value for each planned look, so that a mean that is not above 0 crosses it at any of them
with probability `error` at most. Skipped looks and an early end only remove ways to cross it: they may depend on the
data. That makes it sharper than a confidence sequence, which holds for looks at any number of flights without end.

The error is spent by a function of the flights (Lan and DeMets, "Discrete sequential boundaries for clinical trials",
Biometrika 1983). The critical values follow by numerical integration over the sum's density below the boundary, look by
look (Armitage, McPherson and Rowe, JRSS A 1969; Jennison and Turnbull, "Group Sequential Methods with Applications to
Clinical Trials", 2000, chapters 7 and 19). Start at Boundary and critical_values().
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from gaelp_ray.evidence.sequences import Ratio
from gaelp_ray.records import FloatArray

LOWEST, HIGHEST = -5.0, 40.0
"""Standard errors between which a sum is followed; below the first one it has no chance to cross a later look."""


@dataclass(frozen=True)
class Boundary:
    """looks: planned numbers of flights, rising. critical: standard errors above 0 that cross it, one for each look."""

    looks: tuple[int, ...]
    critical: tuple[float, ...]

    def look(self, flights: int) -> int:
        """Flights of the last planned look that so many flights reach; 0 before the first one."""
        reached = bisect_right(self.looks, flights)
        return self.looks[reached - 1] if reached else 0

    def crossed(self, ratio: Ratio) -> bool:
        """Whether a pooled ratio, or a difference of two, is above 0. Its flights must be those of a planned look."""
        return standardised(ratio) > self.critical[self.looks.index(len(ratio.influence))]


def standardised(ratio: Ratio) -> float:
    """A ratio in its standard errors, less what skewed flights may have added to it.

    By the plain quotient, others are found above an arm whose flights rarely earn much several times as often as the
    error allows. Hall's monotone cubic (JRSS B 1992, "On the removal of skewness by transformation") corrects for that.
    Where it would raise the quotient, that stands: large flights raise the value and the measured skewness together.
    """
    deviation, flights = ratio.deviation, len(ratio.influence)
    if deviation == 0.0:
        return math.copysign(math.inf, ratio.value) if ratio.value else 0.0
    plain = ratio.value * math.sqrt(flights) / deviation
    skew = float(np.mean(ratio.influence**3)) / (deviation**3 * math.sqrt(flights))
    return min(plain, plain + skew * plain**2 / 3.0 + skew**2 * plain**3 / 27.0 + skew / 6.0)


def obrien_fleming(fraction: float, error: float) -> float:
    """The one-sided error that is spent after a fraction 0..1 of the flights: 2 - 2 Phi(z / sqrt(fraction)), where z is
    the normal quantile of 1 - error / 2: much like O'Brien and Fleming's boundary (Lan and DeMets, alpha-star 1)."""
    return 2.0 * float(ndtr(ndtri(error / 2.0) / math.sqrt(fraction)))


def critical_values(information: Sequence[float], spent: Sequence[float]) -> tuple[float, ...]:
    """One-sided critical values, in standard errors, of looks at a Brownian motion.

    information: of each look, rising, in any unit (flights). spent: of the error, by the end of each look, rising.
    """
    times = np.asarray(information, float) / information[-1]
    steps = np.sqrt(np.diff(times, prepend=0.0))
    # Nodes are half a step's standard deviation apart, or closer, between the limits that a sum is followed in.
    finest = float((steps / np.sqrt(times)).min())
    nodes, weights = np.polynomial.legendre.leggauss(32 + math.ceil(16.0 / finest))
    state, found = (np.zeros(1), np.ones(1)), list[float]()
    for time, step, error in zip(np.sqrt(times), steps, np.diff(spent, prepend=0.0), strict=True):
        bound = _bound(state, (LOWEST * time, HIGHEST * time), step, error)
        found.append(bound / time)
        half = (bound - LOWEST * time) / 2.0
        sums = bound + half * (nodes - 1.0)
        state = sums, half * weights * _density(sums, state, step)
    return tuple(found)


def _bound(state: tuple[FloatArray, FloatArray], limits: tuple[float, float], step: float, error: float) -> float:
    """The sum that is exceeded after another step with probability `error`; state: (sums, their probabilities)."""
    sums, masses = state
    return float(brentq(lambda bound: masses @ ndtr((sums - bound) / step) - error, *limits, xtol=1e-12))


def _density(at: FloatArray, state: tuple[FloatArray, FloatArray], step: float) -> FloatArray:
    """Of the sum after another normal step of this standard deviation."""
    sums, masses = state
    density: FloatArray = np.exp(-0.5 * ((at[:, None] - sums) / step) ** 2) @ masses
    return density / (step * math.sqrt(2.0 * math.pi))
