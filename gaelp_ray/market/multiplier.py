"""The one equation that every plan comes down to: at which multiplier lambda does expected spend equal the budget?

Spend falls with lambda. solve() finds the root of log(spend) - log(budget) for many flights at once, by Newton's method
within a bracket.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gaelp_ray.market.elementary import log
from gaelp_ray.records import FloatArray

Spend = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
"""log lambda (...,) -> (expected spend, minus its derivative), of the same shape."""

SETTLED = 1e-9


def solve(spend: Spend, budget: FloatArray, start: FloatArray, bounds: tuple[float, float], steps: int) -> FloatArray:
    """log lambda at which spend equals budget, in the shape of `start`, after at most `steps` steps.

    A root that is settled stays as it is, so that it does not depend on the others that are solved for with it.
    Newton's method on the logarithm can cycle where channels lie far apart, so that a step out of the bracket found so
    far is replaced by bisection. Where everything costs less than the budget the lower bound is the answer.
    """
    log_budget = log(np.maximum(budget, 1e-9))
    x, settled = start, np.zeros(np.shape(start), np.bool_)
    # A hair wider than the bounds, so that these are inside.
    low, high = np.full_like(x, bounds[0] - 1e-6), np.full_like(x, bounds[1] + 1e-6)
    for _ in range(steps):
        spent, slope = spend(x)
        spent = np.maximum(spent, 1e-300)
        excess = log(spent) - log_budget
        low, high = np.where(excess > 0, x, low), np.where(excess > 0, high, x)
        newton = x + np.clip(excess * spent / np.maximum(slope, 1e-300), -2.0, 2.0)
        newton = np.clip(newton, *bounds)
        at_root = np.abs(newton - x) < SETTLED  # which is then also an end of the bracket
        following = np.where(((newton > low) & (newton < high)) | at_root, newton, (low + high) / 2.0)
        x = np.where(settled, x, following)
        settled = settled | at_root
        if settled.all():
            break
    return x
