"""What a finished sweep says about itself: leaderboard rows, selection.json, the W&B summary, the model's card.

Pure: records in; plain values and text out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gaelp_ray.records import shown
from gaelp_ray.results import Candidate, Comparison, Selection, TrialResult
from gaelp_ray.simulator.own import OwnEnv
from gaelp_ray.sweep.planning.constraints import Constraint, violations
from gaelp_ray.sweep.planning.plan import SweepPlan
from gaelp_ray.tracking.artifacts import Leaderboard, Publication

MARKET_USE = """\
with DIR the folder of this file. `model.json` holds the whole configuration and market, `model.npz` the arrays."""
OWN_USE = """\
with DIR the folder of this file. `model.json` holds the configuration, `model.npz` the arrays. The environment is
not in it: run the command in the folder of its module, whose source must be what it was when the sweep ran."""
MARKET_LIMITS = """\
The numbers hold for the simulated market and its departures, which are partly assumed (`gaelp-ray markets`)."""
OWN_LIMITS = """\
The numbers hold for this environment as its source was when the sweep ran."""


def rows(
    selection: Selection, trials: Sequence[TrialResult], metric: str, goal: str, constraints: Sequence[Constraint] = ()
) -> list[dict[str, Any]]:
    """The leaderboard: the re-flown arms in their ranking, then the other trials by search score.

    Of the latter, those whose validation flights broke a constraint say so: others were re-flown before them.
    """
    flown = {c.label for c in selection.ranking}
    others = [t for t in trials if t.trial not in flown]
    sign = -1.0 if goal == "maximize" else 1.0
    others.sort(key=lambda t: sign * t.score(metric) if math.isfinite(t.score(metric)) else math.inf)
    board = [_row(c.label, c.trial, c, selection, metric) for c in selection.ranking]
    board += [_row(t.trial, t, None, selection, metric) | _passed_over(t, constraints) for t in others]
    return [{"rank": number, **row} for number, row in enumerate(board, 1)]


def _row(
    label: str, trial: TrialResult | None, arm: Candidate | None, selection: Selection, metric: str
) -> dict[str, Any]:
    flown = arm.evaluation.as_dict() if arm else {}
    names = ("roas", "roas_low", "roas_high", "delivery", "delivered_roas", "optimality", "cpa")
    return {
        "trial": label,
        "role": arm.role if arm else "not re-flown",
        "agent": trial.config["agent_type"] if trial else "BayesDual",
        "status": str(trial.status) if trial else "completed",
        **{name: flown.get(name) for name in names},
        "ineligible": selection.ineligible.get(label, ""),
        "search_score": trial.score(metric) if trial else None,
        "search_se": _known(trial.standard_error(metric)) if trial else None,
        "seeds": len(trial.seeds) if trial else 0,
        "config_id": trial.config_id if trial else "",
        "iterations": trial.iterations if trial else 0,
        "env_steps": trial.env_steps if trial else 0,
        "seconds": trial.seconds if trial else 0.0,
        "params": dict(trial.params) if trial else {},
        "error": (trial.error or "") if trial else "",
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _passed_over(trial: TrialResult, constraints: Sequence[Constraint]) -> dict[str, str]:
    broken = violations(trial.metrics, constraints) if trial.metrics else []
    return {"ineligible": f"in validation, {' and '.join(broken)}"} if broken else {}


def table(board: Sequence[Mapping[str, Any]]) -> Leaderboard:
    """The leaderboard as W&B takes it: texts and numbers, no nested values."""
    columns = list(board[0])
    return Leaderboard(columns, [[_cell(row[name]) for name in columns] for row in board])


def _cell(value: Any) -> Any:
    return ", ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, Mapping) else value


def selection_record(
    plan: SweepPlan, selection: Selection, board: Sequence[Mapping[str, Any]], publication: Publication
) -> dict[str, Any]:
    """selection.json: the decision and everything that it rests on."""
    spec = plan.spec
    return {
        "sweep": spec.name,
        "decision": "winner" if selection.winner else "none",
        "reason": selection.reason,
        "winner": winner_record(selection.winner) if selection.winner else None,
        "versus_default": _comparison(selection.versus_default),
        "versus_reference": _comparison(selection.versus_reference),
        "episodes": spec.select.episodes,
        "confidence": spec.select.confidence,
        "min_delivery": spec.select.min_delivery,
        "constraints": dict(spec.select.constraints),
        "metric": spec.metric.name,
        "ineligible": dict(selection.ineligible),
        "leaderboard": list(board),
        "artifact": {"name": publication.artifact, "mode": publication.mode, "error": publication.error},
    }


def winner_record(winner: Candidate) -> dict[str, Any]:
    """The winner and what it earned in the final stage."""
    trial = winner.trial
    return {
        "trial": winner.label,
        "role": winner.role,
        "params": dict(trial.params) if trial else {},
        "config": dict(trial.config) if trial else {},
        "evaluation": winner.evaluation.as_dict(),
    }


def _comparison(comparison: Comparison | None) -> dict[str, Any] | None:
    if comparison is None:
        return None
    return {
        "difference": comparison.difference,
        "low": comparison.interval.low,
        "high": comparison.interval.high,
        "verdict": comparison.verdict,
    }


def run_summary(selection: Selection) -> dict[str, Any]:
    """The summary of the `select` run."""
    if selection.winner is None:
        return {"decision": "none", "reason": selection.reason}
    logged = selection.winner.evaluation.as_dict()
    names = ("roas", "roas_low", "roas_high", "delivery", "delivered_roas", "optimality")
    return {
        "decision": "winner",
        "reason": selection.reason,
        "winner": selection.winner.label,
        **{f"winner/{n}": logged[n] for n in names},
    }


def card(plan: SweepPlan, winner: Candidate, reason: str) -> str:
    """card.md: what the model is, what it earned, how to use it, and its limits."""
    metrics, interval = winner.evaluation.metrics, winner.evaluation.roas_interval
    params = dict(winner.trial.params) if winner.trial else {}
    settings = "\n".join(f"- `{name}`: {value}" for name, value in params.items()) or "- all defaults"
    agent = winner.trial.config["agent_type"] if winner.trial else "BayesDual"
    own = isinstance(plan.market, OwnEnv)
    return f"""# {plan.spec.name}-best

A {agent} bidder for the {"environment" if own else "market"} `{plan.market.name}` ({plan.market.description}), the
winner of the sweep `{plan.spec.name}` (trial `{winner.label}`).

| metric | value |
|---|---|
| ROAS | {metrics.roas:.3f} ({winner.evaluation.confidence:.0%} interval {interval.low:.3f} to {interval.high:.3f}) |
| delivery | {shown(metrics.delivery, "{:.1%}", "of the budget")} |
| optimality | {shown(metrics.optimality, "{:.1%}", "of the hindsight optimum")} |
| cost per conversion | {shown(metrics.cpa, "{:.2f}", plan.market.currency)} |
| flights | {metrics.flights} fresh ones, never used in training or search |

Decision: {reason}.

## Parameters that the sweep chose

{settings}

## Use

    gaelp-ray evaluate DIR --episodes 512

{OWN_USE if own else MARKET_USE}

## Limits

{OWN_LIMITS if own else MARKET_LIMITS}
The interval is that of these flights; it does not account for the choice of the best among several.
"""
