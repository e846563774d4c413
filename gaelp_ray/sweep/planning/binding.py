"""Whether a sweep file that is well-formed can be run here: its names are fields, and every value can be flown.

Start at binding_problems(). Nothing is drawn: the ends of a distribution stand for all of its values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from gaelp_ray.agents import agent_types
from gaelp_ray.agents.registry import missing_extra
from gaelp_ray.config import FIELD_NAMES, RECORDED, SECTIONS, GAELPExperimentConfig, nest
from gaelp_ray.errors import ConfigError, MarketError, StorageError, did_you_mean
from gaelp_ray.market import load_market
from gaelp_ray.records import METRIC_NAMES, SAFETY
from gaelp_ray.sweep.format.distributions import Distribution
from gaelp_ray.sweep.format.document import KeyPath, Problem
from gaelp_ray.sweep.format.parameters import Leaf, ParameterSpec, leaves
from gaelp_ray.sweep.format.space import endless
from gaelp_ray.sweep.format.spec import SweepSpec
from gaelp_ray.sweep.planning.constraints import OF_GATE, constraint_problems
from gaelp_ray.sweep.remote.address import Address, is_remote

LOWER_IS_BETTER = frozenset({"cpa", "cpc", *SAFETY}) | frozenset(
    {"bids_above_cap", "shares_above_cap", "short_of_delivery", "hours_off_pace"}
)
EITHER_WAY = frozenset({"cost", "budget", "flights", "steps"})
"""Metrics that a sweep may take to either side; all others are returns, of which more is better."""

FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def binding_problems(spec: SweepSpec) -> Iterator[Problem]:
    """Everything that keeps a sweep from running here, except what only flying an own environment shows."""
    if not FOLDER.fullmatch(spec.name):
        wanted = "letters, digits, dot, dash and underscore"
        yield Problem(("name",), f"{spec.name!r} names a folder: use {wanted}, or give another name with --name")
    yield from _metric_problems(spec)
    if spec.sampler == "gp" and not find_spec("torch"):
        yield Problem(("sampler",), "gp needs torch: pip install torch, or write `sampler: tpe`")
    yield from _trial_problems(spec)
    names: dict[str, KeyPath] = {}
    for leaf in leaves(spec.parameters):
        if leaf.name in names:
            first = ".".join(map(str, names[leaf.name]))
            yield Problem(leaf.path, f"this is {leaf.name} again, which stands at {first}: keep one")
        names[leaf.name] = leaf.path
        yield from _parameter_problems(leaf)
    yield from constraint_problems(spec.select.constraints, spec.select.min_delivery)
    if spec.publish.gate:
        yield from constraint_problems(spec.publish.gate.constraints, spec.select.min_delivery, OF_GATE)
    if is_remote(spec.storage):
        try:
            Address.parse(spec.storage)
        except StorageError as error:
            yield Problem(("storage",), str(error))


def end_problems(spec: SweepSpec) -> Iterator[Problem]:
    """A sweep that would never end; asked of a file without other problems, whose grid can be counted."""
    if problem := endless(spec):
        yield Problem((), problem)


def _metric_problems(spec: SweepSpec) -> Iterator[Problem]:
    name, goal = spec.metric.name, spec.metric.goal
    if name not in METRIC_NAMES:
        yield Problem(("metric", "name"), f"unknown metric {name!r}. {did_you_mean(name, METRIC_NAMES)}")
    elif name in LOWER_IS_BETTER and goal == "maximize":
        yield Problem(("metric", "goal"), f"maximize: that would select the worst {name}. Write `goal: minimize`")
    elif name not in LOWER_IS_BETTER | EITHER_WAY and goal != "maximize":
        why = "minimize" if goal else "no goal, and W&B's default is minimize"
        yield Problem(("metric", "goal"), f"{why}: that would select the worst {name}. Write `goal: maximize`")


def _trial_problems(spec: SweepSpec) -> Iterator[Problem]:
    known = [*FIELD_NAMES, *RECORDED, *SECTIONS]
    for key in spec.trial:
        if key not in known:
            yield Problem(("trial", key), f"unknown field. {did_you_mean(key, known)}")
        else:
            yield from _value_problems(("trial", key), {key: spec.trial[key]})


def _parameter_problems(leaf: Leaf) -> Iterator[Problem]:
    if leaf.name in ("market", "env", "seed", *RECORDED):
        yield Problem(leaf.path, f"every trial of a sweep has the same {leaf.name}: put it under `trial`")
    elif leaf.name not in FIELD_NAMES:
        yield Problem(leaf.path, f"unknown parameter. {did_you_mean(leaf.name, FIELD_NAMES)}")
    elif leaf.parameter.kind in ("constant", "categorical", "categorical_w_probabilities"):
        for key, value in _listed(leaf.parameter):
            yield from _value_problems((*leaf.path, *key), {leaf.name: value})
    else:
        yield from _range_problems(leaf)


def _listed(parameter: ParameterSpec) -> Iterator[tuple[KeyPath, Any]]:
    """Where and what: every value of a list."""
    if parameter.values is None:
        yield ("value",), parameter.value
    for number, value in enumerate(parameter.values or ()):
        yield ("values", number), value


def _range_problems(leaf: Leaf) -> Iterator[Problem]:
    """Whether a field allows what a distribution can produce, from end to end.

    A distribution without an end, such as normal, needs a field without a bound on that side.
    """
    prior = leaf.parameter.prior
    for place, side, end in zip(_places(leaf), ("smallest", "largest"), _ends(prior), strict=True):
        if math.isfinite(end):
            yield from _value_problems(place, {leaf.name: end})
            continue
        whole = isinstance(prior.from_unit(0.5), int)
        beyond = int(math.copysign(2**62, end)) if whole else math.copysign(1e300, end)
        for problem in _value_problems(place, {leaf.name: beyond}):
            rule = problem.message.partition(" ")[2]  # without the value, which nobody has written
            text = f"{prior.kind} has no {side} value, and {leaf.name} {rule}: use a distribution with min and max"
            yield Problem(place, text)


def _ends(prior: Distribution) -> tuple[float, float]:
    """The smallest and largest value; a beta's and a log_normal's open ends are never reached."""
    smallest, largest = prior.support()
    if prior.kind == "beta":
        return prior.from_unit(0.0), prior.from_unit(1.0)
    return (prior.from_unit(0.0), largest) if prior.kind == "log_normal" else (smallest, largest)


def _places(leaf: Leaf) -> tuple[KeyPath, KeyPath]:
    """The keys that decide the smallest and the largest value."""
    if leaf.parameter.min is None:
        return (*leaf.path, "distribution"), (*leaf.path, "distribution")
    low, high = (*leaf.path, "min"), (*leaf.path, "max")
    return (high, low) if leaf.parameter.kind == "inv_log_uniform" else (low, high)


def _agent_problems(path: KeyPath, name: str) -> Iterator[Problem]:
    if name not in agent_types():
        yield Problem(path, f"unknown agent {name!r}. {did_you_mean(name, agent_types())}")
    elif missing := missing_extra(name):
        yield Problem(path, missing)


def _value_problems(path: KeyPath, values: Mapping[str, Any]) -> Iterator[Problem]:
    """Whether a trial could be made with these values on top of the defaults."""
    (name,) = values
    try:
        config = GAELPExperimentConfig(**nest(values))
    except ConfigError as error:
        for field, text in error.problems:
            inner = field.removeprefix(name).lstrip(".")
            yield Problem((*path, *inner.split(".")) if inner else path, text)
        return
    if "agent_type" in values:
        yield from _agent_problems(path, config.agent_type)
    if "market" in values:
        try:
            load_market(config.market)
        except MarketError as error:
            for line in str(error).splitlines():
                yield Problem(path, line)
