"""One trial in a Ray worker: a configuration on all of its seeds in lockstep, reported to Tune as one.

Whoever searches or stops trials thus judges a configuration on its seeds together. A class Trainable, so that Tune can
reuse the worker process for the next trial (starting one costs seconds). One step() is one batch of parallel flights of
every seed; the last one adds the validation flights that the search judges by.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ray.tune import Trainable

from gaelp_ray.checkpoint import write_json
from gaelp_ray.records import EpisodeMetrics, FlightTotals
from gaelp_ray.sweep.trials.seed_run import SeedRun

PROGRESS = "progress.json"


class GAELPTrial(Trainable):
    """Tune's view of a trial. `config` holds `trial` (a planned trial) and `sweep` (what all trials share)."""

    _plan: Mapping[str, Any]
    _sweep: Mapping[str, Any]
    _open: list[SeedRun] | None

    def setup(self, config: dict[str, Any]) -> None:
        """Start the first trial of this worker."""
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in the same process, or go on with another configuration of the same one."""
        if new_config["trial"]["name"] == self._plan["name"]:
            self._plan = new_config["trial"]
            for run in self._open or ():
                run.change(self._plan, self.iteration)
            return True
        self._close()
        self._begin(new_config)
        return True

    def _begin(self, config: Mapping[str, Any]) -> None:
        self._plan, self._sweep = config["trial"], config["sweep"]
        self._cpu_before, self._cpu_start = 0.0, time.process_time()
        self._open = None

    @property
    def _runs(self) -> list[SeedRun]:
        """Made when first needed: Tune prepares workers for trials that then run in another one."""
        if self._open is None:
            self._open = []
            with ExitStack() as failing:
                for number in range(len(self._plan["seeds"])):
                    run = SeedRun(self._plan, self._sweep, number)
                    self._open.append(run)
                    failing.enter_context(run.log.closing_on_failure())
        return self._open

    def step(self) -> dict[str, Any]:
        """Fly and learn from one batch of flights on every seed."""
        with ExitStack() as failing:
            for run in self._runs:
                failing.enter_context(run.log.closing_on_failure())
            iterations = [run.step() for run in self._runs]
            number = iterations[0].number
            done = number >= self._last_iteration()
            validations = [run.validate() if done else None for run in self._runs]
            for run, iteration, validation in zip(self._runs, iterations, validations, strict=True):
                run.log_row(iteration, validation)
        flown = FlightTotals.concatenate([iteration.totals for iteration in iterations])
        result = self._result(number, flown.pooled(self._sweep["min_delivery"]))
        if done:
            result |= self._judged([v for v in validations if v])
        return result | {"done": done}

    def _last_iteration(self) -> int:
        most = self._sweep["max_iterations"]
        planned = self._runs[0].config.iterations
        return planned if most is None else min(planned, most)

    def _result(self, number: int, metrics: EpisodeMetrics) -> dict[str, Any]:
        recent = FlightTotals.concatenate([totals for run in self._runs for totals in run.recent])
        score = recent.pooled(self._sweep["min_delivery"]).as_dict()[self._sweep["metric"]]
        return metrics.as_dict() | {
            "score": score,  # what schedulers judge by
            "iterations": number,
            "env_steps": sum(run.env_steps for run in self._runs),
            "cpu_seconds": self._cpu_seconds(),
            "validation": None,
            "seeds": None,
        }

    def _judged(self, validations: list[EpisodeMetrics]) -> dict[str, Any]:
        """The validation flights of all seeds as one, and of each; the runs are complete with it."""
        metric = self._sweep["metric"]
        pooled = EpisodeMetrics.together([v.as_dict() for v in validations], self._sweep["min_delivery"]).as_dict()
        for run, validation in zip(self._runs, validations, strict=True):
            scores = {metric: validation.as_dict()[metric], f"config/{metric}": pooled[metric]}
            run.log.summarise(scores | {"cpu_seconds": self._cpu_seconds() / len(self._runs)})
            run.log.close()
        seeds = [{"seed": r.seed, "validation": v.as_dict()} for r, v in zip(self._runs, validations, strict=True)]
        return {"validation": pooled, "seeds": seeds, "final_score": pooled[metric]}

    def _cpu_seconds(self) -> float:
        return self._cpu_before + time.process_time() - self._cpu_start

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """The agent of every seed, and how far the training is."""
        folder = Path(checkpoint_dir)
        for number, run in enumerate(self._runs):
            run.save(seed_folder(folder, number))
        steps = [run.env_steps for run in self._runs]
        progress = {"iterations": self.iteration, "env_steps": steps, "cpu_seconds": self._cpu_seconds()}
        write_json(folder / PROGRESS, progress)

    def load_checkpoint(self, checkpoint: str) -> None:
        """Go on where the checkpoint was written."""
        folder = Path(checkpoint)
        progress = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
        for number, run in enumerate(self._runs):
            run.go_on(seed_folder(folder, number), progress["iterations"], progress["env_steps"][number])
        self._cpu_before = progress["cpu_seconds"]

    def cleanup(self) -> None:
        """The worker ends; a run that is still open was interrupted."""
        self._close(exit_code=130)

    def _close(self, exit_code: int = 0) -> None:
        for run in self._open or ():
            run.log.close(exit_code)


def seed_folder(checkpoint: Path, number: int) -> Path:
    """Where a checkpoint holds the model of its configuration's seed `number`."""
    return checkpoint / f"seed-{number}"
