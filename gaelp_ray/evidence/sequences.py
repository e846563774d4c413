"""Looking at numbers while they come in, as often as one likes, with a stated probability of ever being wrong.

An interval that is right for one look is wrong sooner or later for whoever looks again and again. A confidence
sequence holds for all looks together. Here it is the asymptotic one of Waudby-Smith, Arbour, Sinha, Kennedy and
Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences" (Annals of Statistics, 2024), theorem
2.2, for means of independent flights; a pooled ratio is such a mean once it is linearised (the delta method). Start
at Ratio and ConfidenceSequence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gaelp_ray.records import FloatArray, Interval


@dataclass(frozen=True)
class Ratio:
    """A pooled ratio of n flights, or a difference of two on the same flights.

    value: sum / sum. influence: what each flight adds to the error of `value`, (n,), with mean 0: the variance of
    `value` is that of `influence` / n.
    """

    value: float
    influence: FloatArray

    @classmethod
    def of(cls, above: FloatArray, below: FloatArray) -> Ratio:
        """sum(above) / sum(below), both (n,), of which `below` must not be 0 as a whole. Raises ValueError."""
        total = float(below.sum())
        if not total > 0:
            raise ValueError("a ratio to nothing")
        value = float(above.sum()) / total
        return cls(value, (above - value * below) * (len(below) / total))

    def __sub__(self, other: Ratio) -> Ratio:
        """The difference on common flights: what both have in common cancels."""
        return Ratio(self.value - other.value, self.influence - other.influence)

    @property
    def deviation(self) -> float:
        """Standard deviation of the influence of one flight."""
        return float(np.std(self.influence, ddof=1)) if len(self.influence) > 1 else math.inf


@dataclass(frozen=True)
class ConfidenceSequence:
    """Intervals for one mean, all of which hold together with probability 1 - alpha.

    alpha: 0..1, two-sided. sharpest: number of flights for which the intervals are narrowest; they hold for all.
    """

    alpha: float
    sharpest: int

    @property
    def _rho2(self) -> float:
        """The boundary's parameter, near its best for `sharpest` (the paper's equation 10)."""
        spent = -2.0 * math.log(self.alpha)
        return (spent + math.log(spent) + 1.0) / self.sharpest

    def radius(self, deviation: float, flights: int) -> float:
        """Half the interval's width after so many flights."""
        spread = flights * self._rho2 + 1.0
        return deviation * math.sqrt(
            2.0 * spread / (flights**2 * self._rho2) * math.log(math.sqrt(spread) / self.alpha)
        )

    def interval(self, ratio: Ratio) -> Interval:
        """Of a pooled ratio, or of a difference of two."""
        radius = self.radius(ratio.deviation, len(ratio.influence))
        return Interval(ratio.value - radius, ratio.value + radius)
