"""One seed of a trial's configuration in a Ray worker: its flights, its agent, and its own W&B run."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.air.integrations.wandb import setup_wandb

from gaelp_ray.checkpoint import Model, load_model, save_model
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.records import EpisodeMetrics, FlightTotals
from gaelp_ray.tracking.runs import RunIdentity, RunLog
from gaelp_ray.training import Iteration, Stream, evaluate, train
from gaelp_ray.worlds import training_flights, untrained, world_from, world_of

VALIDATION_EPISODES = 256
"""Flights, the same for every trial of a sweep, that give a trained agent its search score."""

RECENT = 4
"""Batches of flights that a trial is judged by while it trains: one alone is mostly luck."""


class SeedRun:
    """A training that is stepped from outside; `sweep` is what all trials share, `planned` the trial's plan."""

    def __init__(self, planned: Mapping[str, Any], sweep: Mapping[str, Any], number: int) -> None:
        self._planned, self._sweep, self._number = planned, sweep, number
        self.seed = int(planned["seeds"][number])
        self.env_steps = 0
        self.recent: deque[FlightTotals] = deque(maxlen=RECENT)
        self.config = self._config()
        identity = self._identity()
        labels = {"config_id": planned["config_id"], "trial": planned["name"]}
        self.log = RunLog.open(setup_wandb, identity, self.config.to_dict() | labels)
        with self.log.closing_on_failure():
            self._prepare()

    def _config(self) -> GAELPExperimentConfig:
        return GAELPExperimentConfig(**self._planned["config"] | {"seed": self.seed})

    def _prepare(self) -> None:
        # The driver's folder of an own environment: a worker has another working directory.
        self._world = world_of(self.config, self._sweep["market"].get("folder"))
        self._env, self._agent = training_flights(self._world, self.config), untrained(self._world, self.config)
        self._training = train(self._env, self._agent, self.config)

    def _identity(self) -> RunIdentity:
        sweep, planned = self._sweep, self._planned
        role = "default" if planned["is_default"] else "sampled"
        name = planned["name"] if len(planned["seeds"]) == 1 else f"{planned['name']}-s{self._number}"
        return RunIdentity(
            id=f"{name}-{sweep['sweep_id']}",
            name=name,
            project=sweep["project"],
            entity=sweep["entity"],
            group=sweep["group"],
            job_type="trial",
            mode=sweep["mode"],
            tags=(*sweep["tags"], role, self.config.agent_type, f"config-{planned['config_id']}"),
            reinit="create_new",  # the seeds of a configuration run side by side
        )

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
        return flights.totals.pooled(self._sweep["min_delivery"])

    def log_row(self, iteration: Iteration, validation: EpisodeMetrics | None) -> None:
        """One row of the W&B run."""
        metrics = iteration.totals.pooled(self._sweep["min_delivery"])
        row = metrics.as_logged() | iteration.as_logged() | iteration.learning
        row["custom/env_steps"] = float(self.env_steps)
        if validation:
            row |= {f"validation/{name}": value for name, value in validation.as_dict().items()}
        self.log.log(row, step=iteration.number)

    def save(self, folder: Path) -> None:
        """The agent, for a checkpoint."""
        about = {"trial": self._planned["name"], "seed": self.seed}
        save_model(folder, Model(self._agent, self.config, self._world, about))

    def go_on(self, folder: Path, iterations: int, env_steps: int) -> None:
        """Continue from a saved agent: this seed's own, or, in a population, that of another configuration."""
        self._agent.load_state_dict(load_model(folder).agent.state_dict())
        self.env_steps = env_steps
        self._training = train(self._env, self._agent, self.config, done=iterations)

    def change(self, planned: Mapping[str, Any], iterations: int) -> None:
        """Another configuration for the same trial, as in a population; its agent is loaded afterwards."""
        self._planned = planned
        self.config = self._config()
        self._prepare()
        self.log.log({f"population/{k}": v for k, v in _numbers(planned["params"]).items()}, step=iterations + 1)


def _numbers(params: Mapping[str, Any]) -> dict[str, float]:
    """The sampled values that a chart can show."""
    return {name: float(value) for name, value in params.items() if isinstance(value, (int, float))}
