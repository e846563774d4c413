"""The final stage's flights: every arm on the same fresh flights, in parallel through Ray.

An arm is a trained agent. Its flights are cut into batches that workers fly independently; which worker flew which
batch changes nothing, because a batch is determined by its seeds.
"""

from __future__ import annotations

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
from gaelp_ray.records import FlightTotals
from gaelp_ray.sweep.session import elsewhere
from gaelp_ray.training import fly_batch
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

    def agent(self) -> Agent:
        """The agent, made anew."""
        if self.config is None:
            reference = reference_for(world_from(self.market, self.label))
            assert reference is not None
            return reference
        agent = untrained(world_from(self.beliefs, self.label), GAELPExperimentConfig(**self.config))
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
        tell: hears how many batches are done, and of how many.

    The second record is that of arms that could not be flown, which only happens in an environment of the user's own:
    label -> reason.
    """
    pending: dict[Any, tuple[str, int]] = {}
    fly = _fly.options(label_selector=others) if (others := elsewhere()) else _fly
    for arm in arms:
        shared = ray.put(arm)
        for number, flights in parts:
            pending[fly.remote(shared, flights, [*seeds, number])] = (arm.label, number)
    total = len(pending)
    flown: dict[tuple[str, int], FlightTotals] = {}
    failed: dict[str, str] = {}
    while pending:
        tell(len(flown), total)
        ready, _ = ray.wait(list(pending), num_returns=1)
        for reference in ready:
            label, number = pending.pop(reference)
            try:
                flown[label, number] = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                failed.setdefault(label, describe(error.cause))
            except ray.exceptions.RayError as error:  # a worker that died each time
                failed.setdefault(label, describe(error))
    tell(total, total)
    numbers = [number for number, _ in parts]
    labels = [arm.label for arm in arms if arm.label not in failed]
    totals = {label: FlightTotals.concatenate([flown[label, n] for n in numbers]) for label in labels}
    failed |= _with_other_budgets(totals)
    return {label: totals[label] for label in labels if label not in failed}, failed


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
def _fly(arm: Arm, flights: int, seeds: Sequence[int]) -> FlightTotals:
    return fly_batch(arm.agent(), world_from(arm.market, arm.label), flights, seeds)
