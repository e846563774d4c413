"""ROAS as a power of the budget: fitted to a model's measured flights, so that a log with other budgets can be judged.

More budget buys worse clicks, so the same model has a lower ROAS on larger budgets. The curve

    ROAS = roas * (budget / reference) ** elasticity

is a quasi-Poisson regression of revenue on log budget with log cost as the offset and a sandwich covariance. Such a
fit keeps totals: the expected revenue of its own flights is their revenue. Start at fit_budget_curve().
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from gaelp_ray.errors import ModelError
from gaelp_ray.records import FlightTotals, FloatArray
from gaelp_ray.threads import one_thread

NOISE = math.sqrt(-2.0 * math.log(0.05))
"""Length of the standardised quadratic and cubic terms that counts as noise: 95 % of true power laws stay below."""

LEAST_BUDGETS = 8
"""Different budgets that a fit needs."""

TOLERANCE = 0.05
"""Share of the log range on either side that still counts as measured: few flights seldom reach the market's ends."""

NO_LUCK = 1e-20
"""Variance of log ROAS below which flights have no luck but rounding, and so no errors to speak of."""

HALVINGS = 60
"""Of an interval of quantiles, down to rounding. scipy.optimize would do it, and takes long to import."""

ITERATIONS = 50
"""Of Newton's method, which takes five or six."""


@dataclass(frozen=True)
class BudgetCurve:
    """ROAS at a budget, its standard error, and the budgets that were measured.

    At `reference` the errors of level and slope are uncorrelated. roas_error: standard error of log ROAS there.
    deviation: of one flight's influence on observed / expected revenue. misfit: largest distance of log ROAS from a
    fitted cubic, less what noise explains: 0 unless the terms beyond the line are significant.
    """

    reference: float
    roas: float
    roas_error: float
    elasticity: float
    elasticity_error: float
    deviation: float
    misfit: float
    low_budget: float
    high_budget: float

    @classmethod
    def of(cls, content: Any) -> BudgetCurve | None:
        """From model.json; None if there is none. Raises ModelError if it is damaged."""
        if content is None:
            return None
        names = [field.name for field in fields(cls)]
        values = [content.get(name) if isinstance(content, Mapping) else None for name in names]
        curve = cls(*(float(v) if isinstance(v, (int, float)) else math.nan for v in values))
        if not (
            np.isfinite([getattr(curve, name) for name in names]).all()
            and min(curve.reference, curve.roas, curve.roas_error, curve.elasticity_error, curve.deviation) > 0
            and 0 < curve.low_budget < curve.high_budget
            and curve.misfit >= 0
        ):
            raise ModelError("model.json: roas_by_budget: damaged: fetch the model again")
        return curve

    @property
    def measured(self) -> str:
        """The range of budgets, for a message."""
        return f"{self.low_budget:,.6g} to {self.high_budget:,.6g}"

    @property
    def _ends(self) -> tuple[float, float]:
        """The log budgets that the curve is good for, less that of the reference."""
        low, high = math.log(self.low_budget / self.reference), math.log(self.high_budget / self.reference)
        return low - TOLERANCE * (high - low), high + TOLERANCE * (high - low)

    def covers(self, budget: FloatArray) -> npt.NDArray[np.bool_]:
        """Which budgets lie in the measured range, with the tolerance."""
        low, high = (self.reference * math.exp(end) for end in self._ends)
        inside: npt.NDArray[np.bool_] = (budget >= low) & (budget <= high)
        return inside

    def expected_revenue(self, cost: FloatArray, budget: FloatArray, error: float) -> tuple[FloatArray, FloatArray]:
        """Of each flight its revenue; of all flights so far the low end of their revenue; (n,) each.

        With probability 1 - error all low ends hold together, whatever the mix of measured budgets.
        """
        log_budget = np.log(budget / self.reference)
        revenue = cost * self.roas * np.exp(self.elasticity * log_budget)
        total = np.cumsum(revenue)
        mean = np.cumsum(revenue * log_budget) / np.where(total > 0, total, 1.0)
        standard_error = np.hypot(self.roas_error, self.elasticity_error * mean)
        return revenue, total * np.exp(-self._quantile(error) * standard_error - self.misfit)

    def _quantile(self, error: float) -> float:
        """Of the largest standardised error over the measured budgets (Naiman 1986, exact for a straight line).

        The errors of level and slope are a normal vector in the plane; budgets are the directions of an arc.
        """
        first, last = (math.atan2(self.elasticity_error * end, self.roas_error) for end in self._ends)
        arc = (last - first) / (2.0 * math.pi)
        low, high = 0.0, 40.0
        for _ in range(HALVINGS):
            middle = (low + high) / 2.0
            exceeded = arc * math.exp(-(middle**2) / 2.0) + float(ndtr(-middle))
            low, high = (middle, high) if exceeded > error else (low, middle)
        return high


