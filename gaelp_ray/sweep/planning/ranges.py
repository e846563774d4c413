"""What a sweep draws of each parameter: its range, and how its values spread. Pure. Start at parameter_ranges()."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gaelp_ray.sweep.format.parameters import Leaf, leaves
from gaelp_ray.sweep.format.space import canonical, draw
from gaelp_ray.sweep.planning.plan import SweepPlan

PRIOR_DRAWS = 200
"""Draws that stand for a bayes search, whose own configurations depend on what the earlier ones earn."""

MOST_BINS = 20


@dataclass(frozen=True)
class ParameterRange:
    """The drawn values of one parameter: `bins` of numbers, `counts` of everything else, never both."""

    name: str
    distribution: str
    draws: int
    smallest: float | None  # drawn, not possible; None for values in no order
    largest: float | None
    log: bool  # whether the bins are equally wide in the logarithm
    bins: tuple[int, ...]  # draws in each bin from smallest to largest
    counts: tuple[tuple[Any, int], ...]  # (value, draws) in the order of the file, those never drawn included


def parameter_ranges(plan: SweepPlan) -> tuple[ParameterRange, ...]:
    """One for each parameter in the order of the file, over all configurations (method bayes: PRIOR_DRAWS draws)."""
    drawn = configurations_of(plan)
    return tuple(_range(leaf, [params[leaf.name] for params in drawn]) for leaf in leaves(plan.spec.parameters))


def configurations_of(plan: SweepPlan) -> list[Mapping[str, Any]]:
    """The sampled values of every configuration; of bayes, draws from the prior."""
    if plan.spec.method == "bayes":
        return [draw(plan.spec, number) for number in range(PRIOR_DRAWS)]
    return [trial.params for trial in plan.trials if not trial.is_default]


def _range(leaf: Leaf, drawn: Sequence[Any]) -> ParameterRange:
    prior = leaf.parameter.prior
    if prior.values:
        return ParameterRange(leaf.name, prior.kind, len(drawn), None, None, False, (), _counts(prior.values, drawn))
    low, high = min(drawn), max(drawn)
    log = "log_" in prior.kind and low > 0
    whole = all(isinstance(value, int) for value in drawn)
    bins = histogram(drawn, log, whole)
    return ParameterRange(leaf.name, prior.kind, len(drawn), low, high, log, bins, ())


def _counts(values: Sequence[Any], drawn: Sequence[Any]) -> tuple[tuple[Any, int], ...]:
    distinct = {canonical(value): value for value in values}
    number = dict.fromkeys(distinct, 0)
    for value in drawn:
        number[canonical(value)] += 1
    return tuple((value, number[text]) for text, value in distinct.items())


def histogram(drawn: Sequence[float], log: bool, whole: bool) -> tuple[int, ...]:
    """Draws in equal bins from the smallest to the largest, as many as Rice's rule asks for: 2 n^(1/3), at most 20.

    Whole numbers that lie close together have a bin each.
    """
    low, high = min(drawn), max(drawn)
    wanted = min(math.ceil(2 * round(len(drawn) ** (1 / 3), 9)), MOST_BINS)
    if whole and not log and high - low < MOST_BINS:
        edges: npt.NDArray[np.float64] = np.arange(low, high + 2) - 0.5
    elif low == high:
        return (len(drawn),)
    else:
        edges = (np.geomspace if log else np.linspace)(low, high, wanted + 1)
    # Rounding may move the outer edges past the values that they are made of.
    edges[0], edges[-1] = min(edges[0], low), max(edges[-1], high)
    return tuple(np.histogram(np.asarray(drawn, np.float64), edges)[0].tolist())
