"""Whether a sweep file that is well-formed can be run here: its names are fields, and every value can be flown.

Start at binding_problems(). Nothing is drawn: the ends of a distribution stand for all of its values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from gaelp_ray.agents import agent_types
from gaelp_ray.agents.registry import missing_extra
from gaelp_ray.config import FIELD_NAMES, RECORDED, SECTIONS, GAELPExperimentConfig, nest
from gaelp_ray.errors import ConfigError, MarketError, StorageError, closest, did_you_mean
from gaelp_ray.market import load_market
from gaelp_ray.records import METRIC_NAMES, SAFETY
from gaelp_ray.sweep.format.distributions import Distribution
from gaelp_ray.sweep.format.document import KeyPath, Problem
from gaelp_ray.sweep.format.load import Parsed
from gaelp_ray.sweep.format.parameters import Leaf, ParameterSpec, leaves
from gaelp_ray.sweep.format.space import endless
from gaelp_ray.sweep.format.spec import SweepSpec
from gaelp_ray.sweep.format.words import LISTING
from gaelp_ray.sweep.planning.constraints import OF_GATE, constraint_problems
from gaelp_ray.sweep.planning.names import Fields
from gaelp_ray.sweep.remote.address import Address, is_remote

LOWER_IS_BETTER = frozenset({"cpa", "cpc", *SAFETY}) | frozenset(
    {"bids_above_cap", "shares_above_cap", "short_of_delivery", "hours_off_pace"}
)
EITHER_WAY = frozenset({"cost", "budget", "flights", "steps"})
"""Metrics that a sweep may take to either side; all others are returns, of which more is better."""

FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def binding_problems(parsed: Parsed) -> Iterator[Problem]:
    """Names and values that no trial can have here, and other things that keep a sweep from running.

    Values that have problems of format are left out, and cause no further ones.
    """
    spec, fields = parsed.spec, Fields.of(parsed.spec)
    if not FOLDER.fullmatch(spec.name):
        wanted = "letters, digits, dot, dash and underscore"
        yield Problem(("name",), f"{spec.name!r} names a folder: use {wanted}, or give another name with --name")
    yield from _metric_problems(parsed)
    if spec.sampler == "gp" and not find_spec("torch"):
        yield Problem(("sampler",), "gp needs torch: pip install torch, or write `sampler: tpe`")
    yield from _trial_problems(spec, fields)
    names: dict[str, KeyPath] = {}
    for leaf in leaves(spec.parameters):
        if leaf.name in names:
            first = ".".join(map(str, names[leaf.name]))
            yield Problem(leaf.path, f"this is {leaf.name} again, which stands at {first}: keep one")
        names[leaf.name] = leaf.path
        yield from _parameter_problems(leaf, fields)
    yield from _wrong_names(parsed, fields)
    delivery = 0.0 if parsed.is_wrong("select", "min_delivery") else spec.select.min_delivery
    yield from constraint_problems(spec.select.constraints, delivery)
    if spec.publish.gate:
        yield from constraint_problems(spec.publish.gate.constraints, delivery, OF_GATE)
    if is_remote(spec.storage):
        try:
            Address.parse(spec.storage)
        except StorageError as error:
            yield Problem(("storage",), str(error))


def _wrong_names(parsed: Parsed, fields: Fields) -> Iterator[Problem]:
    """Names that are no fields, of parameters whose values have problems of format."""
    for path, name in parsed.wrong_parameters().items():
        if name not in FIELD_NAMES and name not in SECTIONS:
            yield Problem(path, f"unknown parameter. {fields.hint(name)}")


def end_problems(parsed: Parsed) -> Iterator[Problem]:
    """A sweep that would never end. Of a grid whose parameters have problems, the size is not known."""
    spec = parsed.spec
    unknown = ["run_cap", "method", *(["parameters"] if spec.method == "grid" else [])]
    if not any(parsed.is_wrong(key) for key in unknown) and (problem := endless(spec)):
        yield Problem(("run_cap",), problem)


def _metric_problems(parsed: Parsed) -> Iterator[Problem]:
    written, goal = parsed.spec.metric.name, parsed.spec.metric.goal
    name = closest(written, METRIC_NAMES)
    if written not in METRIC_NAMES:
        yield Problem(("metric", "name"), f"unknown metric {written!r}. {did_you_mean(written, METRIC_NAMES, LISTING)}")
    if name is None or parsed.is_wrong("metric", "goal"):
        return
    if name in LOWER_IS_BETTER and goal == "maximize":
        yield Problem(("metric", "goal"), f"maximize: that would select the worst {name}. Write `goal: minimize`")
    elif name not in LOWER_IS_BETTER | EITHER_WAY and goal != "maximize":
        why = "minimize" if goal else "no goal, and W&B's default is minimize"
        yield Problem(("metric", "goal"), f"{why}: that would select the worst {name}. Write `goal: maximize`")


def _trial_problems(spec: SweepSpec, fields: Fields) -> Iterator[Problem]:
    known = [*FIELD_NAMES, *RECORDED, *SECTIONS]
    problems: list[Problem] = []
    for key in spec.trial:
        if key in known:
            problems += _value_problems(("trial", key), {key: spec.trial[key]})
        else:
            problems.append(Problem(("trial", key), f"unknown field. {fields.hint(key)}"))
            if len(likely := fields.meant(key)) == 1:
                problems += _taken_for(likely[0], _value_problems(("trial", key), {likely[0]: spec.trial[key]}))
    yield from problems
    if not problems:
        try:
            GAELPExperimentConfig(**nest(spec.trial))
        except ConfigError as error:
            for field, text in error.problems:
                yield Problem(("trial", *([field] if field in spec.trial else field.split("."))), text)


def _parameter_problems(leaf: Leaf, fields: Fields) -> Iterator[Problem]:
    if leaf.name in ("market", "env", "seed", *RECORDED):
        yield Problem(leaf.path, f"every trial of a sweep has the same {leaf.name}: put it under `trial`")
    elif leaf.name in FIELD_NAMES:
        yield from _leaf_problems(leaf)
    else:
        yield Problem(leaf.path, f"unknown parameter. {fields.hint(leaf.name)}")
        if len(likely := fields.meant(leaf.name)) == 1:
            yield from _taken_for(likely[0], _leaf_problems(replace(leaf, names=tuple(likely[0].split(".")))))


def _taken_for(field: str, problems: Iterator[Problem]) -> Iterator[Problem]:
    """Problems of the values of an unknown name, had it been the field that it most likely stands for."""
    for problem in problems:
        yield replace(problem, message=f"{problem.message} (as {field})")


def _leaf_problems(leaf: Leaf) -> Iterator[Problem]:
    if leaf.parameter.kind in ("constant", "categorical", "categorical_w_probabilities"):
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
        yield Problem(path, f"unknown agent {name!r}. {did_you_mean(name, agent_types(), 'gaelp-ray fields')}")
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
