"""Validation of trials that a rule under `stop` has ended: they trained as long as they were allowed to.

A trial validates itself in its last step, which one that is ended from outside never takes. Trials that a scheduler
stopped were judged already, and stay without a score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from gaelp_ray.records import EpisodeMetrics
from gaelp_ray.results import SeedResult, TrialResult, TrialStatus
from gaelp_ray.sweep.listener import EPISODES, SweepListener
from gaelp_ray.sweep.outcome.reflight import Arm, fly_arms
from gaelp_ray.sweep.planning.plan import SweepPlan
from gaelp_ray.sweep.store.journal import BY_SCHEDULER
from gaelp_ray.sweep.trials.gathering import best_seed, pooled
from gaelp_ray.sweep.trials.lockstep import seed_folder
from gaelp_ray.sweep.trials.seed_run import VALIDATION_EPISODES
from gaelp_ray.training import Stream, batches


def validated(plan: SweepPlan, trials: Sequence[TrialResult], listener: SweepListener) -> list[TrialResult]:
    """The trials, of which those that a rule has ended now have the score of their last checkpoint."""
    folders = {t.trial: _seed_folders(t) for t in trials if ended_by_rule(t) and not t.seeds}
    arms = [Arm.from_checkpoint(str(path), path, plan.market) for paths in folders.values() for path in paths]
    if not arms:
        return list(trials)
    tell = partial(listener.stage, "validating trials that a rule has ended", unit=EPISODES)
    flown, _ = fly_arms(arms, batches(VALIDATION_EPISODES), [plan.spec.seed, Stream.VALIDATION], tell)
    judged = {path: totals.pooled() for path, totals in flown.items()}
    return [_scored(plan, trial, folders.get(trial.trial, ()), judged) for trial in trials]


def ended_by_rule(trial: TrialResult) -> bool:
    """Whether a rule under `stop` has ended a trial, and not a scheduler."""
    return trial.status is TrialStatus.STOPPED and not (trial.error or "").startswith(BY_SCHEDULER)


def _seed_folders(trial: TrialResult) -> list[Path]:
    """Models of its last checkpoint; a trial that was ended before the first has none."""
    if trial.checkpoint is None:
        return []
    numbers = range(len(list(Path(trial.checkpoint).glob("seed-*"))))
    return [seed_folder(Path(trial.checkpoint), number) for number in numbers]


def _scored(
    plan: SweepPlan, trial: TrialResult, models: Sequence[Path], judged: Mapping[str, EpisodeMetrics]
) -> TrialResult:
    """With the scores of those of its models, one of each seed, that could be flown."""
    flown = ((seed, str(path)) for seed, path in zip(plan.seeds, models, strict=False) if str(path) in judged)
    seeds = [SeedResult(seed, judged[path].as_dict(), path) for seed, path in flown]
    if not seeds:
        return trial
    best = best_seed(plan, seeds)
    return replace(trial, metrics=pooled(seeds), seeds=tuple(seeds), checkpoint=best.checkpoint)
