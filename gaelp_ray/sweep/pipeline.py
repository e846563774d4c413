"""A sweep from file to published winner: plan, search, re-fly, select, publish. Start at run_sweep()."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gaelp_ray.checkpoint import Model, load_model, save_model
from gaelp_ray.errors import SweepInterrupted
from gaelp_ray.market import Market
from gaelp_ray.results import Candidate, Selection, TrialResult, TrialStatus
from gaelp_ray.sweep.lineage import write_lineage
from gaelp_ray.sweep.listener import Silence, SweepListener
from gaelp_ray.sweep.outcome import summary
from gaelp_ray.sweep.outcome.late import validated
from gaelp_ray.sweep.outcome.reflight import Arm, fly_arms
from gaelp_ray.sweep.outcome.selection import finalists, nobody, select
from gaelp_ray.sweep.planning.constraints import constraints_of
from gaelp_ray.sweep.planning.plan import SweepPlan, plan_sweep
from gaelp_ray.sweep.provenance import provenance
from gaelp_ray.sweep.session import environment_set, ray_session, session_cpus
from gaelp_ray.sweep.store import SweepFolder
from gaelp_ray.sweep.trials.runner import Searched, SharedSettings, scheduler_of, search
from gaelp_ray.tracking.artifacts import ModelArtifact, Publication, publish_selection
from gaelp_ray.tracking.modes import TrackingMode, choose_mode, environment
from gaelp_ray.tracking.runs import RunIdentity
from gaelp_ray.training import Stream, summarise

REFERENCE = "BayesDual (reference)"


@dataclass(frozen=True)
class Timing:
    """How long a sweep took, and how well it used the machine."""

    cpus: float
    search_seconds: float
    select_seconds: float
    trial_cpu_seconds: float

    @property
    def utilisation(self) -> float:
        """CPU seconds of the trials / (cores x wall seconds of the search)."""
        return self.trial_cpu_seconds / (self.cpus * self.search_seconds)


@dataclass(frozen=True)
class SweepResult:
    """What a sweep leaves behind."""

    folder: SweepFolder
    trials: tuple[TrialResult, ...]
    selection: Selection
    publication: Publication
    tracking: TrackingMode
    timing: Timing


def run_sweep(
    path: str | Path,
    overwrite: bool = False,
    overrides: Mapping[str, Any] | None = None,
    listener: SweepListener | None = None,
    changes: Sequence[str] = (),
) -> SweepResult:
    """Run a sweep file from start to end.

    Args:
        path: the sweep file.
        overwrite: replace a sweep of the same name.
        overrides: keys of the file's top level to replace, such as `name` or `storage`.
        listener: is told of every change.
        changes: other values of the file, each as in `parameters.learning_rate.max=1e-3`.

    Raises InputError before anything starts if the file, the storage or the tracking mode is wrong. A sweep without
    an eligible winner is no error: see `SweepResult.selection`. Raises SweepInterrupted after Ctrl-C.
    """
    listener = listener or Silence()
    plan = plan_sweep(Path(path), overrides, changes)
    scheduler = scheduler_of(plan)
    tracking = choose_mode(plan.spec.tracking.mode)
    folder = SweepFolder.create(Path(plan.spec.storage).expanduser(), plan.spec.name, overwrite)
    origin = provenance(plan, vars(tracking))
    folder.write_start(plan.as_file(), origin)
    variables = environment(tracking, folder.path)
    settings = SharedSettings.of(plan, origin["id"], tracking.mode)
    with ray_session(variables):
        cpus, started = session_cpus(), time.monotonic()
        found = search(plan, settings, folder.path, scheduler, listener)
        _require_uninterrupted(found, folder)
        if found.lineage:
            write_lineage(folder.lineage, found.lineage)
        trials = validated(plan, found.trials, found.ended, listener)
        searched = time.monotonic()
        selection, trials = _final_stage(plan, trials, listener)
        selected = time.monotonic()
    cpu = sum(trial.cpu_seconds for trial in trials)
    timing = Timing(cpus, searched - started, selected - searched, cpu)
    with environment_set(variables):
        publication = _conclude(plan, settings, folder, selection, trials)
    return SweepResult(folder, tuple(trials), selection, publication, tracking, timing)


def _require_uninterrupted(found: Searched, folder: SweepFolder) -> None:
    """Tune ends quietly after Ctrl-C; a winner among half of the trials is not what was asked for."""
    trials = found.trials
    done = sum(trial.status is not TrialStatus.INTERRUPTED for trial in trials)
    if done < len(trials) and not found.reason:
        raise SweepInterrupted(
            f"interrupted after {done} of {len(trials)} trials; their checkpoints and W&B runs are in {folder.path}. "
            "Start again with --overwrite"
        )


def _final_stage(
    plan: SweepPlan, trials: list[TrialResult], listener: SweepListener
) -> tuple[Selection, list[TrialResult]]:
    """Re-fly the best trials, the control arm and the reference line on common fresh flights, and decide.

    Also returns the trials, of which those that could not be re-flown have failed by now.
    """
    spec, rules = plan.spec, plan.spec.select
    constraints = constraints_of(rules.constraints)
    chosen = finalists(trials, spec.metric.name, plan.goal, rules.top_k, constraints)
    if not chosen:
        return nobody(trials, spec.metric.name), trials
    market = plan.market
    arms = [Arm.from_checkpoint(trial.trial, Path(trial.checkpoint or ""), market) for trial in chosen]
    if isinstance(market, Market):  # nobody knows how to bid in an environment of the user's own
        arms.append(Arm.reference(REFERENCE, market))
    flights, failed = fly_arms(arms, rules.episodes, [spec.seed, Stream.SELECTION], listener)
    evaluations = {label: summarise(totals, rules.confidence, rules.min_delivery) for label, totals in flights.items()}
    trials = [
        replace(t, status=TrialStatus.FAILED, error=f"in the final stage, {failed[t.trial]}")
        if t.trial in failed
        else t
        for t in trials
    ]
    candidates = [
        Candidate(t.trial, "default" if t.is_default else "candidate", evaluations[t.trial], t)
        for t in chosen
        if t.trial in evaluations
    ]
    if not candidates:
        return nobody(trials, spec.metric.name), trials
    if REFERENCE in evaluations:
        candidates.append(Candidate(REFERENCE, "reference", evaluations[REFERENCE]))
    return select(candidates, rules.min_delivery, rules.confidence, constraints), trials


def _conclude(
    plan: SweepPlan,
    settings: SharedSettings,
    folder: SweepFolder,
    selection: Selection,
    trials: Sequence[TrialResult],
) -> Publication:
    """Write the winner, the leaderboard and the decision into the folder, and publish them."""
    _write_winner(plan, folder, selection)
    constraints = constraints_of(plan.spec.select.constraints)
    board = summary.rows(selection, trials, plan.spec.metric.name, plan.goal, constraints)
    publication = _publish(plan, settings, folder, selection, board)
    folder.write_end(summary.selection_record(plan, selection, board, publication), board)
    return publication


def _write_winner(plan: SweepPlan, folder: SweepFolder, selection: Selection) -> None:
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
        "flights": {"episodes": plan.spec.select.episodes, "seed": plan.spec.seed, "stream": "selection"},
        "decision": selection.reason,
    }
    scratch = folder.path / ".best"
    save_model(scratch, Model(model.agent, model.config, model.market, about))
    (scratch / "card.md").write_text(summary.card(plan, winner, selection.reason), encoding="utf-8")
    shutil.rmtree(folder.best, ignore_errors=True)
    scratch.rename(folder.best)


def _publish(
    plan: SweepPlan,
    settings: SharedSettings,
    folder: SweepFolder,
    selection: Selection,
    board: Sequence[Mapping[str, Any]],
) -> Publication:
    """The `select` run, with the leaderboard and the model artifact."""
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
    artifact = None
    if selection.winner:
        metadata = summary.winner_record(selection.winner) | {"market": plan.market.name}
        artifact = ModelArtifact(f"{name}-best", folder.best, ("best", name), metadata)
    return publish_selection(identity, plan.as_file(), summary.run_summary(selection), summary.table(board), artifact)
