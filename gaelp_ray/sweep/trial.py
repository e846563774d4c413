"""One trial in a Ray worker: the training loop, reported to Tune and to the trial's own W&B run.

A class Trainable, so that Tune can reuse the worker process for the next trial (starting one costs seconds). One
step() is one batch of parallel flights; the last one adds the validation flights that the search judges by.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.air.integrations.wandb import setup_wandb
from ray.tune import Trainable

from gaelp_ray.checkpoint import Model, load_model, save_model, write_json
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.records import EpisodeMetrics
from gaelp_ray.tracking.runs import RunIdentity, RunLog
from gaelp_ray.training import Iteration, Stream, evaluate, train
from gaelp_ray.worlds import training_flights, untrained, world_from, world_of

PROGRESS = "progress.json"

VALIDATION_EPISODES = 256
"""Flights, the same for every trial of a sweep, that give a trained agent its search score."""


class GAELPTrial(Trainable):
    """Tune's view of a trial. `config` holds `trial` (a planned trial) and `sweep` (what all trials share)."""

    def setup(self, config: dict[str, Any]) -> None:
        """Start the first trial of this worker."""
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in the same process."""
        self._log.close()
        self._begin(new_config)
        return True

    def _begin(self, config: Mapping[str, Any]) -> None:
        self._plan, self._sweep = config["trial"], config["sweep"]
        self._cpu_before, self._cpu_start, self._env_steps = 0.0, time.process_time(), 0
        self._config = GAELPExperimentConfig(**self._plan["config"])
        self._log = RunLog.open(setup_wandb, self._identity(), self._config.to_dict())
        with self._log.closing_on_failure():
            # The driver's folder of an own environment: a worker has another working directory.
            self._world = world_of(self._config, self._sweep["market"].get("folder"))
            self._env, self._agent = training_flights(self._world, self._config), untrained(self._world, self._config)
            self._training = train(self._env, self._agent, self._config)

    def _identity(self) -> RunIdentity:
        sweep = self._sweep
        role = "default" if self._plan["is_default"] else "sampled"
        return RunIdentity(
            id=f"{self._plan['name']}-{sweep['sweep_id']}",
            name=self._plan["name"],
            project=sweep["project"],
            entity=sweep["entity"],
            group=sweep["group"],
            job_type="trial",
            mode=sweep["mode"],
            tags=(*sweep["tags"], role, self._config.agent_type),
        )

    def step(self) -> dict[str, Any]:
        """Fly and learn from one batch of flights."""
        with self._log.closing_on_failure():
            iteration = next(self._training)
            self._env_steps += iteration.env_steps
            metrics = iteration.totals.pooled(self._sweep["min_delivery"])
            done = iteration.number >= self._config.iterations
            row = (
                metrics.as_logged()
                | iteration.as_logged()
                | iteration.learning
                | {"custom/env_steps": float(self._env_steps)}
            )
            validation = self._validate() if done else None
            if validation:
                row |= {f"validation/{name}": value for name, value in validation.as_dict().items()}
            self._log.log(row, step=iteration.number)
        result = self._result(iteration, metrics, validation)
        if done:
            score = result["validation"][self._sweep["metric"]]
            self._log.summarise({self._sweep["metric"]: score, "cpu_seconds": result["cpu_seconds"]})
            self._log.close()
        return result | {"done": done}

    def _validate(self) -> EpisodeMetrics:
        seeds = [self._sweep["seed"], Stream.VALIDATION]
        flights = evaluate(self._agent, world_from(self._sweep["market"], "sweep"), VALIDATION_EPISODES, seeds)
        return flights.totals.pooled(self._sweep["min_delivery"])

    def _result(
        self, iteration: Iteration, metrics: EpisodeMetrics, validation: EpisodeMetrics | None
    ) -> dict[str, Any]:
        return metrics.as_dict() | {
            "iterations": iteration.number,
            "env_steps": self._env_steps,
            "cpu_seconds": self._cpu_seconds(),
            "validation": validation.as_dict() if validation else None,
        }

    def _cpu_seconds(self) -> float:
        return self._cpu_before + time.process_time() - self._cpu_start

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """The agent, and how far its training is."""
        folder = Path(checkpoint_dir)
        save_model(folder, Model(self._agent, self._config, self._world, {"trial": self._plan["name"]}))
        progress = {
            "iterations": self.iteration,
            "env_steps": self._env_steps,
            "cpu_seconds": self._cpu_seconds(),
        }
        write_json(folder / PROGRESS, progress)

    def load_checkpoint(self, checkpoint: str) -> None:
        """Go on where the checkpoint was written."""
        folder = Path(checkpoint)
        progress = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
        self._agent.load_state_dict(load_model(folder).agent.state_dict())
        self._env_steps, self._cpu_before = progress["env_steps"], progress["cpu_seconds"]
        self._training = train(self._env, self._agent, self._config, done=progress["iterations"])

    def cleanup(self) -> None:
        """The worker ends; a run that is still open was interrupted."""
        self._log.close(exit_code=130)
