"""Who takes part in the final stage, and what its outcome is. Pure functions over our own records.

The race (race.py) selects an arm. Here the decision is put into words and the selected arm is compared with the control
arm (the default configuration) and the baseline (BayesDual with its default constants), by SCORE, with a paired
bootstrap over the confirmation's flights: flights are resampled once and both scores recomputed on the same resample,
so that what the flights have in common cancels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gaelp_ray.evidence.intervals import compare
from gaelp_ray.records import SCORE
from gaelp_ray.results import Candidate, Comparison, Selection, TrialResult, TrialStatus
from gaelp_ray.sweep.format.space import canonical
from gaelp_ray.sweep.outcome.eligibility import Eligibility
from gaelp_ray.sweep.outcome.race import ALONE, Verdict


def finalists(
    results: Sequence[TrialResult], metric: str, goal: str, top_k: int, eligibility: Eligibility
) -> list[TrialResult]:
    """The trials that the final stage evaluates: the best top_k by search score, and the control arm.

    A trial that a rule of the sweep ended early takes part with what it had learned by then; one that a scheduler
    stopped has no score. Trials whose validation flights keep all bounds come before those that break one. The latter
    only fill up what is left of top_k: validation is noisy, and on more flights one of them may keep the bound.
    Trials that failed, or whose score is not a finite number, never take part; a configuration counts once.
    """
    sampled = [r for r in _ranked(results, metric, goal, eligibility) if not r.is_default]
    return sampled[:top_k] + [r for r in results if r.is_default and _is_scored(r, metric)]


def next_finalists(
    results: Sequence[TrialResult], metric: str, goal: str, top_k: int, eligibility: Eligibility
) -> list[TrialResult]:
    """Where all finalists turned out not to be eligible: the next top_k of `results`, the trials that did not race.

    Only trials whose validation flights keep all bounds: the others had less chance than those that raced.
    """
    kept = [r for r in results if eligibility.is_kept_by(r.metrics or {})]
    return [r for r in _ranked(kept, metric, goal, eligibility) if not r.is_default][:top_k]


def _ranked(results: Sequence[TrialResult], metric: str, goal: str, eligibility: Eligibility) -> list[TrialResult]:
    """Distinct configurations with a score, best first; those that break a bound last."""
    sign = -1.0 if goal == "maximize" else 1.0
    scored = [r for r in results if _is_scored(r, metric)]
    ranked = sorted(scored, key=lambda r: (not eligibility.is_kept_by(r.metrics or {}), sign * r.score(metric)))
    distinct = {canonical(dict(r.config)): r for r in reversed(ranked)}
    return [r for r in ranked if distinct[canonical(dict(r.config))] is r]


def _is_scored(result: TrialResult, metric: str) -> bool:
    ended = (TrialStatus.COMPLETED, TrialStatus.STOPPED)
    return result.status in ended and math.isfinite(result.score(metric))


def select(
    candidates: Sequence[Candidate],
    verdict: Verdict,
    eligibility: Eligibility,
    confidence: float,
    known: Mapping[str, str] | None = None,
) -> Selection:
    """The outcome: the selected arm, in words, beside the control arm and the baseline.

    An arm that does not deliver, or breaks a constraint in its pooled metrics, is not eligible. Control arm and
    baseline are compared all the same: the score counts the whole budget for both, and the difference is what keeping
    the bounds brings or costs; the reason says which bounds they break. `known`: faults besides those which the
    flights show.
    """
    ineligible = {c.label: fault for c in candidates if (fault := _fault(c, eligibility))} | dict(known or {})
    ranking = tuple(sorted(candidates, key=lambda c: _rank(c, verdict, ineligible)))
    kept = next((c for c in candidates if c.label == verdict.kept), None)
    if kept is None:
        return Selection(ranking, ineligible, None, _why_no_winner(ranking, ineligible, eligibility))
    parts, found = [_outcome(kept, verdict, eligibility)], dict[str, Comparison | None]()
    for role, name in (("default", "the default configuration"), ("reference", "BayesDual with its default constants")):
        other = next((c for c in candidates if c.role == role and c is not kept), None)
        found[role] = compare(kept.evaluation.totals, other.evaluation.totals, confidence) if other else None
        if other and (comparison := found[role]):
            parts.append(_versus(name, comparison, eligibility.fault(other.evaluation.metrics)))
    return Selection(
        ranking, ineligible, kept, "; ".join(parts), found["default"], found["reference"],
        verdict.decision, verdict.rule, verdict.tied,
    )  # fmt: skip


def _fault(arm: Candidate, eligibility: Eligibility) -> str:
    """Sums are judged on the confirmation's flights, whose number is that of the sweep file."""
    return (eligibility if arm.confirmed else eligibility.of_any_flights).fault(arm.evaluation.metrics)


