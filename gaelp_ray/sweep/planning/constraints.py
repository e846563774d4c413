"""Bounds that a winner must keep: `select: {constraints: {max_cpa: 200, min_ctr: 0.01}}`.

Every metric of records.py may be bounded from below (`min_`) and from above (`max_`). A metric that was not measured
keeps no bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gaelp_ray.errors import did_you_mean
from gaelp_ray.records import METRIC_NAMES
from gaelp_ray.sweep.format.document import KeyPath, Problem
from gaelp_ray.sweep.format.words import LISTING

SIDES = ("min", "max")
HERE, OF_GATE = ("select", "constraints"), ("publish", "gate", "constraints")


@dataclass(frozen=True)
class Constraint:
    """One bound on one metric; at the bound it is kept."""

    side: str  # "min" or "max"
    metric: str
    bound: float

    @property
    def key(self) -> str:
        """As the sweep file has it: `max_cpa`."""
        return f"{self.side}_{self.metric}"

    def broken_by(self, value: float) -> bool:
        """Whether a value of the metric lies beyond the bound, or was not measured (NaN)."""
        return not (value >= self.bound if self.side == "min" else value <= self.bound)

    def excess(self, metrics: Mapping[str, float]) -> float:
        """By which share of the bound it is broken, 0 or less where it is kept; 1 where nothing was measured."""
        value = float(metrics.get(self.metric, math.nan))
        beyond = self.bound - value if self.side == "min" else value - self.bound
        return beyond / (abs(self.bound) or 1.0) if math.isfinite(value) else 1.0

    def violation(self, metrics: Mapping[str, float]) -> str:
        """Such as `cpa 213.40 is above max_cpa 200`; empty where the bound is kept."""
        value = float(metrics.get(self.metric, math.nan))
        if not self.broken_by(value):
            return ""
        if math.isnan(value):
            return f"{self.metric} was not measured ({self.key} {self.bound})"
        side = "below" if self.side == "min" else "above"
        return f"{self.metric} {self._written(value)} is {side} {self.key} {self.bound}"

    def _written(self, value: float) -> str:
        """With as many decimals as a near miss needs to be seen."""
        decimals = 2 if abs(value) >= 1.0 else 4
        while math.isfinite(value) and not self.broken_by(round(value, decimals)):
            decimals += 1
        return f"{value:.{decimals}f}"


def constraints_of(written: Mapping[str, float]) -> tuple[Constraint, ...]:
    """The constraints of a sweep file that has no constraint_problems()."""
    split = ((key.partition("_"), bound) for key, bound in written.items())
    return tuple(Constraint(side, metric, bound) for (side, _, metric), bound in split)


def violations(metrics: Mapping[str, float], constraints: Iterable[Constraint]) -> list[str]:
    """What the metrics of an arm break, each in words; empty if nothing."""
    return [broken for constraint in constraints if (broken := constraint.violation(metrics))]


def in_words(constraints: Iterable[Constraint]) -> str:
    """`max_cpa 200, min_ctr 0.01`."""
    return ", ".join(f"{constraint.key} {constraint.bound}" for constraint in constraints)


def constraint_problems(written: Mapping[str, float], min_delivery: float, here: KeyPath = HERE) -> Iterator[Problem]:
    """What is wrong with the constraints of a sweep file: names, and bounds that no arm could keep together.

    `here` is the path of the block that they stand in.
    """
    for key, bound in written.items():
        if problem := _name_problem(key) or _order_problem(key, bound, written, min_delivery):
            yield Problem((*here, key), problem)


def _name_problem(key: str) -> str:
    side, _, metric = key.partition("_")
    if side not in SIDES or not metric:
        if key in METRIC_NAMES:
            return f"a bound has a side: write min_{key} or max_{key}"
        return f"write min_ or max_ before the name of a metric. {did_you_mean(key, METRIC_NAMES, LISTING)}"
    if metric not in METRIC_NAMES:
        return f"unknown metric {metric!r}. {did_you_mean(metric, METRIC_NAMES, LISTING)}"
    if key == "min_delivery":
        return "this bound has a key of its own: write select.min_delivery"
    return ""


def _order_problem(key: str, high: float, written: Mapping[str, float], min_delivery: float) -> str:
    metric = key.removeprefix("max_")
    if metric == key:
        return ""
    if metric == "delivery" and high < min_delivery:
        return f"{high} is below select.min_delivery {min_delivery}: no arm could keep both"
    low = written.get(f"min_{metric}", -math.inf)
    return f"{high} is below min_{metric} {low}: no arm could keep both" if high < low else ""