@one_thread()
def fit_budget_curve(flights: FlightTotals) -> BudgetCurve | None:
    """The curve of measured flights; None if their budgets or ROAS do not determine one."""
    if not (flights.budget > 0).all() or len(np.unique(flights.budget)) < LEAST_BUDGETS:
        return None
    log_budget = np.log(flights.budget)
    scale = float(np.std(log_budget))
    powers = np.vander((log_budget - log_budget.mean()) / scale, 4, increasing=True)
    try:
        line, covariance = _fit(powers[:, :2], flights)
        cubic, its_covariance = _fit(powers, flights)
    except _Undetermined:
        return None
    level, slope = line.tolist()
    shift = float(-covariance[0, 1] / covariance[1, 1])  # where level and slope are uncorrelated
    expected = flights.cost * np.exp(powers[:, :2] @ line)
    residuals = (flights.revenue - expected) / expected.mean()
    bend = np.abs(powers @ cubic - powers[:, :2] @ line)
    curvature = math.sqrt(cubic[2:] @ np.linalg.solve(its_covariance[2:, 2:], cubic[2:]))
    return BudgetCurve(
        reference=math.exp(log_budget.mean() + shift * scale),
        roas=math.exp(level + slope * shift),
        roas_error=math.sqrt(covariance[0, 0] - covariance[0, 1] ** 2 / covariance[1, 1]),
        elasticity=slope / scale,
        elasticity_error=math.sqrt(covariance[1, 1]) / scale,
        deviation=float(np.std(residuals, ddof=2)),
        misfit=float(bend.max()) * (1.0 - NOISE / max(curvature, NOISE)),
        low_budget=float(flights.budget.min()),
        high_budget=float(flights.budget.max()),
    )


class _Undetermined(ValueError):
    """The flights do not determine the coefficients."""


def _fit(features: FloatArray, flights: FlightTotals) -> tuple[FloatArray, FloatArray]:
    """Coefficients (k,) of log ROAS on features (n, k), and their sandwich covariance (k, k)."""
    cost, revenue = flights.cost, flights.revenue
    count, width = features.shape
    if not (cost.sum() > 0 and revenue.sum() > 0):
        raise _Undetermined
    coefficients = np.zeros(width)
    coefficients[0] = math.log(revenue.sum() / cost.sum())
    for _ in range(ITERATIONS):
        with np.errstate(over="ignore", invalid="ignore"):  # too long a step is not finite, and refused below
            expected = cost * np.exp(features @ coefficients)
            information = features.T @ (features * expected[:, None])
        if not (np.isfinite(information).all() and np.linalg.cond(information) < 1e12):
            raise _Undetermined
        step = np.linalg.solve(information, features.T @ (revenue - expected))
        coefficients = coefficients + step
        if np.abs(step).max() < 1e-10:
            break
    else:
        raise _Undetermined
    scores = features * (revenue - expected)[:, None]
    inverse = np.linalg.inv(information)
    covariance = inverse @ (scores.T @ scores) @ inverse * (count / (count - width))
    if np.linalg.eigvalsh(covariance)[0] < NO_LUCK:
        raise _Undetermined
    return coefficients, covariance
