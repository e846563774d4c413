"""What a sweep leaves behind: trials, the arms of the final stage, and the decision.

Frozen records of flights' metrics (records.py) with no behaviour beyond arithmetic. Start at Selection.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from statistics import stdev
from typing import Any

from gaelp_ray.records import Evaluation, Interval


class TrialStatus(str, Enum):
    """How a trial ended."""

    COMPLETED = "completed"
    STOPPED = "stopped"  # early, by the scheduler or a rule of the sweep; TrialResult.error says which
    FAILED = "failed"  # raised; the reason is in TrialResult.error
    INTERRUPTED = "interrupted"  # the sweep was stopped before the trial was done

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class SeedResult:
    """One seed of a configuration: what its validation flights gave, and where its model lies."""

    seed: int
    metrics: Mapping[str, float]
    checkpoint: str | None


@dataclass(frozen=True)
class TrialResult:
    """One trial as the search saw it: its configuration, how it ended, and what its validation flights gave.

    `metrics` are pooled over all seeds of the configuration; `checkpoint` is that of its best seed, or, without seeds
    that came to their end, the folder of all.
    """

    trial: str
    status: TrialStatus
    params: Mapping[str, Any]  # the sampled values only
    config: Mapping[str, Any]  # the whole configuration
    is_default: bool = False  # the control arm
    metrics: Mapping[str, float] | None = None  # EpisodeMetrics.as_dict()
    iterations: int = 0
    env_steps: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    checkpoint: str | None = None
    error: str | None = None
    config_id: str = ""
    seeds: tuple[SeedResult, ...] = ()

    def standard_error(self, metric: str) -> float:
        """Of the pooled score, from how its seeds differ; NaN for fewer than two."""
        scores = [seed.metrics.get(metric, math.nan) for seed in self.seeds]
        return stdev(scores) / math.sqrt(len(scores)) if len(scores) > 1 else math.nan

    def score(self, metric: str) -> float:
        """The search metric; NaN where the trial measured none."""
        return float(self.metrics.get(metric, math.nan)) if self.metrics else math.nan


@dataclass(frozen=True)
class Candidate:
    """One arm of the final stage. `trial` is None for the reference line, which no trial trained."""

    label: str
    role: str  # "candidate", "default" (the control arm) or "reference" (BayesDual with its default constants)
    evaluation: Evaluation
    trial: TrialResult | None = None


@dataclass(frozen=True)
class Comparison:
    """ROAS of the winner minus ROAS of another arm on the same flights, with its paired interval."""

    difference: float
    interval: Interval

    @property
    def verdict(self) -> str:
        """ "above", "below", or "tie" where the interval holds 0."""
        if 0.0 in self.interval:
            return "tie"
        return "above" if self.difference > 0 else "below"


@dataclass(frozen=True)
class Selection:
    """Who won the final stage, and how sure that is."""

    ranking: tuple[Candidate, ...]  # eligible arms first, each group by falling ROAS
    ineligible: Mapping[str, str]  # label -> reason, for every arm that may not win
    winner: Candidate | None
    reason: str
    versus_default: Comparison | None = None
    versus_reference: Comparison | None = None