def _rank(arm: Candidate, verdict: Verdict, ineligible: Mapping[str, str]) -> tuple[bool, bool, bool, float]:
    dropped = arm.race is not None and arm.race.dropped is not None and arm.label not in verdict.tied
    score = arm.evaluation.metrics.as_dict()[SCORE]
    barred = arm.label in ineligible and arm.role != "reference"
    return barred, arm.label != verdict.kept, dropped, -score if math.isfinite(score) else math.inf


def _outcome(kept: Candidate, verdict: Verdict, eligibility: Eligibility) -> str:
    among = eligibility.that_may_win(kept.evaluation.metrics)
    tied = " and ".join(filter(None, (", ".join((kept.label, *verdict.tied[:-1])), *verdict.tied[-1:])))
    if verdict.decision == "winner":
        text = f"{kept.label} has the highest {kept.evaluation.score_name} of the arms{among}"
    elif verdict.rule == ALONE:
        text = f"tie between {tied}: {kept.label} is {ALONE}, the others may still turn out to be eligible"
    else:
        text = f"tie between {tied} among the arms{among}; selected {kept.label} by tie-break: {verdict.rule}"
    nothing = "; it is the default configuration: no trial is certainly better"
    return text + (nothing if kept.role == "default" else "")


def no_winner(trials: Sequence[TrialResult], metric: str) -> Selection:
    """The selection of a sweep none of whose trials could be re-flown, and why."""
    errors = list(dict.fromkeys(t.error for t in trials if t.status is TrialStatus.FAILED))
    failed = sum(t.status is TrialStatus.FAILED for t in trials)
    unmeasured = sum(t.status is TrialStatus.COMPLETED and not math.isfinite(t.score(metric)) for t in trials)
    others = f"; and {len(errors) - 1} other reasons" if len(errors) > 1 else ""
    parts = [f"{failed} of {len(trials)} failed: {errors[0]}{others}"] if failed else []
    if unmeasured:
        parts.insert(0, f"{unmeasured} of {len(trials)} measured no {metric}")
    return Selection((), {}, None, f"no eligible trial: {', '.join(parts)}")


def _why_no_winner(arms: Sequence[Candidate], ineligible: Mapping[str, str], eligibility: Eligibility) -> str:
    arms = [arm for arm in arms if arm.role != "reference"]
    reasons = [f"{arm.label} ({ineligible[arm.label]})" for arm in arms]
    counted = f"all {len(reasons)} evaluated arms are ineligible: " if len(reasons) > 1 else ""
    return f"no eligible trial: {counted}{', '.join(reasons) or 'none completed'}{_remedy(arms, eligibility)}"


def _remedy(arms: Sequence[Candidate], eligibility: Eligibility) -> str:
    """Where no arm delivers: the largest delivery seen, and what to do about it."""
    seen = {
        arm.label: arm.evaluation.metrics.delivery for arm in arms if not math.isnan(arm.evaluation.metrics.delivery)
    }
    if not seen or max(seen.values()) >= eligibility.min_delivery:
        return ""
    label = max(seen, key=lambda one: seen[one])
    bound = math.floor(100.0 * seen[label]) / 100.0
    return (
        f". The largest delivery seen is {seen[label]:.1%} ({label}): give the market a budget that it can spend "
        f"(`gaelp-ray calibrate --budget`), or accept less with `--set select.min_delivery={bound:g}`"
    )


def _versus(name: str, comparison: Comparison, fault: str) -> str:
    if comparison.difference == comparison.interval.low == comparison.interval.high == 0.0:
        return f"it bids the same as {name}"
    difference = f"{comparison.difference:+.3f} [{comparison.interval.low:+.3f}, {comparison.interval.high:+.3f}]"
    broken = f", which is not eligible: {fault}" if fault else ""
    return f"{'tie with' if comparison.verdict == 'tie' else comparison.verdict} {name} ({difference}){broken}"
