"""Flights that a deployed model has flown, as JSON lines: cost and revenue, and, where there is one, the budget."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gaelp_ray.errors import StorageError
from gaelp_ray.records import FloatArray, ratio


@dataclass(frozen=True)
class ObservedFlights:
    """Flights in the order of the log, (n,) arrays; `budget` is NaN where none was logged.

    damaged: (number of the line, what is wrong with it), of lines that were left out.
    """

    cost: FloatArray
    revenue: FloatArray
    budget: FloatArray
    damaged: tuple[tuple[int, str], ...] = ()

    def __len__(self) -> int:
        return len(self.cost)

    @property
    def delivery(self) -> float:
        """Cost / budget of the flights with a budget; NaN where there are none."""
        budgeted = ~np.isnan(self.budget)
        return ratio(float(self.cost[budgeted].sum()), float(self.budget[budgeted].sum()))

    def only(self, chosen: npt.NDArray[np.bool_]) -> ObservedFlights:
        """The flights where `chosen` (n,) is true."""
        return replace(self, cost=self.cost[chosen], revenue=self.revenue[chosen], budget=self.budget[chosen])


def read_flights(path: Path) -> ObservedFlights:
    """A log of one JSON object per line; other keys are ignored, and damaged lines left out.

    Raises StorageError: no such file, or no line of it is a flight.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise StorageError(f"cannot read the log {path}: {error.strerror}") from None
    rows: list[tuple[float, float, float]] = []
    damaged: list[tuple[int, str]] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                rows.append(_flight(line))
            except _Damaged as error:
                damaged.append((number, str(error)))
    if not rows:
        why = f"; line {damaged[0][0]}: {damaged[0][1]}" if damaged else ""
        raise StorageError(
            f'{path} has no flight: write one JSON object per line, such as {{"cost": 100, "revenue": 450}}{why}'
        )
    cost, revenue, budget = np.array(rows, np.float64).T
    return ObservedFlights(cost, revenue, budget, tuple(damaged))


class _Damaged(ValueError):
    """What is wrong with a line."""


def _flight(line: bytes) -> tuple[float, float, float]:
    """(cost, revenue, budget) of a line."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        raise _Damaged("not valid JSON") from None
    if not isinstance(content, dict):
        raise _Damaged("no JSON object")
    for name in ("cost", "revenue"):
        if content.get(name) is None:
            raise _Damaged(f"{name} is missing")
    budget = math.nan if content.get("budget") is None else _amount(content, "budget")
    return _amount(content, "cost"), _amount(content, "revenue"), budget


def _amount(content: Mapping[str, Any], name: str) -> float:
    """An amount of money."""
    value = content[name]
    try:
        number = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, OverflowError):
        number = math.nan
    if not 0.0 <= number < math.inf:
        raise _Damaged(f"{name} is no finite number of at least 0")
    return number
