"""What a finished sweep says about itself: leaderboard rows, selection.json, the W&B summary, the model's card.

Pure: records in; plain values and text out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.records import SCORE, SCORE_NAMES, EpisodeMetrics, score_metric, shown
from gaelp_ray.results import Candidate, Selection, TrialResult
from gaelp_ray.simulator.own import OwnEnv
from gaelp_ray.sweep.outcome import about, markets
from gaelp_ray.sweep.outcome.advantage import advantage_of
from gaelp_ray.sweep.planning.applicability import applicable
from gaelp_ray.sweep.planning.constraints import Constraint, violations
from gaelp_ray.sweep.planning.plan import SweepPlan
from gaelp_ray.tracking.artifacts import Leaderboard

MARKET_USE = """\
with DIR the folder of this file, or in its place `ENTITY/PROJECT/ARTIFACT:ALIAS` of W&B. `model.json` holds the whole
configuration and market, `model.npz` the arrays."""
OWN_USE = """\
with DIR the folder of this file, or in its place `ENTITY/PROJECT/ARTIFACT:ALIAS` of W&B. `model.json` holds the
configuration, `model.npz` the arrays. The environment is not in it: run the command in the folder of its module, whose
source must be what it was when the sweep ran."""
MARKET_LIMITS = """\
The numbers hold for the simulated market and its departures, which are partly assumed (`gaelp-ray markets`)."""
OWN_LIMITS = """\
The numbers hold for this environment as its source was when the sweep ran."""

RANKED = (SCORE, f"{SCORE}_low", f"{SCORE}_high")


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
    names = (*RANKED, "estimator", "roas", "roas_low", "roas_high", "delivery", "optimality", "cpa")
    search, reflown = trial.score(metric) if trial else math.nan, float(flown.get(score_metric(metric), math.nan))
    advantage = advantage_of(arm, selection.ranking, metric) if arm else None
    return {
        "trial": label,
        "role": arm.role if arm else "not re-flown",
        "agent": trial.config["agent_type"] if trial else "BayesDual",
        "status": str(trial.status) if trial else "completed",
        **{name: flown.get(name) for name in names},
        "ineligible": selection.ineligible.get(label, ""),
        "search_score": search if trial else None,
        "search_se": _known(trial.standard_error(metric)) if trial else None,
        "reflown_score": _known(reflown),
        "shrinkage": advantage.shrinkage if advantage else None,
        **_raced(arm),
        "seeds": len(trial.seeds) if trial else 0,
        "config_id": trial.config_id if trial else "",
        "iterations": trial.iterations if trial else 0,
        "env_steps": trial.env_steps if trial else 0,
        "seconds": trial.seconds if trial else 0.0,
        "params": dict(trial.params) if trial else {},
        "error": (trial.error or "") if trial else "",
    }


def _raced(arm: Candidate | None) -> dict[str, Any]:
    """What the arm's numbers rest on, and how it did in the race."""
    race = arm.race if arm else None
    return {
        "rests_on": ("confirmation" if arm.confirmed else "race") if arm else "",
        "flights": arm.evaluation.metrics.flights if arm else 0,
        "race_flights": race.flights if race else 0,
        "race_score": _known(race.score) if race else None,
        "dropped_round": race.dropped if race else None,
        "dropped_by": race.by if race else "",
        "weights": dict(arm.weights) if arm else {},
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


def selection_record(plan: SweepPlan, selection: Selection, board: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """selection.json: the decision and everything that it rests on; what W&B has of it is added afterwards."""
    spec = plan.spec
    return {
        "sweep": spec.name,
        "decision": selection.decision,
        "rule": selection.rule,
        "tied": list(selection.tied),
        "reason": selection.reason,
        "winner": winner_record(selection.winner, selection, spec.metric.name) if selection.winner else None,
        "versus_default": selection.versus_default.as_dict() if selection.versus_default else None,
        "versus_reference": selection.versus_reference.as_dict() if selection.versus_reference else None,
        "markets": markets.record(plan, selection),
        "race": vars(selection.race) if selection.race else None,
        "play_off": selection.play_off.as_dict() if selection.play_off else None,
        "episodes": spec.select.episodes,
        "confidence": spec.select.confidence,
        "min_delivery": spec.select.min_delivery,
        "constraints": dict(spec.select.constraints),
        "metric": spec.metric.name,
        "score": SCORE,
        "ineligible": dict(selection.ineligible),
        "leaderboard": list(board),
    }


def winner_record(winner: Candidate, selection: Selection, metric: str) -> dict[str, Any]:
    """The selected arm, what it earned when confirmed, and how much of its advantage in the search lasted."""
    trial, advantage = winner.trial, advantage_of(winner, selection.ranking, metric)
    search, reflown = trial.score(metric) if trial else math.nan, winner.evaluation.as_dict()[score_metric(metric)]
    return {
        "trial": winner.label,
        "role": winner.role,
        "params": dict(trial.params) if trial else {},
        "config": dict(trial.config) if trial else {},
        "weights": dict(winner.weights),
        "search_score": _known(search),
        "reflown_score": _known(reflown),
        "search_advantage": advantage.search if advantage else None,
        "fresh_advantage": advantage.fresh if advantage else None,
        "shrinkage": advantage.shrinkage if advantage else None,
        "evaluation": winner.evaluation.as_dict(),
        "intervals": about.ends(winner.evaluation),
        "markets": {name: evaluation.as_dict() for name, evaluation in winner.markets.items()},
    }


def run_summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """The summary of the `select` run, from what selection.json holds."""
    race = {f"race/{name}": value for name, value in (record.get("race") or {}).items()}
    race |= {f"play_off/{name}": value for name, value in (record.get("play_off") or {}).items()}
    told = {"decision": record["decision"], "rule": record.get("rule", ""), "reason": record["reason"], **race}
    winner = record["winner"]
    if winner is None:
        return told
    names = (*RANKED, "roas", "roas_low", "roas_high", "delivery", "optimality")
    told |= {f"winner/{name}": winner.get(name) for name in ("search_score", "reflown_score", "shrinkage")}
    told |= {f"winner/{name}": winner["evaluation"][name] for name in names}
    for market, found in winner.get("markets", {}).items():
        told |= {f"markets/{market}/{name}": found[name] for name in names}
    return told | {"winner": winner["trial"], "tied": ", ".join(record.get("tied", ()))}


def card(plan: SweepPlan, selection: Selection, run: str = "") -> str:
    """card.md: what the model is that was kept, what it earned, how to use it, and its limits.

    `run` is the path of the W&B run that trained it.
    """
    winner = selection.winner
    assert winner is not None
    trial = winner.trial
    params = applicable(trial.params, GAELPExperimentConfig(**trial.config)) if trial else {}
    settings = "\n".join(f"- `{name}`: {value}" for name, value in params.items()) or "- all defaults"
    agent = trial.config["agent_type"] if trial else "BayesDual"
    own = isinstance(plan.market, OwnEnv)
    return f"""# {plan.spec.name}-best

A {agent} bidder for the {"environment" if own else "market"} `{plan.market.name}` ({plan.market.description}), the
{"choice among equals" if selection.decision == "tie" else "winner"} of the sweep `{plan.spec.name}` (trial \
`{winner.label}`).{f" Trained by the W&B run `{run}`." if run else ""} SHA-256 of the \
{"environment" if own else "market"}: `{plan.market.hash}`.

{_numbers(plan, selection, winner)}
Decision: {selection.reason}.
{markets.section(plan, winner)}
## Parameters that the sweep chose

{settings}

## Use

    gaelp-ray evaluate DIR --episodes 512

    from gaelp_ray import load_best
    agent = load_best("DIR")

{OWN_USE if own else MARKET_USE}

## Limits

{OWN_LIMITS if own else MARKET_LIMITS}
All numbers and intervals are of flights that had no part in choosing this model among others, so that the choice does
not flatter them.
"""


def _numbers(plan: SweepPlan, selection: Selection, winner: Candidate) -> str:
    """What the model earned when it was confirmed, as a table."""
    metrics = winner.evaluation.metrics
    within = partial(about.within, winner.evaluation)
    return f"""| metric | value ({winner.evaluation.confidence:.0%} interval) |
|---|---|
| score: {_score_in_words(metrics)} | {shown(getattr(metrics, SCORE), "{:.3f}")}{within(SCORE, "{:.3f}")} |
| ROAS (realised revenue / cost) | {shown(metrics.roas, "{:.3f}")}{within("roas", "{:.3f}")} |
| delivery | {shown(metrics.delivery, "{:.1%}", "of the budget")}{within("delivery", "{:.1%}")} |
| optimality | {shown(metrics.optimality, "{:.1%}", "of the hindsight optimum")}{within("optimality", "{:.1%}")} |
| cost per conversion | {shown(metrics.cpa, "{:.2f}", plan.market.currency)}{within("cpa", "{:.2f}")} |
| flights | {metrics.flights} fresh ones, never used in training, search or choice |
{_advantage(selection, winner, plan.spec.metric.name)}"""


def _score_in_words(metrics: EpisodeMetrics) -> str:
    """SCORE and the revenue that it was computed with."""
    return f"{SCORE_NAMES[metrics.estimator]} ({metrics.estimator} revenue / budget)"


def _advantage(selection: Selection, winner: Candidate, metric: str) -> str:
    """A row on how much of the advantage over the control arm lasted; empty where that is unknown."""
    found = advantage_of(winner, selection.ranking, metric)
    if found is None:
        return ""
    return (
        f"| {score_metric(metric)} above the default configuration | {found.fresh:+.3f}; {found.search:+.3f} in the "
        "search, on the flights that selected it |\n"
    )
