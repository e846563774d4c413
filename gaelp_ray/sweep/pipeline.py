"""A sweep from file to published winner: plan, search, re-fly, select, publish. Start at run_sweep()."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from gaelp_ray.errors import StorageError, SweepInterrupted
from gaelp_ray.results import Selection, TrialResult, TrialStatus, count_by_status
from gaelp_ray.sweep.listener import Silence, SweepListener
from gaelp_ray.sweep.outcome.final import final_stage
from gaelp_ray.sweep.outcome.late import validated
from gaelp_ray.sweep.outcome.publishing import conclude
from gaelp_ray.sweep.outcome.regained import regained, restored
from gaelp_ray.sweep.planning.cluster import Cluster
from gaelp_ray.sweep.planning.forecast import disk_of
from gaelp_ray.sweep.planning.machine import in_bytes, machine
from gaelp_ray.sweep.planning.nodes import cluster_for
from gaelp_ray.sweep.planning.placement import Placement, placement
from gaelp_ray.sweep.planning.plan import SweepPlan, plan_sweep
from gaelp_ray.sweep.planning.reopened import require_same_stream
from gaelp_ray.sweep.planning.resumption import adopt, planned
from gaelp_ray.sweep.provenance import provenance
from gaelp_ray.sweep.search.attempts import FULL
from gaelp_ray.sweep.search.stopping import INTERRUPTED
from gaelp_ray.sweep.session import environment_set, ray_session, require_no_session, session_cpus
from gaelp_ray.sweep.store.folder import SweepFolder
from gaelp_ray.sweep.store.journal import Journal
from gaelp_ray.sweep.store.opening import new_sweep, open_sweep
from gaelp_ray.sweep.store.states import torn_records
from gaelp_ray.sweep.trials.gathering import gathered
from gaelp_ray.sweep.trials.mirrored import mirror
from gaelp_ray.sweep.trials.runner import Searched, scheduler_of, search, searched_before
from gaelp_ray.sweep.trials.settings import SharedSettings
from gaelp_ray.tracking.artifacts import Publication
from gaelp_ray.tracking.modes import TrackingMode, choose_mode, environment


@dataclass(frozen=True)
class Timing:
    """How long a sweep took, and how well it used the machine."""

    cpus: float
    search_seconds: float  # of all sessions
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

    def __repr__(self) -> str:
        return f"<SweepResult {self.folder.path.name}: {self.selection}; trials: {count_by_status(self.trials)}>"


def run_sweep(  # noqa: PLR0913  # as many as the command has options
    path: str | Path,
    overwrite: bool = False,
    overrides: Mapping[str, Any] | None = None,
    listener: SweepListener | None = None,
    changes: Sequence[str] = (),
    *,
    address: str | None = None,
) -> SweepResult:
    """Run a sweep file from start to end.

    Args:
        path: the sweep file.
        overwrite: replace a sweep of the same name.
        overrides: keys of the file's top level to replace, such as `name` or `storage`.
        listener: is told of every change.
        changes: other values of the file, each as in `parameters.learning_rate.max=1e-3`.
        address: of a running Ray cluster, `auto` or host:port, which is left as it was. Default: Ray on this machine.

    Raises InputError before anything starts if the file, the storage or the tracking mode is wrong, or this machine
    has no room for a trial. A sweep without an eligible winner is no error: see `SweepResult.selection`. Raises
    SweepInterrupted after Ctrl-C.
    """
    listener = listener or Silence()
    plan = plan_sweep(Path(path), overrides, changes)
    tracking = choose_mode(plan.spec.tracking.mode)
    folder = new_sweep(plan.spec.storage, plan.spec.name)
    folder.require_free(overwrite)
    cluster = _cluster(plan, folder, address, listener)
    place = _place(plan, cluster)
    with folder.claim():
        folder.clear()
        folder.write_start(plan.as_file(), provenance(plan, vars(tracking)) | _nodes(cluster))
        _foresee(plan, tracking, place, listener)
        # From the folder, as resume_sweep() will: with the copies of the market files, whatever becomes of the files.
        return _uninterrupted(planned(folder), folder, tracking, listener, cluster)


def resume_sweep(  # noqa: PLR0913  # as many as the command has options
    sweep: str | Path,
    storage: str | Path = "results",
    listener: SweepListener | None = None,
    retry: bool = False,
    *,
    extend: int = 0,
    changes: Sequence[str] = (),
    address: str | None = None,
) -> SweepResult:
    """Go on with a sweep that was interrupted, wherever that was: its folder is all that is needed.

    Args:
        sweep: its name in `storage`, its folder, or its URL.
        storage: the folder that holds the sweeps, or s3://bucket/prefix.
        listener: is told of every change.
        retry: run trials again that have failed.
        extend: how many configurations to add.
        changes: other values of the sweep's file from now on, each as in `stop.time=2h`; see resumption.planned().
        address: of a running Ray cluster, wherever the sweep ran before.

    What has ended is not run again; what had begun goes on from its last checkpoint. Raises StorageError if there is
    no such sweep, or somebody runs it now; SweepFileError for what a sweep that has begun cannot change; ResourceError
    where there is no room for a trial.
    """
    folder = open_sweep(storage, str(sweep))
    plan = planned(folder, extend, changes)
    require_same_stream(folder, plan)
    cluster = _cluster(plan, folder, address, listener or Silence())
    if retry or extend or changes or folder.history().searched is None:
        _place(plan, cluster)
    with folder.claim():
        plan = planned(folder, extend, changes)
        tracking = choose_mode(plan.spec.tracking.mode)
        if folder.is_finished():
            regained(folder, plan, gathered(plan, folder.history(), folder.path), listener or Silence())
        if extend or changes:
            adopt(folder, plan)
        if retry:
            _retry(folder)
        folder.reopen()
        return _uninterrupted(plan, folder, tracking, listener or Silence(), cluster)


def _cluster(plan: SweepPlan, folder: SweepFolder, address: str | None, listener: SweepListener) -> Cluster | None:
    """The cluster that the sweep is to run on; None for this machine."""
    require_no_session()
    if address is None:
        return None
    cluster, note = cluster_for(plan, folder, address)
    if note:
        listener.note(note)
    return cluster


def _nodes(cluster: Cluster | None) -> dict[str, Any]:
    """For the sweep's provenance, where that is not this machine alone."""
    return {"nodes": [{"host": node.host, "cpus": node.cpus} for node in cluster.nodes]} if cluster else {}


