"""What trials have come to: one TrialResult per configuration, its seeds pooled, whichever trial flew them.

Read from the journal and the trials' own records alone. Start at gathered().
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaelp_ray.records import EpisodeMetrics, score_metric
from gaelp_ray.results import SeedResult, TrialResult, TrialStatus
from gaelp_ray.sweep.planning.plan import SweepPlan, TrialPlan
from gaelp_ray.sweep.store.journal import End, History
from gaelp_ray.sweep.store.trial_files import TrialFiles
from gaelp_ray.sweep.trials.lockstep import seed_folder


@dataclass(frozen=True)
class Flown:
    """One of Tune's trials, as it is recorded."""

    plan: Mapping[str, Any]  # as search.as_tune_config() made it; in a population, as it ended
    report: Mapping[str, Any]  # its last one
    checkpoint: Path | None  # the last one
    end: End

    @classmethod
    def of(cls, plan: Mapping[str, Any], folder: Path, end: End | None) -> Flown:
        """From the trial's folder; without an end it was interrupted, or has never started."""
        files = TrialFiles(folder, plan["name"])
        record, known = files.read(), files.checkpoints()
        checkpoint = files.checkpoint(known[-1]) if known else None
        status = TrialStatus.INTERRUPTED if record.started else TrialStatus.NOT_STARTED
        return cls(record.plan or plan, record.last, checkpoint, end or End(str(status)))

    @property
    def seeds(self) -> list[SeedResult]:
        """The seeds that were trained to their end."""
        found = self.report.get("seeds") or ()
        folders = [str(seed_folder(self.checkpoint, n)) if self.checkpoint else None for n in range(len(found))]
        return [
            SeedResult(seed["seed"], _with_ratios(seed["validation"]), folder)
            for seed, folder in zip(found, folders, strict=True)
        ]


def gathered(plan: SweepPlan, history: History, folder: Path) -> list[TrialResult]:
    """One result per planned trial, in the order of the plan. A race gives one configuration several trials."""
    flown = [Flown.of(proposed, folder, history.ends.get(name)) for name, proposed in history.plans.items()]
    # The first trial's name is the shortest, and the further ones are numbered by their seeds.
    flown.sort(key=lambda found: (len(found.plan["name"]), found.plan["name"]))
    by_first: dict[str, list[Flown]] = {}
    for found in flown:
        by_first.setdefault(found.plan["first"], []).append(found)
    return [_result(plan, trial, by_first.get(trial.name, [])) for trial in plan.trials]


def _result(plan: SweepPlan, planned: TrialPlan, flown: Sequence[Flown]) -> TrialResult:
    """A further seed that failed does not undo those before it."""
    seeds = [seed for found in flown for seed in found.seeds]
    first = flown[0] if flown else None
    return TrialResult(
        trial=planned.name,
        status=TrialStatus(first.end.status) if first else TrialStatus.NOT_STARTED,
        params=first.plan["params"] if first else planned.params,
        config=first.plan["config"] if first else planned.config.to_dict(),
        is_default=planned.is_default,
        metrics=pooled(seeds) if seeds else None,
        iterations=int(first.report.get("iterations", 0)) if first else 0,
        env_steps=sum(int(found.report.get("env_steps", 0)) for found in flown),
        seconds=sum(float(found.report.get("seconds", 0.0)) for found in flown),
        cpu_seconds=sum(float(found.report.get("cpu_seconds", 0.0)) for found in flown),
        checkpoint=best_seed(plan, seeds).checkpoint if seeds else _left(first),
        error=(first.end.reason or None) if first else None,
        config_id=str(first.plan["config_id"]) if first else planned.config_id,
        seeds=tuple(seeds),
    )


def _with_ratios(validation: Mapping[str, float]) -> dict[str, float]:
    """With every ratio of EpisodeMetrics, computed from the sums: older records lack some."""
    return EpisodeMetrics.together([validation]).as_dict()


def pooled(seeds: Sequence[SeedResult]) -> dict[str, float]:
    """The validation flights of all seeds as one."""
    return EpisodeMetrics.together([seed.metrics for seed in seeds]).as_dict()


def best_seed(plan: SweepPlan, seeds: Sequence[SeedResult]) -> SeedResult:
    """The one with the best score; a score that was not measured is the worst."""
    sign = 1.0 if plan.goal == "maximize" else -1.0
    scores = [sign * float(seed.metrics.get(score_metric(plan.spec.metric.name), math.nan)) for seed in seeds]
    return seeds[max(range(len(seeds)), key=lambda n: scores[n] if math.isfinite(scores[n]) else -math.inf)]


def _left(first: Flown | None) -> str | None:
    """The whole checkpoint of a trial that did not come to its end."""
    return str(first.checkpoint) if first and first.checkpoint else None
