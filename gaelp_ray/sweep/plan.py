"""What a sweep will run: every trial with its whole configuration, checked before anything starts.

plan_sweep() binds a sweep file's names to the fields of a trial, tries every value that the file can produce, and
lays out the trials. It starts nothing and needs no Ray; an environment of the user's own is flown for a moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from gaelp_ray.config import GAELPExperimentConfig, nest
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.sweep.binding import EITHER_WAY, LOWER_IS_BETTER, binding_problems, end_problems
from gaelp_ray.sweep.document import read_document
from gaelp_ray.sweep.interpolation import escaped
from gaelp_ray.sweep.load import parse, unused_keys
from gaelp_ray.sweep.overrides import overridden
from gaelp_ray.sweep.own_env import env_problems
from gaelp_ray.sweep.space import configurations
from gaelp_ray.sweep.spec import SweepSpec
from gaelp_ray.worlds import World, world_of

__all__ = ["EITHER_WAY", "LOWER_IS_BETTER", "SweepPlan", "TrialPlan", "plan_sweep"]


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
        return {key: escaped(value) for key, value in written.items()}

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
