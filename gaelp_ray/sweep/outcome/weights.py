"""Which of a finalist's kept models goes into the race: of every seed the last one, and the one at its best score.

Where a trial has more than one, each flies a batch of flights that have no other purpose, and the best goes on. Its
luck there is told to nobody: the race and the confirmation fly others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gaelp_ray.errors import StorageError
from gaelp_ray.records import SCORE, FlightTotals
from gaelp_ray.results import TrialResult
from gaelp_ray.sweep.outcome.eligibility import Eligibility
from gaelp_ray.sweep.trials.lockstep import BEST

Fly = Callable[[Mapping[str, Path]], tuple[Mapping[str, FlightTotals], Mapping[str, str]]]
"""Models by label -> their flights, and why others could not be flown."""


@dataclass(frozen=True)
class Weights:
    """One model that a trial has left."""

    path: Path
    about: Mapping[str, Any]  # its seed, and whether it is the `last` or the `best`


def kept_weights(trial: TrialResult) -> list[Weights]:
    """The models of a trial, that of its best seed in validation first. Raises StorageError for one without any."""
    seeds = {str(seed.checkpoint): seed.seed for seed in trial.seeds if seed.checkpoint}
    found = []
    if trial.checkpoint is None:
        raise StorageError(f"{trial.trial} is to be re-flown, and has left no model: see `gaelp-ray show`")
    for folder in dict.fromkeys([trial.checkpoint, *seeds]):
        path = Path(folder)
        about: dict[str, Any] = {"seed": seeds[folder]} if folder in seeds else {}
        found.append(Weights(path, about | {"kept": "last"}))
        best = path.parent / BEST / path.name
        if best.is_dir():
            found.append(Weights(best, about | {"kept": "best"}))
    return found


def choose_weights(
    trials: Sequence[TrialResult], eligibility: Eligibility, fly: Fly
) -> tuple[list[TrialResult], dict[str, Weights], dict[str, str]]:
    """The trials with the checkpoint that is to race; what that is, by trial; and why others could not fly any."""
    known = {trial.trial: kept_weights(trial) for trial in trials}
    contested = {str(w.path): w.path for weights in known.values() if len(weights) > 1 for w in weights}
    flown, reasons = fly(contested) if contested else ({}, {})
    chosen: dict[str, Weights] = {}
    failed: dict[str, str] = {}
    for name, weights in known.items():
        able = [w for w in weights if str(w.path) not in reasons]
        if not able:
            failed[name] = reasons[str(weights[0].path)]
        else:
            chosen[name] = max(able, key=lambda w: _worth(flown.get(str(w.path)), eligibility))
    racing = [replace(t, checkpoint=str(chosen[t.trial].path)) for t in trials if t.trial in chosen]
    return racing, chosen, failed


def _worth(flights: FlightTotals | None, eligibility: Eligibility) -> tuple[bool, float]:
    """Eligible ones before the others, each by SCORE."""
    if flights is None:
        return False, 0.0
    metrics = flights.pooled()
    score = metrics.as_dict()[SCORE]
    return not eligibility.fault(metrics), score if math.isfinite(score) else -math.inf
