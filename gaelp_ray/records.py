"""What comes out of flights: their sums, their pooled metrics, and what an agent learns from.

Frozen records with no behaviour beyond arithmetic. Every metric of the project is defined here once, always as a
ratio of pooled sums, never as a mean of ratios (a mean of ratios lets flights that spent nothing decide).
Start at EpisodeMetrics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def zeros(*shape: int) -> FloatArray:
    """np.zeros under the type that results of arithmetic have too: its own is narrower, and differs by version."""
    return np.zeros(shape)


MIN_DELIVERY = 0.95
"""Share of the budget that an arm must spend to be eligible, unless a sweep says otherwise."""

EXPECTED = {"roas": "expected_roas", "delivered_roas": "expected_delivered_roas"}
"""Return metrics, and the same with expected in place of realised revenue, which is what comparisons use."""

SCORE = EXPECTED["delivered_roas"]
"""The metric that race, play-off, gate and compare rank by: expected return on the whole budget (decision 034)."""

SCORE_NAMES = {"expected": "expected delivered ROAS", "realised": "delivered ROAS"}
"""What SCORE is called by the revenue that it was computed with (EpisodeMetrics.estimator)."""


def score_metric(metric: str) -> str:
    """The metric that scores are computed with where a sweep optimises `metric`.

    Return metrics are scored with expected revenue: the same expectation without the luck of single orders. Every
    other metric is its own score.
    """
    return EXPECTED.get(metric, metric)


def ratio(numerator: float, denominator: float) -> float:
    """numerator / denominator, and NaN (never an exception, never 0) where nothing was measured."""
    return numerator / denominator if denominator else math.nan


def shown(value: float | None, form: str, unit: str = "") -> str:
    """A number for a person to read, with its unit; `-` where nothing was measured (NaN, or JSON's null)."""
    return "-" if value is None or math.isnan(value) else f"{form.format(value)} {unit}".rstrip()


@dataclass(frozen=True)
class EpisodeMetrics:
    """Pooled result of one or more flights. Money is in the currency of the market.

    `steps` counts simulated hours, `expected_revenue` is revenue with the luck of single orders averaged out
    (clicks x true conversion rate x mean order value), `oracle_revenue` is what the hindsight optimum expects. An
    environment that does not report `expected_revenue` has the realised revenue in its place (see `estimator`).
    What the market's `safety` block forbids is counted: channel-hours bid above the cap, channels above their share
    of the spend, flights that delivered too little, hours off the pace of spending.
    """

    flights: int
    steps: int
    impressions: float
    clicks: float
    cost: float
    conversions: float
    revenue: float
    budget: float
    expected_revenue: float
    oracle_revenue: float
    bids_above_cap: float = 0.0
    shares_above_cap: float = 0.0
    short_of_delivery: float = 0.0
    hours_off_pace: float = 0.0

    @classmethod
    def together(cls, parts: Sequence[Mapping[str, float]]) -> EpisodeMetrics:
        """The flights of all parts as one; each part as as_dict() gives it."""
        return cls(**{f.name: sum(part[f.name] for part in parts) for f in fields(cls)})  # type: ignore[arg-type]  # flights and steps are whole

    @property
    def roas(self) -> float:
        """Return on ad spend: revenue / cost."""
        return ratio(self.revenue, self.cost)

    @property
    def delivery(self) -> float:
        """Share of the budget that was spent: cost / budget."""
        return ratio(self.cost, self.budget)

    @property
    def delivered_roas(self) -> float:
        """Return on the whole budget: revenue / max(cost, budget). Budget left unspent earns nothing.

        Equal to ROAS x delivery up to a delivery of 1, and to ROAS without a budget (budget 0).
        """
        return ratio(self.revenue, max(self.cost, self.budget))

    @property
    def expected_roas(self) -> float:
        """ROAS with expected revenue: expected_revenue / cost."""
        return ratio(self.expected_revenue, self.cost)

    @property
    def expected_delivered_roas(self) -> float:
        """Return on the whole budget with expected revenue: expected_revenue / max(cost, budget)."""
        return ratio(self.expected_revenue, max(self.cost, self.budget))

    @property
    def estimator(self) -> Literal["expected", "realised"]:
        """The revenue in `expected_roas` and `expected_delivered_roas`: realised where nothing else was reported."""
        return "realised" if self.expected_revenue == self.revenue else "expected"

    @property
    def ctr(self) -> float:
        """Click-through rate: clicks / impressions."""
        return ratio(self.clicks, self.impressions)

    @property
    def conversion_rate(self) -> float:
        """Conversions / clicks."""
        return ratio(self.conversions, self.clicks)

    @property
    def cpc(self) -> float:
        """Cost per click."""
        return ratio(self.cost, self.clicks)

    @property
    def cpa(self) -> float:
        """Cost per acquisition: cost / conversions."""
        return ratio(self.cost, self.conversions)

    @property
    def optimality(self) -> float:
        """Expected revenue / expected revenue of the hindsight optimum.

        The optimum is the most that bids with an expected cost of the budget expect to earn, so no bidder exceeds 1 in
        expectation (but for the part of a last click that is not billed, and the optimum's precision with fatigue). A
        single flight can: only the luck of orders is averaged out, not that of auctions, their clicks and prices.
        """
        return ratio(self.expected_revenue, self.oracle_revenue)

    @property
    def bid_violations(self) -> float:
        """Channel-hours with a bid above the cap, per flight."""
        return ratio(self.bids_above_cap, self.flights)

    @property
    def share_violations(self) -> float:
        """Channels with more than their share of the spend, per flight."""
        return ratio(self.shares_above_cap, self.flights)

    @property
    def delivery_violations(self) -> float:
        """Share of flights that delivered too little of their budget."""
        return ratio(self.short_of_delivery, self.flights)

    @property
    def pacing_violations(self) -> float:
        """Hours with too large a pacing error, per flight."""
        return ratio(self.hours_off_pace, self.flights)

    @property
    def safety_violations(self) -> float:
        """Violations of every kind, per flight."""
        kinds = (self.bid_violations, self.share_violations, self.delivery_violations, self.pacing_violations)
        return sum(kinds)

    def as_dict(self) -> dict[str, float]:
        """The sums and the ratios, under the names of this class: what Tune and the JSON files see."""
        sums = {f.name: getattr(self, f.name) for f in fields(self)}
        return sums | {name: getattr(self, name) for name in RATIOS}

    def as_logged(self) -> dict[str, float]:
        """The names under which W&B shows them, the same in a sweep's trial and in a single training."""
        names = ("roas", "delivered_roas", *EXPECTED.values(), "ctr", "conversion_rate", "cpc", "cost", "revenue")
        performance = {name: getattr(self, name) for name in names}
        custom = {f"custom/{name}": getattr(self, name) for name in CUSTOM}
        safety = {f"safety/{name}": getattr(self, name) for name in SAFETY}
        return logged_performance(performance, self.steps, self.conversions) | custom | safety


def logged_performance(values: Mapping[str, float], steps: float, conversions: float) -> dict[str, float]:
    """W&B's names for `values` (named as in EpisodeMetrics, with cost and revenue), and what follows from them.

    NaN where nothing was measured, as with a cost per conversion without conversions.
    """
    return {performance_name(name): value for name, value in values.items()} | {
        "performance/profit": values["revenue"] - values["cost"],
        "efficiency/cost_per_conversion": ratio(values["cost"], conversions),
        "efficiency/revenue_per_step": ratio(values["revenue"], steps),
    }


def logged_episode(number: float, total_reward: float, steps: float) -> dict[str, float]:
    """W&B's names for an episode's own numbers."""
    return {
        "episode/number": number,
        "episode/total_reward": total_reward,
        "episode/steps": steps,
        "episode/reward_per_step": ratio(total_reward, steps),
    }


def performance_name(name: str) -> str:
    """W&B's name for a metric of EpisodeMetrics that is of the campaign's performance."""
    return f"performance/{SHOWN_AS.get(name, name)}"


SHOWN_AS = {"cpc": "avg_cpc", "cost": "total_cost", "revenue": "total_revenue"}
CUSTOM = ("impressions", "clicks", "conversions", "delivery", "optimality")
SAFETY = ("bid_violations", "share_violations", "delivery_violations", "pacing_violations", "safety_violations")
RATIOS = (
    "roas",
    "delivery",
    "delivered_roas",
    *EXPECTED.values(),
    "ctr",
    "conversion_rate",
    "cpc",
    "cpa",
    "optimality",
    *SAFETY,
)
METRIC_NAMES = tuple(f.name for f in fields(EpisodeMetrics)) + RATIOS


@dataclass(frozen=True)
class FlightTotals:
    """Sums of n flights, kept flight by flight (for intervals and paired comparisons): arrays of shape (n,)."""

    steps: int  # hours of one flight; where flights differ in length, of the longest
    impressions: FloatArray
    clicks: FloatArray
    cost: FloatArray
    conversions: FloatArray
    revenue: FloatArray
    budget: FloatArray
    expected_revenue: FloatArray
    oracle_revenue: FloatArray
    bids_above_cap: FloatArray
    shares_above_cap: FloatArray
    short_of_delivery: FloatArray
    hours_off_pace: FloatArray

    def __len__(self) -> int:
        return len(self.cost)

    def __repr__(self) -> str:
        return f"<FlightTotals {len(self):,} flights, {self.steps} steps>"

    def select(self, flights: slice | npt.NDArray[np.intp]) -> FlightTotals:
        """Some of the flights: a slice, or their indices in any order, repeated or not."""
        return replace(self, **{name: getattr(self, name)[flights] for name in PER_FLIGHT})

    @property
    def outlay(self) -> FloatArray:
        """What delivered ROAS divides by: the budgets, or the costs where these are higher in sum."""
        return self.budget if self.budget.sum() > self.cost.sum() else self.cost

    def pooled(self) -> EpisodeMetrics:
        """All flights as one: sums first, ratios after."""
        sums = {name: float(getattr(self, name).sum()) for name in PER_FLIGHT}
        return EpisodeMetrics(flights=len(self), steps=self.steps * len(self), **sums)

    @staticmethod
    def concatenate(parts: Sequence[FlightTotals]) -> FlightTotals:
        """One record of the flights of all parts, in their order."""
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in PER_FLIGHT}
        return FlightTotals(steps=max(part.steps for part in parts), **arrays)


