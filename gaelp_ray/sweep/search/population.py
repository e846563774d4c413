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

from gaelp_ray.config import GAELPExperimentConfig, nest
from gaelp_ray.errors import ConfigError
from gaelp_ray.sweep.format.distributions import Distribution

FACTORS = (0.8, 1.2)
"""A small change of a number, as in the paper."""


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
