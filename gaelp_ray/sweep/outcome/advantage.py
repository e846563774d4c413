"""How much of an arm's advantage in the search did not last on fresh flights.

Search and confirmation use different flights, whose level is common to all arms: only differences on the same flights
can be compared. Pure. Start at advantage_of().
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gaelp_ray.records import score_metric
from gaelp_ray.results import Candidate


@dataclass(frozen=True)
class Advantage:
    """An arm's score minus the control arm's, by the metric of the search."""

    search: float  # on the validation flights, which chose the arm
    fresh: float  # on the confirmation's flights

    @property
    def shrinkage(self) -> float:
        """What did not last: the luck of being selected, if the arm was."""
        return self.search - self.fresh


def advantage_of(arm: Candidate, arms: Sequence[Candidate], metric: str) -> Advantage | None:
    """None for the control arm itself, in a sweep without one, and for arms that were not confirmed."""
    control = next((other for other in arms if other.role == "default"), None)
    if control is None or control.label == arm.label or not (arm.confirmed and control.confirmed):
        return None
    (search, fresh), (of_control, fresh_of_control) = (_scores(one, metric) for one in (arm, control))
    found = Advantage(search - of_control, fresh - fresh_of_control)
    return found if math.isfinite(found.shrinkage) else None


def _scores(arm: Candidate, metric: str) -> tuple[float, float]:
    """(in the search, on fresh flights); NaN where one was not measured."""
    searched = arm.trial.score(metric) if arm.trial else math.nan
    return searched, float(arm.evaluation.as_dict().get(score_metric(metric), math.nan))
