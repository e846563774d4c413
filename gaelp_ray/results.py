"""What a sweep leaves behind: trials, the arms of the final stage, and the decision.

Frozen records of flights' metrics (records.py) with no behaviour beyond arithmetic. Start at Selection.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from statistics import stdev
from textwrap import shorten
from typing import Any

from gaelp_ray.records import SCORE, Evaluation, Interval, score_metric, shown


class TrialStatus(str, Enum):
    """How a trial ended."""

    COMPLETED = "completed"
    STOPPED = "stopped"  # early, by the scheduler or a rule of the sweep; TrialResult.error says which
    FAILED = "failed"  # raised; the reason is in TrialResult.error
    INTERRUPTED = "interrupted"  # the sweep was stopped before the trial was done
    NOT_STARTED = "not started"  # the sweep ended before the trial; older leaderboards have `interrupted` for it

    def __str__(self) -> str:
        return self.value


def _headline(metrics: Mapping[str, float]) -> str:
    """Score and delivery of a trial's metrics."""
    score, delivery = (metrics.get(name) for name in (SCORE, "delivery"))
    return f"{SCORE} {shown(score, '{:.3f}')}, delivery {shown(delivery, '{:.1%}')}"


@dataclass(frozen=True)
class SeedResult:
    """One seed of a configuration: what its validation flights gave, and where its model lies."""

    seed: int
    metrics: Mapping[str, float]
    checkpoint: str | None

    def __repr__(self) -> str:
        return f"<SeedResult {self.seed}: {_headline(self.metrics)}>"


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

    def __repr__(self) -> str:
        measured = f", {_headline(self.metrics)}" if self.metrics else ""
        return f"<TrialResult {self.trial}: {self.status}{measured}, {self.iterations:,} iterations>"

    def standard_error(self, metric: str) -> float:
        """Of the score by `metric` pooled over seeds, from how they differ; NaN for fewer than two."""
        scores = [seed.metrics.get(score_metric(metric), math.nan) for seed in self.seeds]
        return stdev(scores) / math.sqrt(len(scores)) if len(scores) > 1 else math.nan

    def score(self, metric: str) -> float:
        """The score of a search that optimises `metric` (records.score_metric); NaN where nothing was measured."""
        return float(self.metrics.get(score_metric(metric), math.nan)) if self.metrics else math.nan


def count_by_status(trials: Sequence[TrialResult]) -> str:
    """`3 completed, 1 failed`."""
    return ", ".join(f"{count} {status}" for status, count in Counter(trial.status for trial in trials).items())


@dataclass(frozen=True)
class Raced:
    """How an arm did in the race: the flights it took part in, and when and why it was dropped."""

    flights: int
    score: float
    dropped: int | None = None  # in this round, from 1; None: never
    by: str = ""  # the arm above it; "" where it broke a bound


@dataclass(frozen=True)
class Candidate:
    """One arm of the final stage. `trial` is None for the reference line, which no trial trained.

    `evaluation` is of the confirmation's flights for arms that were confirmed, which had no part in choosing; of the
    race's for the others. `weights` says which of the trial's kept models flew: its seed, `last` or `best`. `markets`
    are of flights in other markets, by the names that the sweep file gives them; empty for an arm that flew in none.
    """

    label: str
    role: str  # "candidate", "default" (the control arm) or "reference" (BayesDual with its default constants)
    evaluation: Evaluation
    trial: TrialResult | None = None
    race: Raced | None = None
    confirmed: bool = False
    weights: Mapping[str, Any] = field(default_factory=dict)
    markets: Mapping[str, Evaluation] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Candidate {self}>"

    def __str__(self) -> str:
        return f"{self.label}: {self.evaluation}"


@dataclass(frozen=True)
class Comparison:
    """SCORE of the winner minus that of another arm on the same flights, with its paired interval.

    SCORE is computed with expected revenue where the environment reports it, so the interval is far narrower than that
    of either arm's realised ROAS.
    """

    difference: float
    interval: Interval

    @property
    def verdict(self) -> str:
        """ "above", "below", or "tie" where the interval holds 0."""
        if 0.0 in self.interval:
            return "tie"
        return "above" if self.difference > 0 else "below"

    def as_dict(self) -> dict[str, Any]:
        """Plain values with the verdict."""
        low, high = self.interval.low, self.interval.high
        return {"difference": self.difference, "low": low, "high": high, "verdict": self.verdict}


INELIGIBLE: Mapping[str, Any] = {"difference": None, "low": None, "high": None, "verdict": "ineligible"}
"""In place of a comparison where one of the two arms is not eligible."""


@dataclass(frozen=True)
class PlayOff:
    """Two arms on fresh flights: the leader of a race, and the control arm that a tie would keep.

    comparison: SCORE of the leader minus that of the control arm; None where one of them is not eligible.
    """

    leader: str
    flights: int  # of each of the two
    comparison: Comparison | None

    @property
    def won(self) -> bool:
        """By the leader."""
        return self.comparison is not None and self.comparison.verdict == "above"

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        found = self.comparison.as_dict() if self.comparison else dict(INELIGIBLE)
        return {"leader": self.leader, "flights": self.flights, "won": self.won, **found}


@dataclass(frozen=True)
class RaceFacts:
    """What a race took: rounds, flights of all arms, the flights that it was allowed, and the error it may make."""

    arms: int
    rounds: int
    flights: int
    budget: int
    error: float
    attempt: int = 1  # which confirmation counted: others had chosen an arm that fresh flights showed to be ineligible


@dataclass(frozen=True)
class Selection:
    """Who was kept in the final stage, why, and how sure that is."""

    ranking: tuple[Candidate, ...]  # who was kept; other eligible arms, those never dropped first; the others
    ineligible: Mapping[str, str]  # label -> reason, for every arm that may not win
    winner: Candidate | None  # who was kept, which in a tie is no better than the others
    reason: str
    versus_default: Comparison | None = None
    versus_reference: Comparison | None = None
    decision: str = "none"  # or "winner" or "tie"
    rule: str = ""  # which rule decided
    tied: tuple[str, ...] = ()  # arms that may be as good as the one that was kept
    race: RaceFacts | None = None
    play_off: PlayOff | None = None

    def __repr__(self) -> str:
        return f"<Selection {self}>"

    def __str__(self) -> str:
        return f"{self.decision}, {self.winner}" if self.winner else f"no winner: {shorten(self.reason, 120)}"
