"""All seeds of one configuration, trained side by side and reported as one.

Whoever searches or stops trials thus judges a configuration on its seeds together.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import psutil

from gaelp_ray.checkpoint import write_json
from gaelp_ray.errors import TrainingError
from gaelp_ray.records import PER_FLIGHT, EpisodeMetrics, FlightTotals, score_metric
from gaelp_ray.sweep.trials.seed_run import SeedRun, state_of
from gaelp_ray.training import Iteration

PROGRESS, BEST = "progress.json", "best"

EARNED = tuple(name for name in PER_FLIGHT if name != "oracle_revenue")
"""What flights bring, whatever flies: the hindsight optimum is unknown in an environment of the user's own."""


@dataclass(frozen=True)
class _Best:
    """The agents of all seeds after the iteration with the best score so far."""

    iteration: int
    score: float  # more is better
    states: Sequence[Mapping[str, Any]]


class Lockstep:
    """A training of several seeds; `sweep` is what all trials share, `planned` the trial's plan."""

    def __init__(self, planned: Mapping[str, Any], sweep: Mapping[str, Any]) -> None:
        self._sweep = sweep
        self.iteration = 0
        self._cpu_before = self._seconds_before = 0.0
        self._cpu_start, self._start = time.process_time(), time.monotonic()
        self._memory = 0
        self._best: _Best | None = None
        self.runs: list[SeedRun] = []
        with ExitStack() as failing:
            for number in range(len(planned["seeds"])):
                self.runs.append(SeedRun(planned, sweep, number))
                failing.enter_context(self.runs[-1].log.closing_on_failure())

    @property
    def iterations(self) -> int:
        """That the training has in all."""
        planned, most = self.runs[0].config.iterations, self._sweep["max_iterations"]
        return planned if most is None else min(planned, most)

    def step(self) -> tuple[dict[str, Any], list[dict[str, float]]]:
        """One batch of flights on every seed: the report, and a row for each W&B run. The last one validates."""
        with ExitStack() as failing:
            for run in self.runs:
                failing.enter_context(run.log.closing_on_failure())
            iterations = [run.step() for run in self.runs]
            _require_numbers(iterations)
            self.iteration = iterations[0].number
            done = self.iteration >= self.iterations
            validations = [run.validate() for run in self.runs] if done else []
            report = self._report([iteration.totals for iteration in iterations])
            self._remember(report["score"])
            report |= self._judged(validations) if done else {}
        pairs = zip_longest(self.runs, iterations, validations)
        return report | {"done": done}, [run.row(iteration, found) for run, iteration, found in pairs]

    def _report(self, flown: Sequence[FlightTotals]) -> dict[str, Any]:
        recent = FlightTotals.concatenate([totals for run in self.runs for totals in run.recent])
        score = recent.pooled().as_dict()[score_metric(self._sweep["metric"])]
        self._memory = max(self._memory, psutil.Process().memory_info().rss)
        return FlightTotals.concatenate(flown).pooled().as_dict() | {
            "score": score,  # what schedulers judge by
            "iterations": self.iteration,
            "env_steps": sum(run.env_steps for run in self.runs),
            "cpu_seconds": self._cpu_before + time.process_time() - self._cpu_start,
            "seconds": self._seconds_before + time.monotonic() - self._start,
            "memory": self._memory,  # bytes, the most that its worker was seen to use
            "validation": None,
            "seeds": None,
        }

    def _remember(self, score: float) -> None:
        """Keep the agents as they are if they are the best so far."""
        signed = score if self._sweep["goal"] == "maximize" else -score
        if self._best is None or signed > self._best.score:
            self._best = _Best(self.iteration, signed, [run.state() for run in self.runs])

    def _judged(self, validations: Sequence[EpisodeMetrics]) -> dict[str, Any]:
        """The validation flights of all seeds as one, and of each."""
        each = [validation.as_dict() for validation in validations]
        pooled = EpisodeMetrics.together(each).as_dict()
        seeds = [{"seed": run.seed, "validation": found} for run, found in zip(self.runs, each, strict=True)]
        return {"validation": pooled, "seeds": seeds, "final_score": pooled[score_metric(self._sweep["metric"])]}

    def save(self, folder: Path) -> None:
        """The agent of every seed, and how far the training is."""
        for number, run in enumerate(self.runs):
            run.save(seed_folder(folder, number))
        progress = {
            "iterations": self.iteration,
            "env_steps": [run.env_steps for run in self.runs],
            "cpu_seconds": self._cpu_before + time.process_time() - self._cpu_start,
            "seconds": self._seconds_before + time.monotonic() - self._start,
        }
        if self._best and self._best.iteration < self.iteration:
            for number, (run, state) in enumerate(zip(self.runs, self._best.states, strict=True)):
                run.save(seed_folder(folder / BEST, number), state)
            progress["best"] = {"iteration": self._best.iteration, "score": self._best.score}
        write_json(folder / PROGRESS, progress)

    def load(self, folder: Path) -> None:
        """Go on where a checkpoint was written."""
        progress = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
        self.iteration = progress["iterations"]
        for number, run in enumerate(self.runs):
            run.go_on(seed_folder(folder, number), self.iteration, progress["env_steps"][number])
        self._best = self._best_of(folder, progress.get("best"))
        self._cpu_before, self._seconds_before = progress["cpu_seconds"], progress["seconds"]
        self._cpu_start, self._start = time.process_time(), time.monotonic()

    def _best_of(self, folder: Path, told: Mapping[str, Any] | None) -> _Best | None:
        if told is None:
            return None
        states = [state_of(seed_folder(folder / BEST, number)) for number in range(len(self.runs))]
        return _Best(told["iteration"], told["score"], states)

    def change(self, planned: Mapping[str, Any]) -> None:
        """Go on with another configuration, as in a population."""
        for run in self.runs:
            run.change(planned)


def _require_numbers(iterations: Sequence[Iteration]) -> None:
    """Sums of flights are numbers whatever the agent does; where they are none, every later one is none either."""
    for iteration in iterations:
        for name in EARNED:
            values = getattr(iteration.totals, name)
            if not (values.max() < float("inf") and values.min() > -float("inf")):
                raise TrainingError(f"{name} of the flights in iteration {iteration.number} is not a finite number")


def seed_folder(checkpoint: Path, number: int) -> Path:
    """Where a checkpoint holds the model of its configuration's seed `number`."""
    return checkpoint / f"seed-{number}"
