"""What is wrong with a sweep over an environment of the user's own: the environment, or an agent that cannot fly it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from gaelp_ray.agents import agent_types
from gaelp_ray.agents.registry import policy_problems
from gaelp_ray.config import GAELPExperimentConfig, nest
from gaelp_ray.errors import ConfigError, OwnEnvError
from gaelp_ray.simulator.own import OwnEnv
from gaelp_ray.simulator.tryout import try_out
from gaelp_ray.sweep.format.document import KeyPath, Problem
from gaelp_ray.sweep.format.parameters import leaves
from gaelp_ray.sweep.format.spec import SweepSpec
from gaelp_ray.worlds import World, world_of

AT_ENV = ("trial", "env")
DECIDING = ("agent_type", "ppo.reference", "sb3.reference")
"""Fields that decide whether an agent can fly an environment that is no market."""


def env_problems(spec: SweepSpec) -> Iterator[Problem]:
    """Problems of an own environment and of the agents in it that show without flying; none for a market."""
    if spec.trial.get("env") is None:
        return
    try:
        world = world_of(GAELPExperimentConfig(env=spec.trial["env"]))
        if isinstance(world, OwnEnv):
            _ = world.make
    except OwnEnvError as error:
        yield Problem(AT_ENV, str(error))
    except ConfigError:  # a problem of the field itself
        return
    wrong = ((config, field, text) for config in _agents(spec) for field, text in policy_problems(config))
    yield from dict.fromkeys(_problem(spec, *found) for found in wrong)


def flight_problems(world: World) -> Iterator[Problem]:
    """Problems of an own environment that show when it is flown, for a moment; none for a market."""
    if isinstance(world, OwnEnv):
        try:
            try_out(world)
        except OwnEnvError as error:
            yield Problem(AT_ENV, str(error))


def _agents(spec: SweepSpec) -> Iterator[GAELPExperimentConfig]:
    """Every agent that the file can choose, known ones only."""
    fixed = {name: value for name in DECIDING if (value := _fixed(spec.trial, name)) is not None}
    swept = {leaf.name: leaf.parameter for leaf in leaves(spec.parameters) if leaf.name in DECIDING}
    lists = [parameter.values or (parameter.value,) for parameter in swept.values()]
    choices: list[Mapping[str, Any]] = [dict(zip(swept, chosen, strict=True)) for chosen in itertools.product(*lists)]
    for chosen in [*([{}] if spec.select.include_default else []), *choices]:
        try:
            config = GAELPExperimentConfig(**nest({"env": spec.trial["env"], **fixed, **chosen}))
        except ConfigError:  # a problem of the value itself
            continue
        if config.agent_type in agent_types():
            yield config


def _fixed(trial: Mapping[str, Any], name: str) -> Any:
    """A fixed field, whether it is written dotted or in its section."""
    section, _, key = name.partition(".")
    inner = trial.get(section)
    return trial.get(name, inner.get(key) if key and isinstance(inner, Mapping) else None)


def _problem(spec: SweepSpec, config: GAELPExperimentConfig, field: str, text: str) -> Problem:
    """At the value that the file gives the field; where the field is left at its default, at the environment."""
    section, _, key = field.partition(".")
    value = getattr(getattr(config, section), key) if key else getattr(config, section)
    swept = next((leaf for leaf in leaves(spec.parameters) if leaf.name == field), None)
    if swept and value in (values := swept.parameter.values or (swept.parameter.value,)):
        here: KeyPath = swept.path
        return Problem((*here, "values", values.index(value)) if swept.parameter.values else here, text)
    if field in spec.trial:
        return Problem(("trial", field), text)
    if key and key in (spec.trial.get(section) or {}):
        return Problem(("trial", section, key), text)
    return Problem(AT_ENV, f"{field}: {text}")
