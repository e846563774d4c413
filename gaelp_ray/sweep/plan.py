"""What a sweep will run: every trial with its whole configuration, checked before anything starts.

plan_sweep() binds a sweep file's names to the fields of a trial, tries every value that the file can produce, and
lays out the trials. It starts nothing and needs no Ray; an environment of the user's own is flown for a moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gaelp_ray.agents import agent_types
from gaelp_ray.agents.registry import missing_extra
from gaelp_ray.config import FIELD_NAMES, RECORDED, SECTIONS, GAELPExperimentConfig, nest
from gaelp_ray.errors import ConfigError, MarketError, did_you_mean
from gaelp_ray.market import load_market
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.records import METRIC_NAMES, SAFETY
from gaelp_ray.sweep.constraints import constraint_problems
from gaelp_ray.sweep.document import Document, Problem, read_document
from gaelp_ray.sweep.load import parse, unused_keys
from gaelp_ray.sweep.own_env import env_problems
from gaelp_ray.sweep.space import configurations, levels
from gaelp_ray.sweep.spec import ParameterSpec, SweepSpec
from gaelp_ray.worlds import World, world_of

LOWER_IS_BETTER = frozenset({"cpa", "cpc", *SAFETY}) | frozenset(
    {"bids_above_cap", "shares_above_cap", "short_of_delivery", "hours_off_pace"}
)
EITHER_WAY = frozenset({"cost", "budget", "flights", "steps"})
"""Metrics that a sweep may take to either side; all others are returns, of which more is better."""


@dataclass(frozen=True)
class TrialPlan:
    """One trial before it runs."""

    name: str
    params: Mapping[str, Any]  # sampled values; empty for the control arm
    config: GAELPExperimentConfig
    is_default: bool = False

    @property
    def env_steps(self) -> int:
        """Simulated hours that the trial will train for; 0 for an own environment, whose flights have any length."""
        if self.config.env:
            return 0
        return self.config.iterations * self.config.batch_size * HOURS


@dataclass(frozen=True)
class SweepPlan:
    """A validated sweep: its file as an object, its trials in order, and what the file says in vain."""

    spec: SweepSpec
    trials: tuple[TrialPlan, ...]
    unused: tuple[str, ...] = ()

    @cached_property
    def market(self) -> World:
        """The market that every arm is judged in: that of the fixed trial fields."""
        return world_of(GAELPExperimentConfig(**nest(self.spec.trial)))

    def as_file(self) -> dict[str, Any]:
        """The sweep file as it runs, with every default written out."""
        written = self.spec.model_dump(mode="json", exclude_none=True)
        # Not exclude_none: `value: null` is a value.
        written["parameters"] = {
            name: parameter.model_dump(mode="json", exclude_unset=True)
            for name, parameter in self.spec.parameters.items()
        }
        return written

    @property
    def goal(self) -> str:
        """`maximize` or `minimize`, W&B's default where the file says nothing."""
        return self.spec.metric.goal or "minimize"


def plan_sweep(path: Path, overrides: Mapping[str, Any] | None = None) -> SweepPlan:
    """Read and check a sweep file; `overrides` replaces keys of its top level (name, storage).

    Raises SweepFileError with every problem found, each with its line, column and remedy.
    """
    document = read_document(path)
    if overrides:
        document = Document(document.where, {**document.data, **overrides}, document.marks)
    spec, problems = parse(document)
    if spec:
        problems += list(_problems(spec))
    if problems or spec is None:
        raise document.complain(problems)
    plan = SweepPlan(spec, tuple(_trials(spec)), tuple(unused_keys(document)))
    if problems := list(env_problems(spec, plan.market, (trial.config for trial in plan.trials))):
        raise document.complain(problems)
    return plan


def _trials(spec: SweepSpec) -> Iterator[TrialPlan]:
    # Every configuration trains on the same flights and starts: differences between trials are their parameters'.
    base = GAELPExperimentConfig(**nest({"seed": spec.seed, **spec.trial}))
    if base.market.endswith((".yaml", ".yml")):  # workers have another working directory
        base = base.replace({"market": str(Path(base.market).resolve())})
    if spec.select.include_default:
        yield TrialPlan(f"{spec.name}-default", {}, base, is_default=True)
    sampled = configurations(spec)
    digits = max(2, len(str(len(sampled) - 1)))
    for number, params in enumerate(sampled):
        yield TrialPlan(f"{spec.name}-{number:0{digits}d}", params, base.replace(params))


def _problems(spec: SweepSpec) -> Iterator[Problem]:
    yield from _metric_problems(spec)
    yield from _trial_problems(spec)
    for name, parameter in spec.parameters.items():
        yield from _parameter_problems(name, parameter, spec)
    yield from constraint_problems(spec.select.constraints, spec.select.min_delivery)
    if "://" in spec.storage:
        yield Problem(("storage",), f"{spec.storage!r}: only local folders for now, such as ./results")


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


def _parameter_problems(name: str, parameter: ParameterSpec, spec: SweepSpec) -> Iterator[Problem]:
    here = ("parameters", name)
    if name in ("market", "env", "seed", *RECORDED):
        yield Problem(here, f"every trial of a sweep has the same {name}: put it under `trial`")
        return
    if name not in FIELD_NAMES:
        yield Problem(here, f"unknown parameter. {did_you_mean(name, FIELD_NAMES)}")
        return
    if spec.method == "grid":
        try:
            levels(parameter)
        except ValueError as error:
            yield Problem(here, str(error))
            return
    for key, value in _extremes(parameter):
        yield from _value_problems((*here, *key), {name: value})


def _extremes(parameter: ParameterSpec) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Where and what: values that together stand for everything the parameter can produce."""
    if parameter.kind == "constant":
        yield ("value",), parameter.value
    elif parameter.kind == "categorical":
        for number, value in enumerate(parameter.values or ()):
            yield ("values", number), value
    else:
        as_drawn = int if parameter.kind == "int_uniform" else float
        low, high = parameter.bounds
        yield ("min",), as_drawn(low)
        yield ("max",), as_drawn(high)


def _agent_problems(path: tuple[str | int, ...], name: str) -> Iterator[Problem]:
    if name not in agent_types():
        yield Problem(path, f"unknown agent {name!r}. {did_you_mean(name, agent_types())}")
    elif missing := missing_extra(name):
        yield Problem(path, missing)


def _value_problems(path: tuple[str | int, ...], values: Mapping[str, Any]) -> Iterator[Problem]:
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
