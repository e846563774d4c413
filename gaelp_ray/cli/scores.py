"""The score of an arm or a model, as tables show it: its value, its interval, and what it was computed with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gaelp_ray.records import SCORE, Interval

REALISED = "delivered_roas"
"""The score in the files of sweeps that were finished before expected revenue decided."""


def score_of(row: Mapping[str, Any]) -> float | None:
    """The score in a row of a leaderboard or of a comparison; None for a trial that was not evaluated."""
    value = row.get(SCORE, row.get(REALISED))
    return None if value is None else float(value)


def score_interval(row: Mapping[str, Any]) -> Interval | None:
    """The interval of score_of()."""
    name = SCORE if SCORE in row else REALISED
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return None if low is None or high is None else Interval(low, high)


def score_legend(rows: Iterable[Mapping[str, Any]]) -> str:
    """The line below a table that says which revenue its scores were computed with."""
    estimator = "expected" if any(row.get("estimator") == "expected" for row in rows) else "realised"
    return f"score: {estimator} revenue / budget; ROAS: realised revenue / cost"
