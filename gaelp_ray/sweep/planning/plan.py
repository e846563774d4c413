"""What a sweep will run: every trial with its whole configuration, checked before anything starts.

plan_sweep() binds a sweep file's names to the fields of a trial, tries every value that the file can produce, and
lays out the trials. It starts nothing and needs no Ray; an environment of the user's own is flown for a moment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gaelp_ray.config import GAELPExperimentConfig, nest
from gaelp_ray.errors import ConfigError
from gaelp_ray.market import Market
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.market.market import is_market_file
from gaelp_ray.sweep.format.document import Problem, scan_document
from gaelp_ray.sweep.format.interpolation import escaped
from gaelp_ray.sweep.format.load import Parsed, parse, unused_keys
from gaelp_ray.sweep.format.overrides import overridden
from gaelp_ray.sweep.format.parameters import leaves
from gaelp_ray.sweep.format.space import canonical, configurations
from gaelp_ray.sweep.format.spec import SweepSpec
from gaelp_ray.sweep.planning.binding import EITHER_WAY, LOWER_IS_BETTER, binding_problems, end_problems
from gaelp_ray.sweep.planning.markets import market_problems, other_markets
from gaelp_ray.sweep.planning.own_env import env_problems, flight_problems
from gaelp_ray.sweep.planning.scheduling import scheduler_problems
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
        """Eight letters that only runs of the same configuration share, whatever their seeds are.

        Of a market file the name counts, not the folder: a sweep may be moved.
        """
        config = {name: value for name, value in self.config.to_dict().items() if name != "seed"}
        if is_market_file(config["market"]):
            config["market"] = Path(config["market"]).name
        return hashlib.sha256(canonical(config).encode()).hexdigest()[:8]

    @property
    def env_steps(self) -> int:
        """Simulated hours that the trial will train for; 0 for an own environment, whose flights have any length."""
        if self.config.env:
            return 0
        return self.config.iterations * self.config.batch_size * HOURS * len(self.seeds)


@dataclass(frozen=True)
class SweepPlan:
    """A validated sweep: its file as an object, its trials in order, and what the file says in vain.

    `other_markets` are those of `select.markets` as they were when it was planned, by the names that they have there.
    """

    spec: SweepSpec
    trials: tuple[TrialPlan, ...]
    unused: tuple[str, ...] = ()
    other_markets: Mapping[str, Market] = field(default_factory=dict)

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


def plan_sweep(
    path: Path,
    overrides: Mapping[str, Any] | None = None,
    settings: Sequence[str] = (),
    known: Sequence[Mapping[str, Any]] = (),
    copies: Mapping[str, Path] | None = None,
) -> SweepPlan:
    """Read and check a sweep file.

    Args:
        path: the sweep file.
        overrides: keys of its top level to replace (name, storage).
        settings: `key=value` each, as of `--set`; see overridden().
        known: plans of trials that the sweep has begun already, as a journal holds them: they stay as they are.
        copies: read in place of the market files of `select.markets`, by how they are written there.

    Raises SweepFileError with every problem found, each with its line, column and remedy.
    """
    document = overridden(scan_document(path), settings)
    for key, value in (overrides or {}).items():
        document = document.with_value((key,), value)
    parsed = parse(document)
    if problems := [*parsed.problems, *_problems(parsed, copies or {})]:
        raise parsed.document.complain(problems)
    spec = parsed.spec
    try:
        trials = tuple(_trials(spec, known))
    except ConfigError as error:  # values that are valid each, and not together
        raise document.complain(_drawn_problem(spec, *problem) for problem in error.problems) from None
    plan = SweepPlan(spec, trials, tuple(unused_keys(document)), other_markets(spec, copies or {}))
    if problems := list(flight_problems(plan.market)):
        raise document.complain(problems)
    return plan


def _problems(parsed: Parsed, copies: Mapping[str, Path]) -> Iterator[Problem]:
    """Everything that is wrong with the meaning of a file's valid part, except what only flying shows."""
    yield from binding_problems(parsed)
    yield from scheduler_problems(parsed)
    yield from market_problems(parsed, copies)
    yield from env_problems(parsed.spec)
    yield from end_problems(parsed)


def _drawn_problem(spec: SweepSpec, field: str, text: str) -> Problem:
    """A problem of a drawn configuration, at the parameter that it is about, or at the fixed field."""
    swept = next((leaf.path for leaf in leaves(spec.parameters) if leaf.name == field), None)
    return Problem(swept or ("trial", field), text)


def base_config(spec: SweepSpec) -> GAELPExperimentConfig:
    """The configuration of the control arm: the fixed fields, and defaults."""
    base = GAELPExperimentConfig(**nest({"seed": spec.seed, **spec.trial}))
    if is_market_file(base.market):  # workers have another working directory
        base = base.replace({"market": str(Path(base.market).resolve())})
    return base


def seed_of(root: int, number: int) -> int:
    """Seed `number` of every configuration: the first is the sweep's own."""
    if number == 0:
        return root
    return int(np.random.SeedSequence([root, number]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _trials(spec: SweepSpec, known: Sequence[Mapping[str, Any]]) -> Iterator[TrialPlan]:
    # Every configuration trains on the same flights and starts: differences between trials are their parameters'.
    base = base_config(spec)
    seeds = tuple(seed_of(base.seed, number) for number in range(spec.seeds.min))
    begun = [_begun(trial, base) for trial in known if trial["first"] == trial["name"]]
    yield from begun
    if spec.select.include_default and not any(trial.is_default for trial in begun):
        yield TrialPlan(f"{spec.name}-default", {}, base, seeds, is_default=True)
    former = [trial for trial in begun if not trial.is_default]
    sampled = configurations(spec, [] if spec.method == "bayes" else [_settled(spec, trial) for trial in former])
    digits = len(former[0].name) - len(f"{spec.name}-") if former else max(2, len(str(len(sampled) - 1)))
    for number, params in list(enumerate(sampled))[len(former) :]:
        yield TrialPlan(f"{spec.name}-{number:0{digits}d}", params, base.replace(params), seeds)


def _begun(trial: Mapping[str, Any], base: GAELPExperimentConfig) -> TrialPlan:
    """A trial from its plan in a journal; its market lies where the sweep's lies now."""
    config = GAELPExperimentConfig(**trial["config"] | {"market": base.market})
    return TrialPlan(trial["name"], trial["params"], config, tuple(trial["seeds"]), trial["is_default"])


def _settled(spec: SweepSpec, trial: TrialPlan) -> dict[str, Any]:
    """A value for every parameter; one that the sweep did not have yet was what all trials had."""
    fields = flat(trial.config.to_dict())
    return {leaf.name: trial.params.get(leaf.name, fields.get(leaf.name)) for leaf in leaves(spec.parameters)}


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration's values by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return found
