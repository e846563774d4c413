"""The looks of a race at the differences of its arms, planned before it: how many episodes, and how sure.

The race itself is sweep/outcome/race.py; what it promises is said there. Start at pair_boundary().
"""

from __future__ import annotations

import math
from functools import lru_cache

from gaelp_ray.evidence.group_sequential import Boundary, critical_values, obrien_fleming

LEAST = 128
"""Common episodes below which no arm is dropped: for skewed episodes, the tests were tried from here on."""

SMALLEST_ROUND = 16

BOUNDS = 0.1
"""Share of the race's error for the bounds. They are rarely in question, and a small error widens intervals little."""

EVENLY = 0.3
"""Share of a pair's error that is spent evenly over all episodes that two arms could fly: on clear differences in the
first rounds, and on the episodes that dropped arms leave to others. The rest is spent on the episodes that every arm
flies if none is dropped, most of it on the last of them."""

GROWTH = 0.05
"""Each look comes at least this share of its episodes after the one before, so that long races have few looks."""


def race_error(confidence: float) -> float:
    """The error that a race may make: half of what the sweep allows; the play-off has the other half."""
    return (1.0 - confidence) / 2.0


def certain_episodes(budget: int, arms: int, step: int) -> int:
    """Episodes that each of `arms` arms flies if none is dropped: whole rounds of `step` and a smaller last one."""
    each = budget // arms
    cut = each % step
    return each - cut if cut < SMALLEST_ROUND else each


def pair_boundary(confidence: float, budget: int, arms: int, step: int) -> Boundary:
    """For the difference of every ordered pair of arms. budget: episodes of all arms. step: episodes of a round."""
    if arms < 2:
        return Boundary((), ())
    error = (1.0 - BOUNDS) * race_error(confidence) / 2.0
    return _boundary(error, certain_episodes(budget, arms, step), budget // 2, step)


@lru_cache(maxsize=32)
def _boundary(error: float, certain: int, most: int, step: int) -> Boundary:
    """certain: episodes of a pair if no arm is dropped. most: if all others are. step: episodes of a round."""
    looks = _planned_looks(certain, most, step)
    if not looks:
        return Boundary((), ())
    late, even = (1.0 - EVENLY) * error, EVENLY * error
    spent = [obrien_fleming(min(n / certain, 1.0), late) + even * n / looks[-1] for n in looks]
    return Boundary(looks, critical_values(looks, spent))


def _planned_looks(certain: int, most: int, step: int) -> tuple[int, ...]:
    """After whole rounds, and where a race ends that drops no arm, but for rounds that end very near to that."""
    looks, episodes = [certain], step
    while episodes <= most:
        if abs(episodes - certain) > GROWTH / 2.0 * certain:
            looks.append(episodes)
        episodes += step * math.ceil(max(GROWTH * episodes / step, 1.0))
    return tuple(sorted(n for n in looks if n >= LEAST))
