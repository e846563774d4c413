"""What Tune's trials have come to: one TrialResult per configuration, its seeds pooled, whichever trial flew them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaelp_ray.records import EpisodeMetrics
from gaelp_ray.results import SeedResult, TrialResult, TrialStatus
from gaelp_ray.sweep.planning.plan import SweepPlan, TrialPlan
from gaelp_ray.sweep.search.stopping import died_of
from gaelp_ray.sweep.trials.trial import seed_folder


@dataclass(frozen=True)
class Ended:
    """One of Tune's trials after the search, as far as it is ours."""

    trial: Mapping[str, Any]  # as search.as_tune_config() made it; in a population, as it ended
    metrics: Mapping[str, Any]  # its last report
    checkpoint: Path | None
    error: BaseException | None

    @classmethod
    def of(cls, result: Any, handed_out: Mapping[str, Mapping[str, Any]]) -> Ended:
        """From Tune's Result; `handed_out` are the trials as they were given to Tune, by name.

        The name of its folder is what to go by: the config and the metrics of a trial that ended before its first
        report may be those of the trial that had its worker before.
        """
        name = Path(result.path).name
        trial = (result.config or {}).get("trial", {})
        own = trial.get("name") == name
        metrics = (result.metrics or {}) if own else {}
        checkpoint = Path(result.checkpoint.path) if own and result.checkpoint else None
        return cls(trial if own else handed_out[name], metrics, checkpoint, result.error)

    @property
    def seeds(self) -> list[SeedResult]:
        """The seeds that were trained to their end."""
        folders = [
            seed_folder(self.checkpoint, n) if self.checkpoint else None for n in range(len(self.trial["seeds"]))
        ]
        return [
            SeedResult(seed["seed"], seed["validation"], str(folder) if folder else None)
            for seed, folder in zip(self.metrics.get("seeds") or (), folders, strict=False)
        ]


def gathered(plan: SweepPlan, ended: Sequence[Ended], stopped: Mapping[str, str]) -> list[TrialResult]:
    """One result per planned trial, in the order of the plan.

    Args:
        plan: the sweep.
        ended: every trial that Tune has started. A race gives one configuration several.
        stopped: why a trial was ended early, by its name.
    """
    # The first trial's name is the shortest, and the further ones are numbered by their seeds.
    ordered = sorted(ended, key=lambda found: (len(found.trial["name"]), found.trial["name"]))
    by_first: dict[str, list[Ended]] = {}
    for found in ordered:
        by_first.setdefault(found.trial["first"], []).append(found)
    return [_result(plan, trial, by_first.get(trial.name, []), stopped) for trial in plan.trials]


def _result(plan: SweepPlan, planned: TrialPlan, found: Sequence[Ended], stopped: Mapping[str, str]) -> TrialResult:
    """A further seed that failed does not undo those before it."""
    seeds = [seed for ended in found for seed in ended.seeds]
    status, reason = _status(found[0] if found else None, planned.name, stopped)
    last = found[0] if found else None
    return TrialResult(
        trial=planned.name,
        status=status,
        params=last.trial["params"] if last else planned.params,
        config=last.trial["config"] if last else planned.config.to_dict(),
        is_default=planned.is_default,
        metrics=pooled(plan, seeds) if seeds else None,
        iterations=int(last.metrics.get("iterations", 0)) if last else 0,
        env_steps=sum(int(ended.metrics.get("env_steps", 0)) for ended in found),
        seconds=sum(float(ended.metrics.get("time_total_s", 0.0)) for ended in found),
        cpu_seconds=sum(float(ended.metrics.get("cpu_seconds", 0.0)) for ended in found),
        checkpoint=best_seed(plan, seeds).checkpoint if seeds else _left(last),
        error=reason,
        config_id=str(last.trial["config_id"]) if last else planned.config_id,
        seeds=tuple(seeds),
    )


def pooled(plan: SweepPlan, seeds: Sequence[SeedResult]) -> dict[str, float]:
    """The validation flights of all seeds as one."""
    return EpisodeMetrics.together([seed.metrics for seed in seeds], plan.spec.select.min_delivery).as_dict()


def best_seed(plan: SweepPlan, seeds: Sequence[SeedResult]) -> SeedResult:
    """The one with the best score; a score that was not measured is the worst."""
    sign = 1.0 if plan.goal == "maximize" else -1.0
    scores = [sign * float(seed.metrics.get(plan.spec.metric.name, math.nan)) for seed in seeds]
    return seeds[max(range(len(seeds)), key=lambda n: scores[n] if math.isfinite(scores[n]) else -math.inf)]


def _left(last: Ended | None) -> str | None:
    """The whole checkpoint of a trial that did not come to its end."""
    return str(last.checkpoint) if last and last.checkpoint else None


def _status(first: Ended | None, name: str, stopped: Mapping[str, str]) -> tuple[TrialStatus, str | None]:
    if first is not None and first.error is not None:
        return TrialStatus.FAILED, died_of(first.error)
    if first is not None and first.metrics.get("validation"):
        return TrialStatus.COMPLETED, None
    if name in stopped:
        return TrialStatus.STOPPED, stopped[name]
    return TrialStatus.INTERRUPTED, None
