"""Who takes part in the final stage, and what its outcome is. Pure functions over our own records.

Who is kept is decided by the race (race.py). Here the decision is put into words and compared: ROAS of the arm that is
kept against the control arm (the default configuration) and the reference line (BayesDual with its default constants),
by a paired bootstrap over the confirmation's flights: flights are resampled once and both arms' ROAS recomputed on the
same resample, so that what the flights have in common cancels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gaelp_ray.evidence.intervals import compare
from gaelp_ray.results import Candidate, Comparison, Selection, TrialResult, TrialStatus
from gaelp_ray.sweep.format.space import canonical
from gaelp_ray.sweep.outcome.eligibility import Eligibility
from gaelp_ray.sweep.outcome.race import ALONE, Verdict
from gaelp_ray.sweep.planning.constraints import Constraint, violations


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
    candidates: Sequence[Candidate],
    verdict: Verdict,
    eligibility: Eligibility,
    confidence: float,
    known: Mapping[str, str] | None = None,
) -> Selection:
    """The outcome: who is kept, in words, beside the control arm and the reference line.

    An arm that does not deliver, or breaks a constraint in its pooled metrics, may not win. Only the former is no
    yardstick either: ROAS falls with the spending, so that arms compare where both deliver. An arm that breaks another
    bound has delivered, and what the winner earns more or less than it is what keeping the bounds brings or costs; the
    reason then says which ones it breaks. `known` are faults that are known besides those which the flights show.
    """
    ineligible = {c.label: fault for c in candidates if (fault := _fault(c, eligibility))} | dict(known or {})
    ranking = tuple(sorted(candidates, key=lambda c: _rank(c, verdict, ineligible)))
    kept = next((c for c in candidates if c.label == verdict.kept), None)
    if kept is None:
        return Selection(ranking, ineligible, None, _nobody(ranking, ineligible))
    parts, found = [_outcome(kept, verdict, eligibility)], dict[str, Comparison | None]()
    for role, name in (("default", "the default configuration"), ("reference", "BayesDual with its default constants")):
        other = next((c for c in candidates if c.role == role and c is not kept), None)
        found[role] = _against(kept, other, eligibility, confidence)
        if other:
            parts.append(_versus(name, other, found[role], eligibility))
    return Selection(
        ranking, ineligible, kept, "; ".join(parts), found["default"], found["reference"],
        verdict.decision, verdict.rule, verdict.tied,
    )  # fmt: skip


def _fault(arm: Candidate, eligibility: Eligibility) -> str:
    """Sums are judged on the confirmation's flights, whose number is that of the sweep file."""
    return (eligibility if arm.confirmed else eligibility.of_any_flights).fault(arm.evaluation.metrics)


def _rank(arm: Candidate, verdict: Verdict, ineligible: Mapping[str, str]) -> tuple[bool, bool, bool, float]:
    dropped = arm.race is not None and arm.race.dropped is not None and arm.label not in verdict.tied
    roas = arm.evaluation.metrics.roas
    barred = arm.label in ineligible and arm.role != "reference"
    return barred, arm.label != verdict.kept, dropped, -roas if math.isfinite(roas) else math.inf


def _outcome(kept: Candidate, verdict: Verdict, eligibility: Eligibility) -> str:
    among = eligibility.that_may_win(kept.evaluation.metrics)
    others = ", ".join(verdict.tied)
    if verdict.decision == "winner":
        said = f"{kept.label} has the best ROAS among the arms{among}"
    elif verdict.rule == ALONE:
        said = f"a tie: {kept.label} is {ALONE}, and it is open whether {others} may win"
    else:
        said = f"a tie: of {kept.label} and {others} it is open which has the best ROAS among the arms{among}"
        said += f"; {verdict.rule}"
    nothing = "; it is the default configuration: the sweep found nothing that is better for certain"
    return said + (nothing if kept.role == "default" else "")


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


def _nobody(arms: Sequence[Candidate], ineligible: Mapping[str, str]) -> str:
    reasons = [f"{c.label} ({ineligible[c.label]})" for c in arms if c.role != "reference"]
    counted = f"{len(reasons)} of {len(reasons)} re-flown may not win: " if len(reasons) > 1 else ""
    return f"no eligible trial: {counted}{', '.join(reasons) or 'none completed'}"


def _against(
    kept: Candidate, other: Candidate | None, eligibility: Eligibility, confidence: float
) -> Comparison | None:
    """None where there is nothing to compare with: ROAS of an arm that did not deliver is no yardstick."""
    if other is None or eligibility.undelivered(other.evaluation.metrics):
        return None
    return compare(kept.evaluation.totals, other.evaluation.totals, confidence)


def _versus(name: str, arm: Candidate, comparison: Comparison | None, eligibility: Eligibility) -> str:
    metrics = arm.evaluation.metrics
    if comparison is None:
        return f"{name} is no yardstick: it {eligibility.undelivered(metrics)}"
    difference = f"{comparison.difference:+.3f} [{comparison.interval.low:+.3f}, {comparison.interval.high:+.3f}]"
    broken = f", whose {faults}" if (faults := eligibility.broken(metrics)) else ""
    if comparison.verdict == "tie":
        return f"a tie with {name} ({difference}){broken}"
    return f"{comparison.verdict} {name} ({difference}){broken}"
