"""The final stage's flights: every arm on the same fresh flights, in parallel through Ray.

An arm is a trained agent. Its flights are cut into batches that workers fly independently; which worker flew which
batch, and with which other arms, changes nothing, because a batch is determined by its seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import ray

from gaelp_ray.agents import Agent
from gaelp_ray.checkpoint import load_model
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.errors import describe
from gaelp_ray.market import Market
from gaelp_ray.records import FlightTotals
from gaelp_ray.sweep.session import elsewhere, session_cpus
from gaelp_ray.training import fly_all
from gaelp_ray.worlds import World, reference_for, untrained, world_from

LOST_WORKERS = 10
"""So often a batch is flown again where its worker or its node was lost; what it raises itself is never tried again."""


@dataclass(frozen=True)
class Arm:
    """An agent to be flown, as plain values that travel to any worker."""

    label: str
    market: Mapping[str, Any]  # that is flown, the same for all arms
    config: Mapping[str, Any] | None = None  # None: the reference bidder
    beliefs: Mapping[str, Any] | None = None  # the market that the agent was trained for
    state: Mapping[str, Any] | None = None

    @classmethod
    def from_checkpoint(cls, label: str, folder: Path, market: World) -> Arm:
        """The agent that a trial left behind."""
        model = load_model(folder)
        return cls(
            label,
            market.model_dump(mode="json"),
            model.config.to_dict(),
            model.market.model_dump(mode="json"),
            model.agent.state_dict(),
        )

    @classmethod
    def reference(cls, label: str, market: World) -> Arm:
        """BayesDual with its default constants."""
        return cls(label, market.model_dump(mode="json"))

    def through(self, market: World) -> Arm:
        """The same agent in another market, for which a reference bidder is made anew."""
        return replace(self, market=market.model_dump(mode="json"))

    def agent(self, world: World) -> Agent:
        """The agent, made anew; `world` is the market that is flown."""
        if self.config is None:
            reference = reference_for(world)
            assert reference is not None
            return reference
        believed = world if self.beliefs == self.market else world_from(self.beliefs, self.label)
        agent = untrained(believed, GAELPExperimentConfig(**self.config))
        agent.load_state_dict(self.state or {})
        return agent


def fly_arms(
    arms: Sequence[Arm], parts: Sequence[tuple[int, int]], seeds: Sequence[int], tell: Callable[[int, int], None]
) -> tuple[dict[str, FlightTotals], dict[str, str]]:
    """Flights of every arm by label, the same flights in the same order for all of them.

    Args:
        arms: who flies.
        parts: (number, flights) of every batch, as training.batches() has them.
        seeds: name the flights; the batch's number is added to them.
        tell: hears how many episodes are flown, and of how many.

    The second record is that of arms that could not be flown, which only happens in an environment of the user's own:
    label -> reason.
    """
    tasks = _Tasks(arms, seeds)
    groups = _groups(arms, len(parts))
    for number, flights in parts:
        for labels in groups:
            tasks.start(labels, number, flights)
    total = len(arms) * sum(flights for _, flights in parts)
    while tasks.pending:
        tell(tasks.episodes, total)
        tasks.wait()
    tell(total, total)
    failed = tasks.failed
    labels = [arm.label for arm in arms if arm.label not in failed]
    totals = {label: FlightTotals.concatenate([tasks.flown[label, n] for n, _ in parts]) for label in labels}
    failed |= _with_other_budgets(totals)
    return {label: totals[label] for label in labels if label not in failed}, failed


def _groups(arms: Sequence[Arm], batches: int) -> list[list[str]]:
    """Labels of the arms that fly each batch together: as many groups as leave no core idle.

    In a market, hidden state and the hindsight optimum are computed once for a group; an arm's flights do not depend on
    it. In an environment of the user's own each arm flies alone.
    """
    labels = [arm.label for arm in arms]
    if not arms or not isinstance(world_from(arms[0].market, labels[0]), Market):
        return [[label] for label in labels]
    number = min(len(labels), math.ceil(session_cpus() / batches))
    return [labels[first::number] for first in range(number)]


class _Tasks:
    """Groups of arms in Ray, each through one batch of flights."""

    def __init__(self, arms: Sequence[Arm], seeds: Sequence[int]) -> None:
        self._fly = _fly.options(label_selector=others) if (others := elsewhere()) else _fly
        self._arms = {arm.label: ray.put(arm) for arm in arms}
        self._seeds = seeds
        self.pending: dict[Any, tuple[Sequence[str], int, int]] = {}
        self.flown: dict[tuple[str, int], FlightTotals] = {}
        self.failed: dict[str, str] = {}

    @property
    def episodes(self) -> int:
        """Flown so far."""
        return sum(map(len, self.flown.values()))

    def start(self, labels: Sequence[str], number: int, flights: int) -> None:
        """Let these arms fly a batch."""
        arms = (self._arms[label] for label in labels)
        task = self._fly.remote(flights, [*self._seeds, number], *arms)
        self.pending[task] = labels, number, flights

    def wait(self) -> None:
        """Until a task has ended. Arms whose group could not be flown fly alone, to tell which of them it was."""
        (task,), _ = ray.wait(list(self.pending), num_returns=1)
        labels, number, flights = self.pending.pop(task)
        try:
            totals = ray.get(task)
        except ray.exceptions.RayError as error:  # also a worker that died each time
            reason = describe(error.cause if isinstance(error, ray.exceptions.RayTaskError) else error)
        else:
            self.flown |= {(label, number): flown for label, flown in zip(labels, totals, strict=True)}
            return
        if len(labels) == 1:
            self.failed.setdefault(labels[0], reason)
            return
        for label in labels:
            self.start([label], number, flights)


def _with_other_budgets(flights: Mapping[str, FlightTotals]) -> dict[str, str]:
    """Arms whose flights had other budgets than those of the first arm, so that nothing can be compared."""
    reason = "its flights had other budgets than those of {}: no action may change a flight's budget"
    first = next(iter(flights), "")
    return {
        label: reason.format(first)
        for label, totals in flights.items()
        if not np.array_equal(totals.budget, flights[first].budget)
    }


@ray.remote(num_cpus=1, max_retries=LOST_WORKERS)
def _fly(flights: int, seeds: Sequence[int], *arms: Arm) -> list[FlightTotals]:
    return fly_together(arms, flights, seeds)


def fly_together(arms: Sequence[Arm], flights: int, seeds: Sequence[int]) -> list[FlightTotals]:
    """One batch of each arm, in this process."""
    world = world_from(arms[0].market, arms[0].label)
    return list(fly_all([arm.agent(world) for arm in arms], world, flights, seeds))