def _place(plan: SweepPlan, cluster: Cluster | None) -> Placement:
    """Where trials run. Raises ResourceError where this machine has never room for one; a cluster was asked before."""
    place = placement(plan.spec.resources, plan.spec.max_concurrent, len(plan.trials), cluster or machine())
    if cluster is None:
        place.require_possible()
    return place


def _foresee(plan: SweepPlan, tracking: TrackingMode, place: Placement, listener: SweepListener) -> None:
    """Say that the disk may become full. It is an estimate, and a sweep that it stops can go on."""
    disk = disk_of(plan, max(place.at_once, 1), tracking.mode != "disabled")
    if not disk.enough:
        needed, free = in_bytes(disk.needed), in_bytes(disk.free)
        listener.note(f"the sweep may write {needed}, and {plan.spec.storage} has {free} free: make room, or stop it")


def _retry(folder: SweepFolder) -> None:
    failed = [name for name, end in folder.history().ends.items() if end.status == str(TrialStatus.FAILED)]
    with closing(Journal(folder.path)) as journal:
        journal.again(failed)


def _uninterrupted(
    plan: SweepPlan,
    folder: SweepFolder,
    tracking: TrackingMode,
    listener: SweepListener,
    cluster: Cluster | None,
) -> SweepResult:
    """Run the sweep; an interruption tells how to go on."""
    try:
        return _run(plan, folder, tracking, listener, cluster)
    except KeyboardInterrupt:
        raise SweepInterrupted(f"interrupted: go on with `gaelp-ray resume {folder.shown}`") from None
    except OSError as error:
        if error.errno not in FULL:
            raise
        why = f"stopped ({error.strerror})"
        raise SweepInterrupted(f"{why}: mend that, and go on with `gaelp-ray resume {folder.shown}`") from None
    finally:
        if problem := folder.deliver():
            listener.note(problem)


def _settings(plan: SweepPlan, folder: SweepFolder, mode: str, cluster: Cluster | None) -> SharedSettings:
    """What all trials share. Raises StorageError where those of a cluster would miss what only this machine has."""
    settings = SharedSettings.of(plan, folder.path, folder.read_provenance()["id"], mode)
    if folder.remote is None:
        return replace(settings, cluster=cluster is not None)
    if cluster and (problem := folder.deliver()):
        raise StorageError(problem)
    address = folder.remote.address.resolved if cluster else folder.remote.address
    return replace(settings, remote=str(address), turn=folder.remote.turn, cluster=cluster is not None)


def _run(
    plan: SweepPlan,
    folder: SweepFolder,
    tracking: TrackingMode,
    listener: SweepListener,
    cluster: Cluster | None,
) -> SweepResult:
    """Search, final stage and publication; whatever of it was done before is not done again."""
    variables = environment(tracking, folder.path)
    if tracking.mode == "offline":
        listener.note(f"W&B is offline: {tracking.why}. Upload later with `gaelp-ray sync {folder.shown}`")
    settings = _settings(plan, folder, tracking.mode, cluster)
    with ray_session(variables, cluster.address if cluster else None):
        cpus = session_cpus()
        if torn := torn_records(folder):
            listener.note(f"{', '.join(torn)}: the record is torn, so the trial runs again from where it is whole")
            with closing(Journal(folder.path)) as journal:
                journal.again(torn)
        found = searched_before(plan, folder.path)
        if found is None:
            with closing(Journal(folder.path)) as journal:
                found = search(plan, settings, journal, scheduler_of(plan), listener)
        if problem := mirror(folder, vars(settings)):
            listener.note(f"W&B: {problem}. Bring the runs there later with `gaelp-ray sync {folder.shown}`")
        if found.interrupted:
            raise _interrupted(found, folder)
        trials = validated(plan, regained(folder, plan, found.trials, listener), listener)
        selecting = time.monotonic()
        selection, trials = final_stage(plan, trials, listener, partial(restored, folder, plan, listener))
        selected = time.monotonic()
    cpu = sum(trial.cpu_seconds for trial in trials)
    timing = Timing(cpus, folder.history().seconds, selected - selecting, cpu)
    concluding = "publishing the model" if selection.winner else "recording the decision"
    listener.stage(concluding, 0, 1)
    with environment_set(variables):
        publication = conclude(plan, settings, folder, selection, trials)
    listener.stage(concluding, 1, 1)
    folder.keep_weights_of({c.label for c in selection.ranking})
    return SweepResult(folder, tuple(trials), selection, publication, tracking, timing)


def _interrupted(found: Searched, folder: SweepFolder) -> SweepInterrupted:
    done = sum(trial.status not in (TrialStatus.INTERRUPTED, TrialStatus.NOT_STARTED) for trial in found.trials)
    why = "interrupted" if found.reason == INTERRUPTED else f"stopped ({found.reason})"
    return SweepInterrupted(
        f"{why} after {done} of {len(found.trials)} trials, of which nothing is lost. "
        f"{'Go' if why == INTERRUPTED else 'Mend that, and go'} on with `gaelp-ray resume {folder.shown}`"
    )
