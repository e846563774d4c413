"""What a sweep will run: every trial with its whole configuration, checked before anything starts.

plan_sweep() binds a sweep file's names to the fields of a trial, tries every value that the file can produce, and
lays out the trials. It starts nothing and needs no Ray; an environment of the user's own is flown for a moment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gaelp_ray.config import GAELPExperimentConfig, nest
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.sweep.format.document import read_document
from gaelp_ray.sweep.format.interpolation import escaped
from gaelp_ray.sweep.format.load import parse, unused_keys
from gaelp_ray.sweep.format.overrides import overridden
from gaelp_ray.sweep.format.space import canonical, configurations
from gaelp_ray.sweep.format.spec import SweepSpec
from gaelp_ray.sweep.planning.binding import EITHER_WAY, LOWER_IS_BETTER, binding_problems, end_problems
from gaelp_ray.sweep.planning.own_env import env_problems
from gaelp_ray.worlds import World, world_of

__all__ = ["EITHER_WAY", "LOWER_IS_BETTER", "SweepPlan", "TrialPlan", "plan_sweep"]


@dataclass(frozen=True)
class TrialPlan:
    """One trial before it runs: a configuration and the seeds that it is flown on."""

    name: str
    params: Mapping[str, Any]  # sampled values; empty for the control arm
    config: GAELPExperimentConfig
    seeds: tuple[int, ...]
    is_default: bool = False
    further_of: str = ""  # the trial that flew the configuration's first seeds, if that was another one

    @property
    def first(self) -> str:
        """Name of the trial that flies the configuration's first seeds."""
        return self.further_of or self.name

    @cached_property
    def config_id(self) -> str:
        """Eight letters that only runs of the same configuration share, whatever their seeds are."""
        config = {name: value for name, value in self.config.to_dict().items() if name != "seed"}
        return hashlib.sha256(canonical(config).encode()).hexdigest()[:8]

    @property
    def env_steps(self) -> int:
        """Simulated hours that the trial will train for; 0 for an own environment, whose flights have any length."""
        if self.config.env:
            return 0
        return self.config.iterations * self.config.batch_size * HOURS * len(self.seeds)


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
        return {key: escaped(value) for key, value in written.items()}

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds that a configuration may be flown on; the first `spec.seeds.min` of them it is."""
        return tuple(seed_of(base_config(self.spec).seed, number) for number in range(self.spec.seeds.max))

    @property
    def goal(self) -> str:
        """`maximize` or `minimize`, W&B's default where the file says nothing."""
        return self.spec.metric.goal or "minimize"


def plan_sweep(path: Path, overrides: Mapping[str, Any] | None = None, settings: Sequence[str] = ()) -> SweepPlan:
    """Read and check a sweep file.

    Args:
        path: the sweep file.
        overrides: keys of its top level to replace (name, storage).
        settings: `key=value` each, as of `--set`; see overridden().

    Raises SweepFileError with every problem found, each with its line, column and remedy.
    """
    document = overridden(read_document(path), settings)
    if overrides:
        document = replace(document, data={**document.data, **overrides})
    spec, problems = parse(document)
    if spec:
        problems += list(binding_problems(spec)) + list(end_problems(spec) if not problems else ())
    if problems or spec is None:
        raise document.complain(problems)
    plan = SweepPlan(spec, tuple(_trials(spec)), tuple(unused_keys(document)))
    if problems := list(env_problems(spec, plan.market, (trial.config for trial in plan.trials))):
        raise document.complain(problems)
    return plan


def base_config(spec: SweepSpec) -> GAELPExperimentConfig:
    """The configuration of the control arm: the fixed fields, and defaults."""
    base = GAELPExperimentConfig(**nest({"seed": spec.seed, **spec.trial}))
    if base.market.endswith((".yaml", ".yml")):  # workers have another working directory
        base = base.replace({"market": str(Path(base.market).resolve())})
    return base


def seed_of(root: int, number: int) -> int:
    """Seed `number` of every configuration: the first is the sweep's own."""
    if number == 0:
        return root
    return int(np.random.SeedSequence([root, number]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _trials(spec: SweepSpec) -> Iterator[TrialPlan]:
    # Every configuration trains on the same flights and starts: differences between trials are their parameters'.
    base = base_config(spec)
    seeds = tuple(seed_of(base.seed, number) for number in range(spec.seeds.min))
    if spec.select.include_default:
        yield TrialPlan(f"{spec.name}-default", {}, base, seeds, is_default=True)
    sampled = configurations(spec)
    digits = max(2, len(str(len(sampled) - 1)))
    for number, params in enumerate(sampled):
        yield TrialPlan(f"{spec.name}-{number:0{digits}d}", params, base.replace(params), seeds)
