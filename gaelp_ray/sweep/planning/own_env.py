"""What is wrong with a sweep over an environment of the user's own: the environment, or an agent that cannot fly it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gaelp_ray.agents.registry import policy_problems
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.errors import OwnEnvError
from gaelp_ray.simulator.own import OwnEnv
from gaelp_ray.simulator.tryout import try_out
from gaelp_ray.sweep.format.document import KeyPath, Problem
from gaelp_ray.sweep.format.parameters import leaves
from gaelp_ray.sweep.format.spec import SweepSpec
from gaelp_ray.worlds import World


def env_problems(spec: SweepSpec, world: World, configs: Iterable[GAELPExperimentConfig]) -> Iterator[Problem]:
    """Problems of an own environment, which is flown here, and of the planned trials in it; none for a market."""
    if not isinstance(world, OwnEnv):
        return
    try:
        try_out(world)
    except OwnEnvError as error:
        yield Problem(("trial", "env"), str(error))
    wrong = ((config, field, text) for config in configs for field, text in policy_problems(config))
    yield from dict.fromkeys(_problem(spec, *found) for found in wrong)


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
    return Problem(("trial", "env"), f"{field}: {text}")
