"""The end of a sweep: the winner, the leaderboard and the decision into its folder, and to W&B. Start at conclude()."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gaelp_ray.checkpoint import Model, load_model, plain, save_model
from gaelp_ray.evidence.budget_curve import fit_budget_curve
from gaelp_ray.results import Selection, TrialResult
from gaelp_ray.sweep.outcome import summary
from gaelp_ray.sweep.outcome.about import metadata
from gaelp_ray.sweep.outcome.gate import Gate
from gaelp_ray.sweep.outcome.previous_decision import PreviousDecision
from gaelp_ray.sweep.planning.constraints import constraints_of
from gaelp_ray.sweep.planning.plan import SweepPlan
from gaelp_ray.sweep.store.folder import SPEC, SweepFolder
from gaelp_ray.sweep.trials.mirrored import identity_of
from gaelp_ray.sweep.trials.settings import SharedSettings
from gaelp_ray.tracking.artifacts import ModelArtifact, Publication, publish_selection
from gaelp_ray.tracking.promotion import Terms
from gaelp_ray.tracking.runs import RunIdentity

CANDIDATE = "candidate"
OWN_ALIASES = re.compile(r"best|candidate|latest|v\d+")
"""Aliases with a meaning of their own, which no sweep's name may stand for."""


def conclude(
    plan: SweepPlan,
    settings: SharedSettings,
    folder: SweepFolder,
    selection: Selection,
    trials: Sequence[TrialResult],
) -> Publication:
    """Write down what was decided and publish it; the decision is the last that is written."""
    previous = PreviousDecision.of(folder.best)
    _write_winner(plan, folder, selection, settings)
    constraints = constraints_of(plan.spec.select.constraints)
    board = summary.rows(selection, trials, plan.spec.metric.name, plan.goal, constraints)
    # As it will be read back: what is published again later is then the same.
    record: dict[str, Any] = plain(summary.selection_record(plan, selection, board))
    record["change"] = previous.change(record, folder.shown) if previous else ""
    publication = publish(plan, settings, folder, record)
    folder.write_end(record | {"artifact": artifact_record(publication, record)}, board)
    return publication


def artifact_record(publication: Publication, record: Mapping[str, Any]) -> dict[str, Any]:
    """What selection.json says of the artifact; of a version that was the best before, also what had made it that."""
    told, before = publication.as_dict(), record.get("artifact") or {}
    again = publication.gate is not None and publication.gate.standing
    if again and before.get("version") == publication.version and (before.get("gate") or {}).get("promoted"):
        told["gate"] = before["gate"]
    return told


def _write_winner(plan: SweepPlan, folder: SweepFolder, selection: Selection, settings: SharedSettings) -> None:
    """The winner's model into best/: the weights that flew the final stage, with the numbers they earned."""
    winner = selection.winner
    if winner is None or winner.trial is None:
        return
    model = load_model(Path(winner.trial.checkpoint or ""))
    about = {
        "sweep": plan.spec.name,
        "trial": winner.label,
        "params": dict(winner.trial.params),
        "evaluation": winner.evaluation.as_dict(),
        "roas_by_budget": asdict(curve) if (curve := fit_budget_curve(winner.evaluation.totals)) else None,
        "flights": {
            "episodes": plan.spec.select.episodes,
            "seed": plan.spec.seed,
            "stream": "confirmation",
            "attempt": selection.race.attempt if selection.race else 1,
        },
        "weights": dict(winner.weights),
        "selected": {"decision": selection.decision, "episodes": plan.spec.select.episodes},
        "decision": selection.reason,
    }
    scratch = folder.path / ".best"
    shutil.rmtree(scratch, ignore_errors=True)
    save_model(scratch, Model(model.agent, model.config, model.market, about))
    run = trial_run(folder, settings, winner.label, winner.weights)
    card = summary.card(
        plan, selection, "/".join(filter(None, (settings.entity, settings.project, run))) if run else ""
    )
    (scratch / "card.md").write_text(card, encoding="utf-8")
    shutil.rmtree(folder.best, ignore_errors=True)
    scratch.rename(folder.best)


def publish(plan: SweepPlan, settings: SharedSettings, folder: SweepFolder, record: Mapping[str, Any]) -> Publication:
    """The `select` run, with the leaderboard and the model artifact, from what selection.json holds.

    Online, the model becomes the artifact's best version if the gate lets it.
    """
    name = plan.spec.name
    identity = RunIdentity(
        id=f"{name}-select-{settings.sweep_id}",
        name=f"{name}-select",
        project=settings.project,
        entity=settings.entity,
        group=settings.group,
        job_type="select",
        mode=settings.mode,
        tags=settings.tags,
    )
    table, told = summary.table(record["leaderboard"]), summary.run_summary(record)
    if not record["winner"]:
        return publish_selection(identity, plan.as_file(), told, table, None)
    gate = Gate(plan, folder.best, record["winner"]["evaluation"])
    artifact = _artifact(plan, folder, record, _terms(gate, folder, settings, record["winner"]))
    publication = publish_selection(identity, plan.as_file(), told, table, artifact)
    if publication.gate:
        return publication
    return replace(publication, gate=gate.unjudged(_why_not(publication, folder)))


def _artifact(plan: SweepPlan, folder: SweepFolder, record: Mapping[str, Any], terms: Terms) -> ModelArtifact:
    """`<sweep>-best`: the winner's folder and the sweep's file."""
    name = plan.spec.name
    aliases = (CANDIDATE,) if OWN_ALIASES.fullmatch(name) else (CANDIDATE, name)
    told = metadata(plan, record, folder.read_provenance())
    return ModelArtifact(f"{name}-best", folder.best, aliases, told, terms, [folder.path / SPEC])


def _terms(gate: Gate, folder: SweepFolder, settings: SharedSettings, winner: Mapping[str, Any]) -> Terms:
    spec = gate.plan.spec
    trained_by = trial_run(folder, settings, winner["trial"], winner.get("weights") or {})
    return Terms(gate, spec.publish.target(f"{spec.name}-best"), trained_by)


def _why_not(publication: Publication, folder: SweepFolder) -> str:
    if publication.error:
        return publication.error
    if publication.mode == "offline":
        return f"`gaelp-ray sync {folder.shown}` does that when it publishes the model"
    return "W&B is disabled"


def trial_run(folder: SweepFolder, settings: SharedSettings, trial: str, weights: Mapping[str, Any]) -> str:
    """The id of the W&B run that trained the weights that were kept of a trial; empty where there is none."""
    if settings.mode == "disabled":
        return ""
    for planned in folder.history().plans.values():
        seeds = planned["seeds"]
        seed = weights.get("seed", seeds[0] if len(seeds) == 1 else None)
        if planned["first"] == trial and seed in seeds:
            return identity_of(planned, vars(settings), seeds.index(seed)).id
    return ""
