"""Intervals as lines of text."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gaelp_ray.records import Interval

DRAWN = 25
"""Characters of a drawn interval."""


def drawn(value: float, interval: Interval, scale: tuple[float, float], mark: float | None = None) -> str:
    """An interval on a scale that others share, such as `   ├──●──┤  `; `mark` is a place on it that is shown as `┊`.

    Empty where the scale is, or nothing was measured.
    """
    if not scale[0] < scale[1] or math.isnan(value + interval.low + interval.high):
        return ""
    start, middle, end = (_place(x, scale) for x in (interval.low, value, interval.high))
    line = [" "] * DRAWN
    line[start : end + 1] = ["─"] * (end - start + 1)
    line[start], line[end] = "├", "┤"
    if mark is not None:
        line[_place(mark, scale)] = "┊"
    line[middle] = "●"
    return "".join(line).rstrip()


def scale_of(intervals: Iterable[Interval], *more: float) -> tuple[float, float]:
    """The ends of a scale that holds all of these intervals, and `more` places; those that are NaN do not count."""
    ends = [end for interval in intervals for end in (interval.low, interval.high) if not math.isnan(end)]
    return min([*ends, *more], default=0.0), max([*ends, *more], default=0.0)


def _place(value: float, scale: tuple[float, float]) -> int:
    low, high = scale
    return round(min(max((value - low) / (high - low), 0.0), 1.0) * (DRAWN - 1))
