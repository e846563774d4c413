"""Who wins the final stage, and how sure that is. Pure functions over our own records.

Every arm has flown the same fresh flights. The winner has the best pooled ROAS among the arms that deliver the budget
and keep the sweep's constraints; it is compared with the control arm (the default configuration) and with the
reference line (BayesDual with its default constants) by a paired bootstrap: flights are resampled once and both arms'
ROAS recomputed on the same resample, so that what the flights have in common cancels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gaelp_ray.results import Candidate, Comparison, Selection, TrialResult, TrialStatus
from gaelp_ray.sweep.format.space import canonical
from gaelp_ray.sweep.planning.constraints import Constraint, in_words, violations
from gaelp_ray.training import compare


def finalists(
    results: Sequence[TrialResult], metric: str, goal: str, top_k: int, constraints: Sequence[Constraint] = ()
) -> list[TrialResult]:
    """The trials that the final stage re-flies: the best top_k by search score, and the control arm.

    A trial that a rule of the sweep ended early takes part with what it had learned by then; one that a scheduler
    stopped has no score. Trials whose validation flights keep the constraints come before those that break one. The
    latter only fill up what is left of top_k: validation is noisy, and on more flights one of them may keep the bound.
    Trials that failed, or whose score is not a finite number, never take part; a configuration counts once.
    """
    sign = -1.0 if goal == "maximize" else 1.0
    ended = (TrialStatus.COMPLETED, TrialStatus.STOPPED)
    eligible = [r for r in results if r.status in ended and math.isfinite(r.score(metric))]
    sampled = [r for r in eligible if not r.is_default]
    ranked = sorted(sampled, key=lambda r: (bool(violations(r.metrics or {}, constraints)), sign * r.score(metric)))
    distinct = {canonical(dict(r.config)): r for r in reversed(ranked)}
    best = [r for r in ranked if distinct[canonical(dict(r.config))] is r][:top_k]
    return best + [r for r in eligible if r.is_default]


def select(
    candidates: Iterable[Candidate], min_delivery: float, confidence: float, constraints: Sequence[Constraint] = ()
) -> Selection:
    """Rank the arms, name the winner, and compare it with the control arm and the reference line.

    An arm that does not deliver, or breaks a constraint in its pooled metrics, may not win. Only the former is no
    yardstick either: ROAS falls with the spending, so that arms compare where both deliver. An arm that breaks another
    bound has delivered, and what the winner earns more or less than it is what keeping the bounds brings or costs; the
    reason then says which ones it breaks.
    """
    arms = sorted(candidates, key=lambda c: -_sortable(c.evaluation.metrics.roas))
    faults = _Faults.of(arms, min_delivery, constraints)
    ineligible = {c.label: reason for c in arms if (reason := faults.reason(c))}
    ranking = tuple(sorted(arms, key=lambda c: c.label in ineligible and c.role != "reference"))
    winner = next((c for c in arms if c.label not in ineligible and c.role != "reference"), None)
    if winner is None:
        return Selection(ranking, ineligible, None, _nobody(arms, ineligible))
    default = next((c for c in arms if c.role == "default"), None)
    reference = next((c for c in arms if c.role == "reference"), None)
    versus_default = _against(winner, default, faults, confidence)
    versus_reference = _against(winner, reference, faults, confidence)
    parts = [f"{winner.label} has the best ROAS among the arms{_that_may_win(winner, constraints)}"]
    if winner is default:
        parts.append("it is the default configuration: the sweep found nothing better")
    elif default:
        parts.append(_versus("the default configuration", default, versus_default, faults))
    if reference:
        parts.append(_versus("BayesDual with its default constants", reference, versus_reference, faults))
    return Selection(ranking, ineligible, winner, "; ".join(parts), versus_default, versus_reference)


def _that_may_win(winner: Candidate, constraints: Sequence[Constraint]) -> str:
    """Without a budget, which an environment of the user's own need not have, every arm delivers."""
    budgeted = not math.isnan(winner.evaluation.metrics.delivery)
    kept = ["deliver the budget"] * budgeted + [f"keep {in_words(constraints)}"] * bool(constraints)
    return f" that {' and '.join(kept)}" if kept else ""


@dataclass(frozen=True)
class _Faults:
    """Why arms may not win, by label: those that did not deliver, and those that break constraints."""

    undelivered: Mapping[str, str]
    broken: Mapping[str, str]

    @classmethod
    def of(cls, arms: Sequence[Candidate], min_delivery: float, constraints: Sequence[Constraint]) -> _Faults:
        """Every arm judged by its pooled flights."""
        undelivered = {c.label: _undelivered(c, min_delivery) for c in arms}
        broken = {c.label: " and ".join(violations(c.evaluation.metrics.as_dict(), constraints)) for c in arms}
        return cls(undelivered, broken)

    def reason(self, arm: Candidate) -> str:
        """All faults of one arm; empty where it may win."""
        return "; ".join(filter(None, (self.undelivered[arm.label], self.broken[arm.label])))


def nobody(trials: Sequence[TrialResult], metric: str) -> Selection:
    """The selection of a sweep none of whose trials could be re-flown, and why."""
    errors = list(dict.fromkeys(t.error for t in trials if t.status is TrialStatus.FAILED))
    failed = sum(t.status is TrialStatus.FAILED for t in trials)
    unmeasured = sum(t.status is TrialStatus.COMPLETED and not math.isfinite(t.score(metric)) for t in trials)
    others = f"; and {len(errors) - 1} other reasons" if len(errors) > 1 else ""
    parts = [f"{failed} of {len(trials)} failed: {errors[0]}{others}"] if failed else []
    if unmeasured:
        parts.insert(0, f"{unmeasured} of {len(trials)} measured no {metric}")
    return Selection((), {}, None, f"no eligible trial: {', '.join(parts)}")


def _sortable(roas: float) -> float:
    return roas if math.isfinite(roas) else -math.inf


def _undelivered(arm: Candidate, min_delivery: float) -> str:
    """Empty where an arm delivers."""
    metrics = arm.evaluation.metrics
    if not math.isfinite(metrics.roas):
        return "spent nothing, so that its ROAS is undefined"
    if metrics.delivery < min_delivery:
        return f"delivers {metrics.delivery:.2%} of the budget, below min_delivery {100.0 * min_delivery:g}%"
    return ""


def _nobody(arms: Sequence[Candidate], ineligible: Mapping[str, str]) -> str:
    reasons = [f"{c.label} ({ineligible[c.label]})" for c in arms if c.role != "reference"]
    return f"no eligible trial: {', '.join(reasons) or 'none completed'}"


def _against(winner: Candidate, other: Candidate | None, faults: _Faults, confidence: float) -> Comparison | None:
    """None where there is nothing to compare with: ROAS of an arm that did not deliver is no yardstick."""
    if other is None or other is winner or faults.undelivered[other.label]:
        return None
    return compare(winner.evaluation.totals, other.evaluation.totals, confidence)


def _versus(name: str, arm: Candidate, comparison: Comparison | None, faults: _Faults) -> str:
    if comparison is None:
        return f"{name} is no yardstick: it {faults.undelivered[arm.label]}"
    difference = f"{comparison.difference:+.3f} [{comparison.interval.low:+.3f}, {comparison.interval.high:+.3f}]"
    broken = f", whose {faults.broken[arm.label]}" if faults.broken[arm.label] else ""
    if comparison.verdict == "tie":
        return f"a tie with {name} ({difference}){broken}"
    return f"{comparison.verdict} {name} ({difference}){broken}"
