"""W&B's distributions: a value from one uniform number, and the smallest and largest that can come of it.

Pure. The meaning of every distribution is that of W&B's public `sweeps` package (params.py there): the bounds of
log_uniform are exponents of e, those of log_uniform_values the limits themselves; mu and sigma of log_normal belong to
the logarithm; a name with q_ is rounded to multiples of q. Start at Distribution.from_unit().
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betaincinv, ndtri

TINY = 2.0**-53
"""Uniform numbers are kept this far from 0 and 1, so that no normal value is infinite."""

LARGEST_EXPONENT = 700.0
"""Of e, in a float, with room to spare."""


@dataclass(frozen=True)
class Distribution:
    """One distribution with all of its arguments; those that its kind does not have are not read."""

    kind: str
    low: float = 0.0
    high: float = 1.0
    mu: float = 0.0
    sigma: float = 1.0
    a: float = 1.0
    b: float = 1.0
    q: float = 1
    values: tuple[Any, ...] = ()
    probabilities: tuple[float, ...] | None = None

    @property
    def base(self) -> str:
        """The distribution before it is rounded: `normal` of `q_normal`."""
        return self.kind.removeprefix("q_")

    def from_unit(self, u: float) -> Any:
        """The value below which a share `u` (0 to 1) of all draws lies; of values in no order, one of them."""
        if self.values:
            return self.values[self._place(u)]
        if self.kind == "int_uniform":
            low, high = int(self.low), int(self.high)
            return min(low + int(u * (high - low + 1)), high)
        smallest, largest = self._ends()
        if self.base in ("normal", "log_normal", "beta"):  # whose ends are open
            u = min(max(u, TINY), 1.0 - TINY)
        value = _QUANTILES[self.base](self, u)
        return self._rounded(min(max(value, smallest), largest))

    def support(self) -> tuple[float, float]:
        """The smallest and the largest value that can be drawn; infinite for normal.

        Raises ValueError for values of a list, which have no order.
        """
        if self.values:
            raise ValueError(f"{self.kind} has no smallest and largest value")
        if self.kind == "int_uniform":
            return int(self.low), int(self.high)
        smallest, largest = self._ends()
        return self._rounded(smallest), self._rounded(largest)

    def draw(self, rng: np.random.Generator) -> Any:
        """One value. Whole numbers and unweighted lists take the generator's own integers, the others one uniform."""
        if self.kind == "int_uniform":
            return int(rng.integers(int(self.low), int(self.high), endpoint=True))
        if self.values and self.probabilities is None:
            return self.values[int(rng.choice(len(self.values)))]
        return self.from_unit(rng.random())

    def _place(self, u: float) -> int:
        """Index of the value that holds the share `u`; never one whose probability is 0."""
        if self.probabilities is None:
            return min(int(u * len(self.values)), len(self.values) - 1)
        shares = np.cumsum(self.probabilities)
        last = int(np.flatnonzero(self.probabilities)[-1])
        return min(int(np.searchsorted(shares / shares[-1], u, side="right")), last)

    def _ends(self) -> tuple[float, float]:
        """The ends before rounding."""
        if self.base in ("normal", "log_normal"):
            if self.sigma == 0:
                point = self.mu if self.base == "normal" else math.exp(self.mu)
                return point, point
            return (-math.inf if self.base == "normal" else 0.0), math.inf
        if self.base == "beta":
            return 0.0, 1.0
        if self.base == "log_uniform":
            return math.exp(self.low), math.exp(self.high)
        if self.base == "inv_log_uniform":
            return math.exp(-self.high), math.exp(-self.low)
        return float(self.low), float(self.high)

    def _rounded(self, value: float) -> Any:
        """round(value / q) * q, halves to even; whole where q is."""
        if not self.kind.startswith("q_"):
            return float(value)
        if math.isinf(value):
            return value
        steps = value / self.q
        if abs(steps) >= 2.0**53:  # floats lie further apart there than q
            return int(value) if isinstance(self.q, int) else value
        return round(steps) * self.q


def _log_uniform(low: float, high: float, u: float) -> float:
    return float(np.exp(low + (high - low) * u))


_QUANTILES: dict[str, Callable[[Distribution, float], float]] = {
    "uniform": lambda d, u: d.low + (d.high - d.low) * u,
    "log_uniform": lambda d, u: _log_uniform(d.low, d.high, u),
    "log_uniform_values": lambda d, u: _log_uniform(float(np.log(d.low)), float(np.log(d.high)), u),
    # log(1 / x) is uniform: from e^-max to e^-min.
    "inv_log_uniform": lambda d, u: _log_uniform(-d.high, -d.low, u),
    "inv_log_uniform_values": lambda d, u: _log_uniform(float(np.log(d.low)), float(np.log(d.high)), u),
    "normal": lambda d, u: d.mu + d.sigma * float(ndtri(u)),
    "log_normal": lambda d, u: math.exp(d.mu + d.sigma * float(ndtri(u))),
    "beta": lambda d, u: float(betaincinv(d.a, d.b, u)),
}
"""The inverse of each cumulative distribution function."""
