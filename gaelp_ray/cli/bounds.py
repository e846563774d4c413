"""Bounds on metrics as options of a command: `--fail-under roas=4.5`, `--fail-above cpa=30`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from gaelp_ray.errors import InputError, did_you_mean
from gaelp_ray.records import RATIOS
from gaelp_ray.sweep.planning.binding import LOWER_IS_BETTER
from gaelp_ray.sweep.planning.constraints import Constraint

FailUnder = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="Exit with 1 if this metric, of which more is better (roas=4.5), is lower in any market. The pooled value "
        "decides, not an end of its interval. May be repeated.",
    ),
]
FailAbove = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="The same for what is better when it is lower: cpa=30, cpc=1.2."),
]
SIDES = {"min": "--fail-under", "max": "--fail-above"}


def read_bounds(under: Sequence[str], above: Sequence[str]) -> tuple[Constraint, ...]:
    """The bounds of a command line. Raises InputError for a name, a number or a side that is wrong, one line each."""
    written = [("min", word) for word in under] + [("max", word) for word in above]
    problems = [problem for side, word in written for problem in _problems(side, word)]
    if problems:
        raise InputError("\n".join(problems))
    split = [(side, *word.partition("=")[::2]) for side, word in written]
    return tuple(Constraint(side, name.strip(), float(value)) for side, name, value in split)


def _problems(side: str, word: str) -> Iterator[str]:
    name, _, value = word.partition("=")
    name, said = name.strip(), f"{SIDES[side]} {word}"
    right = "max" if name in LOWER_IS_BETTER else "min"
    if name not in RATIOS:
        yield f"{said}: unknown metric {name!r}. {did_you_mean(name, RATIOS)}"
    elif not _is_number(value):
        yield f"{said}: {value!r} is no number: write {name}=VALUE"
    elif right != side:
        yield f"{said}: of {name}, {'less' if right == 'max' else 'more'} is better: write {SIDES[right]} {word}"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
