"""One seed of a trial's configuration in a Ray worker: its flights, its agent, and its own W&B run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ray.air.integrations.wandb import setup_wandb

from gaelp_ray.checkpoint import Model, load_model, save_model
from gaelp_ray.records import EpisodeMetrics, FlightTotals
from gaelp_ray.sweep.trials.mirrored import identity_of, run_config, seed_config
from gaelp_ray.sweep.trials.site import market_here
from gaelp_ray.tracking.runs import RunLog
from gaelp_ray.training import Iteration, Stream, evaluate, train
from gaelp_ray.worlds import training_flights, untrained, world_from, world_of

VALIDATION_EPISODES = 256
"""Flights, the same for every trial of a sweep, that give a trained agent its search score."""

RECENT = 4
"""Batches of flights that a trial is judged by while it trains: one alone is mostly luck."""

RECENT_FILE = "recent.npz"


class SeedRun:
    """A training that is stepped from outside; `sweep` is what all trials share, `planned` the trial's plan."""

    def __init__(self, planned: Mapping[str, Any], sweep: Mapping[str, Any], number: int) -> None:
        self._planned, self._sweep, self._number = planned, sweep, number
        self.seed = int(planned["seeds"][number])
        self.env_steps = 0
        self.recent: deque[FlightTotals] = deque(maxlen=RECENT)
        self.config = seed_config(planned, number)
        self.log = RunLog.open(setup_wandb, identity_of(planned, sweep, number), run_config(planned, number))
        with self.log.closing_on_failure():
            self._prepare()

    def _prepare(self) -> None:
        # The driver's folder of an own environment: a worker has another working directory.
        self._world = world_of(market_here(self.config, self._sweep), self._sweep["market"].get("folder"))
        self._env, self._agent = training_flights(self._world, self.config), untrained(self._world, self.config)
        self._training = train(self._env, self._agent, self.config)

    def step(self) -> Iteration:
        """Fly and learn from one batch of flights."""
        iteration = next(self._training)
        self.env_steps += iteration.env_steps
        self.recent.append(iteration.totals)
        return iteration

    def validate(self) -> EpisodeMetrics:
        """The agent on the flights that all trials of the sweep are validated on."""
        seeds = [self._sweep["seed"], Stream.VALIDATION]
        flights = evaluate(self._agent, world_from(self._sweep["market"], "sweep"), VALIDATION_EPISODES, seeds)
        return flights.totals.pooled()

    def row(self, iteration: Iteration, validation: EpisodeMetrics | None) -> dict[str, float]:
        """An iteration as the W&B run has it."""
        metrics = iteration.totals.pooled()
        row = metrics.as_logged() | iteration.as_logged() | iteration.learning
        row["custom/env_steps"] = float(self.env_steps)
        if self._sweep["population"]:
            row |= {f"population/{name}": value for name, value in _numbers(self._planned["params"])}
        if validation:
            row |= {f"validation/{name}": value for name, value in validation.as_dict().items()}
        return row

    def state(self) -> dict[str, Any]:
        """The agent as it is now."""
        return {name: np.copy(array) for name, array in self._agent.state_dict().items()}

    def save(self, folder: Path, state: Mapping[str, Any] | None = None) -> None:
        """The agent as it is, with the flights that it is judged by; or as it was in an earlier `state`."""
        agent = self._agent
        if state is not None:
            agent = untrained(self._world, self.config)
            agent.load_state_dict(state)
        save_model(folder, Model(agent, self.config, self._world, {"trial": self._planned["name"], "seed": self.seed}))
        if state is None:
            self._save_recent(folder)

    def _save_recent(self, folder: Path) -> None:
        arrays = {f"{name}.{n}": x for n, totals in enumerate(self.recent) for name, x in asdict(totals).items()}
        np.savez(folder / RECENT_FILE, **arrays)

    def go_on(self, folder: Path, iterations: int, env_steps: int) -> None:
        """Continue from a saved agent: this seed's own, or, in a population, that of another configuration."""
        self._agent.load_state_dict(load_model(folder).agent.state_dict())
        self.recent = deque(_recent(folder / RECENT_FILE), RECENT)
        self.env_steps = env_steps
        self._training = train(self._env, self._agent, self.config, done=iterations)

    def change(self, planned: Mapping[str, Any]) -> None:
        """Another configuration for the same trial, as in a population; its agent is loaded afterwards."""
        self._planned = planned
        self.config = seed_config(planned, self._number)
        self._prepare()


def state_of(folder: Path) -> dict[str, Any]:
    """The agent in a folder, as SeedRun.state() gave it."""
    return dict(load_model(folder).agent.state_dict())


def _recent(path: Path) -> Iterable[FlightTotals]:
    with np.load(path, allow_pickle=False) as stored:
        for n in range(len({name.rpartition(".")[2] for name in stored.files})):
            arrays = {name.rpartition(".")[0]: stored[name] for name in stored.files if name.endswith(f".{n}")}
            yield FlightTotals(**arrays | {"steps": int(arrays["steps"])})


def _numbers(params: Mapping[str, Any]) -> Iterable[tuple[str, float]]:
    """The sampled values that a chart can show."""
    return ((name, float(value)) for name, value in params.items() if isinstance(value, (int, float)))
