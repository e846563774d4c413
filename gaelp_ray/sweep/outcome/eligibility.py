"""Who may win: arms that deliver the budget and keep the sweep's constraints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gaelp_ray.evidence.pooled import pooled_ratio
from gaelp_ray.evidence.sequences import ConfidenceSequence
from gaelp_ray.records import RATIOS, EpisodeMetrics, FlightTotals
from gaelp_ray.sweep.planning.constraints import Constraint, in_words, violations


@dataclass(frozen=True)
class Eligibility:
    """What an arm's flights must show."""

    min_delivery: float
    constraints: Sequence[Constraint] = ()

    @property
    def bounds(self) -> tuple[Constraint, ...]:
        """All of it as bounds on metrics."""
        delivery = Constraint("min", "delivery", self.min_delivery)
        return (*([delivery] if self.min_delivery > 0 else []), *self.constraints)

    @property
    def of_any_flights(self) -> Eligibility:
        """Without bounds on sums, which mean something for one number of flights only."""
        return replace(self, constraints=tuple(c for c in self.constraints if c.metric in RATIOS))

    def fault(self, metrics: EpisodeMetrics) -> str:
        """Why these flights do not let an arm win, all of it; empty where they do."""
        return "; ".join(filter(None, (self.undelivered(metrics), self.broken(metrics))))

    def undelivered(self, metrics: EpisodeMetrics) -> str:
        """Empty where the flights deliver, as they do without a budget."""
        if not math.isfinite(metrics.roas):
            return "spent nothing, so that its ROAS is undefined"
        if metrics.delivery < self.min_delivery:
            return f"delivers {metrics.delivery:.2%} of the budget, below min_delivery {100.0 * self.min_delivery:g}%"
        return ""

    def is_kept_by(self, validation: Mapping[str, float]) -> bool:
        """Whether a trial's validation metrics keep all bounds; delivery counts where there is a budget."""
        short = validation.get("delivery", math.nan) < self.min_delivery
        return not (short or violations(validation, self.constraints))

    def broken(self, metrics: EpisodeMetrics) -> str:
        """The constraints that the flights break; empty for none."""
        return " and ".join(violations(metrics.as_dict(), self.constraints))

    def certainly(self, flights: FlightTotals, sequence: ConfidenceSequence) -> bool | None:
        """Whether an arm may win, by the intervals of all bounds; None while one of them does not tell.

        A bound without an interval (on what was not measured) counts as it is at present.
        """
        fault = self.fault(flights.pooled())
        if not flights.cost.sum() > 0:
            return False
        beyond, unclear = False, bool(fault)
        for bound in self.bounds:
            ratio = pooled_ratio(flights, bound.metric)
            if ratio is None:
                continue
            interval = sequence.interval(ratio)
            ends = [bound.broken_by(interval.low), bound.broken_by(interval.high)]
            beyond |= all(ends)
            unclear |= any(ends)
        return False if beyond else (None if unclear else True)

    def that_may_win(self, metrics: EpisodeMetrics) -> str:
        """Such as ` that deliver the budget and keep max_cpa 200`; an environment of one's own may have no budget."""
        budgeted = not math.isnan(metrics.delivery)
        kept = ["deliver the budget"] * budgeted + [f"keep {in_words(self.constraints)}"] * bool(self.constraints)
        return f" that {' and '.join(kept)}" if kept else ""