PER_FLIGHT = tuple(f.name for f in fields(FlightTotals) if f.name != "steps")


@dataclass(frozen=True)
class Rollout:
    """What an agent learns from: B flights of T hours, in time order.

    obs: (T, B, D) float32; actions: (T, B, S) float32 in [-1, 1]; rewards: (T, B) revenue / budget;
    dones: (T, B) bool. `progress` is the share of the training that is behind us (0..1), for schedules. `returns`:
    (B,) expected revenue / budget of each flight; the sum of its rewards in an environment of one's own.
    """

    obs: npt.NDArray[np.float32]
    actions: npt.NDArray[np.float32]
    rewards: FloatArray
    dones: npt.NDArray[np.bool_]
    returns: FloatArray
    progress: float


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Evaluation:
    """Fresh flights of a trained agent: pooled metrics, and intervals for ROAS and SCORE at the stated confidence.

    Both intervals are of one agent, whose error is mostly the luck of the flights' rates and prices: expected revenue
    hardly narrows them. The difference of two agents on the same flights has its own (evidence.intervals.compare).
    """

    metrics: EpisodeMetrics
    roas_interval: Interval
    score_interval: Interval
    confidence: float
    totals: FlightTotals

    @property
    def score_name(self) -> str:
        """What SCORE is called for these flights, whose revenue may be realised."""
        return SCORE_NAMES[self.metrics.estimator]

    def __str__(self) -> str:
        metrics, interval = self.metrics, f"[{self.score_interval.low:.3f}, {self.score_interval.high:.3f}]"
        delivery = shown(metrics.delivery, "{:.1%}")
        score = getattr(metrics, SCORE)
        return f"{self.score_name} {score:.3f} {interval}, ROAS {metrics.roas:.3f}, delivery {delivery}"

    def __repr__(self) -> str:
        return f"<Evaluation {self}, {len(self.totals):,} flights>"

    def as_dict(self) -> dict[str, Any]:
        """The metrics with the intervals and the estimator of SCORE, without the single flights."""
        intervals = {"roas": self.roas_interval, SCORE: self.score_interval}
        ends = {f"{name}_{end}": getattr(found, end) for name, found in intervals.items() for end in ("low", "high")}
        about = {"confidence": self.confidence, "estimator": self.metrics.estimator}
        return self.metrics.as_dict() | ends | about
