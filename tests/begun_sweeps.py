"""Folders of sweeps that have begun, made without Ray: what a driver and its workers would have left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.sweep.provenance import provenance
from gaelp_ray.sweep.search.strategies import as_tune_config
from gaelp_ray.sweep.store.folder import SweepFolder
from gaelp_ray.sweep.store.journal import End, Journal
from gaelp_ray.sweep.store.lines import LineWriter
from gaelp_ray.sweep.store.trial_files import TrialFiles
from gaelp_ray.sweep.trials.lockstep import Lockstep
from gaelp_ray.sweep.trials.settings import SharedSettings


def begun(file: Path, proposed: int, ended: Sequence[End] = (), searched: str | None = None) -> SweepFolder:
    """The folder of a sweep file whose first trials were proposed, and of these the first ended."""
    plan = plan_sweep(file)
    folder = SweepFolder.new(Path(plan.spec.storage), plan.spec.name)
    folder.path.mkdir(parents=True)
    folder.write_start(plan.as_file(), provenance(plan, {}))
    with closing(Journal(folder.path)) as journal:
        journal.session()
        for trial in plan.trials[:proposed]:
            journal.proposed(as_tune_config(trial))
        for trial, end in zip(plan.trials, ended, strict=False):
            journal.ended(trial.name, end)
        if searched is not None:
            journal.searched(searched)
    return folder


def fly(folder: SweepFolder, trial: str, iterations: int, weights: bool = False) -> None:
    """Train the first iterations of a trial here, and record them as its worker would; with its last checkpoint?"""
    plan = plan_sweep(folder.path / "sweep.yaml", known=list(folder.history().plans.values()))
    settings = SharedSettings.of(plan, folder.path, "id", "disabled")
    team = Lockstep(folder.history().plans[trial], vars(settings))
    for number in range(1, iterations + 1):
        report, rows = team.step()
        record(folder, trial, {"iteration": number, "time": time.time(), "report": report, "runs": rows})
    if weights:
        TrialFiles(folder.path, trial).save(iterations, team.save)


def record(folder: SweepFolder, trial: str, *lines: dict[str, Any]) -> None:
    """Write lines into a trial's record."""
    with LineWriter(TrialFiles(folder.path, trial).record) as writer:
        for line in lines:
            writer.append({"session": "first", **line})


def claimed(storage: Path, name: str, overwrite: bool) -> SweepFolder:
    """As a new sweep does it."""
    folder = SweepFolder.new(storage, name)
    folder.require_free(overwrite)
    with folder.claim():
        folder.clear()
    return folder
