"""Population-based training on our configurations: what may change during a training, how, and who copied whom.

Pure: no Ray here; exchange.py holds Tune's classes. A trial that takes over another one's checkpoint takes over all
of its parameters, since the shapes of its networks may depend on them; then the mutable ones are changed. The method
is that of Jaderberg et al. (2017). Start at offspring().
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gaelp_ray.config import FIELD_NAMES, GAELPExperimentConfig, nest
from gaelp_ray.errors import ConfigError, SweepFileError, did_you_mean
from gaelp_ray.sweep.format.blocks import Population
from gaelp_ray.sweep.format.distributions import Distribution
from gaelp_ray.sweep.format.parameters import leaves
from gaelp_ray.sweep.format.spec import SweepSpec

FACTORS = (0.8, 1.2)
"""A small change of a number, as in the paper."""

_WORLD = "is the world that all trials are compared in"
_SHAPE = "decides the shape of what a checkpoint holds"
_PLAN = "lays out the training from its start"
_ONCE = "is read at the start only, and then learned"

_FIXED = {
    "agent_type": "decides what a checkpoint holds",
    "reward_function": "gives what was learned another meaning",
    **dict.fromkeys(("env", "market", "departures", "heterogeneity", "auction"), _WORLD),
    **dict.fromkeys(("conversion_delay", "fatigue_half_life"), _WORLD),
    **dict.fromkeys(("seed", "batch_size", "num_episodes"), _PLAN),
    **dict.fromkeys(("ppo.correction", "cem.population", "sb3.buffer_size", "ppo.averaging"), _SHAPE),
    **dict.fromkeys(("ppo.initial_std", "cem.initial_std", "sb3.initial_std", "sb3.initial_temperature"), _ONCE),
    **dict.fromkeys((name for name in FIELD_NAMES if name.endswith((".reference", ".hidden_size"))), _SHAPE),
}


def fixed(name: str) -> str:
    """Why a field may not change during a training; empty if it may."""
    return _FIXED.get(name, "")


def mutable(spec: SweepSpec) -> dict[str, Distribution]:
    """The parameters that population-based training changes, dotted, in the order of the file.

    Those of `hyperparam_mutations`; without it, all swept parameters that may change during a training.
    Raises SweepFileError for one that may not, and if there is none.
    """
    asked = spec.scheduler.hyperparam_mutations if isinstance(spec.scheduler, Population) else None
    if asked is None:
        swept = {leaf.name: leaf.parameter.prior for leaf in leaves(spec.parameters)}
        found = {name: prior for name, prior in swept.items() if not fixed(name) and prior.kind != "constant"}
        if not found:
            why = "; ".join(f"{name} {fixed(name) or 'is constant'}" for name in swept)
            raise SweepFileError([f"scheduler: nothing that may change during a training is swept: {why}"])
        return found
    named = {leaf.name: leaf.parameter.prior for leaf in leaves(asked)}
    if problems := [_refusal(name) for name in named if fixed(name) or name not in FIELD_NAMES]:
        raise SweepFileError(problems)
    return named


def _refusal(name: str) -> str:
    place = f"scheduler.hyperparam_mutations.{name}"
    if name not in FIELD_NAMES:
        return f"{place}: unknown parameter. {did_you_mean(name, FIELD_NAMES)}"
    return f"{place}: {name} {fixed(name)}, and cannot change during a training: leave it out"


def mutated(value: Any, prior: Distribution, rng: np.random.Generator, resample_probability: float) -> Any:
    """A new draw with the given probability; else a number times 0.8 or 1.2, or a neighbour in a list.

    It stays within what `prior` can draw; a whole number stays whole and moves by 1 at least. A value that has no
    neighbours (null, 0, none of the list's) is drawn anew.
    """
    if rng.random() < resample_probability:
        return prior.draw(rng)
    if prior.values:
        return _neighbour(value, prior.values, rng) if value in prior.values else prior.draw(rng)
    return scaled(value, prior, float(rng.choice(FACTORS))) if value else prior.draw(rng)


def _neighbour(value: Any, values: Sequence[Any], rng: np.random.Generator) -> Any:
    place = values.index(value) + int(rng.choice((-1, 1)))
    return values[min(max(place, 0), len(values) - 1)]


def scaled(value: float, prior: Distribution, factor: float) -> float:
    """A number times a factor, settled; one on a grid moves by a step at least, unless it is at an end."""
    new, step = settled(value * factor, prior), _step(prior)
    if step and new == value:
        new = settled(value + (step if value * factor > value else -step), prior)
    return new


def settled(value: float, prior: Distribution) -> float:
    """The number that is nearest to `value` among those that a distribution can draw."""
    smallest, largest = prior.support()
    step = _step(prior)
    on_grid = round(value / step) * step if step else value
    return min(max(on_grid, smallest), largest)


def _step(prior: Distribution) -> float:
    """What all values are multiples of; 0 for a continuous distribution."""
    if prior.kind.startswith("q_"):
        return prior.q
    return 1 if prior.kind == "int_uniform" else 0


@dataclass(frozen=True)
class Mutations:
    """What may change, and how often it is drawn anew."""

    priors: Mapping[str, Distribution]
    resample_probability: float


def offspring(
    trial: Mapping[str, Any], source: Mapping[str, Any], mutations: Mutations, rng: np.random.Generator
) -> dict[str, Any]:
    """The planned trial that goes on from `source`'s checkpoint: itself, with the source's parameters, changed."""
    values = {
        name: mutated(value_of(source["config"], name), mutations.priors[name], rng, mutations.resample_probability)
        for name in mutations.priors
    }
    return adopted(trial, source, values)


def adopted(trial: Mapping[str, Any], source: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A planned trial with the parameters of another one, and `values` on top.

    Its name and its seeds stay. A value that no configuration may have is left as the source has it.
    """
    config = {**copy.deepcopy(dict(source["config"])), "seed": trial["config"]["seed"]}
    params = copy.deepcopy(dict(source["params"]))
    for name, value in values.items():
        changed = nest({name: value}, into=config)
        if _is_valid(changed):
            config, params[name] = changed, value
    return {**trial, "params": params, "config": config}


def _is_valid(config: Mapping[str, Any]) -> bool:
    try:
        GAELPExperimentConfig(**config)
    except ConfigError:
        return False
    return True


def value_of(config: Mapping[str, Any], name: str) -> Any:
    """The value of a dotted field in a nested configuration."""
    value: Any = config
    for part in name.split("."):
        value = value[part]
    return value


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs between the parameters of two planned trials, as (before, after)."""
    names = dict.fromkeys([*before["params"], *after["params"]])
    pairs = {name: (value_of(before["config"], name), value_of(after["config"], name)) for name in names}
    return {name: (old, new) for name, (old, new) in pairs.items() if old != new}
