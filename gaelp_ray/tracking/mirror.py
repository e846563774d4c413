"""Offline runs of a sweep, checked against its own record and completed from it.

A killed worker leaves a torn run directory, and a restarted trial one more with the same id. Afterwards there is one
whole directory per run. Start at complete_offline().
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import wandb

from gaelp_ray.errors import StorageError, TrackingError, describe
from gaelp_ray.tracking.offline import OfflineRun, read_run
from gaelp_ray.tracking.process import REFUSALS, SERVICE
from gaelp_ray.tracking.records import RunRecord, holds, same
from gaelp_ray.tracking.runs import Row, RunLog

SCRATCH = ".rebuilt"


def complete_offline(records: Iterable[RunRecord], home: Path) -> list[str]:
    """Make the offline runs of a sweep whole, and return the ids of those that were rebuilt.

    Args:
        records: the runs as they should be. Directories of other ids stay as they are.
        home: the sweep's wandb folder; its environment() is set, and no run of this process is open.

    A directory that is whole and right is only read. What replaces the others is made elsewhere by wandb itself, and
    read back, before any of them is removed: whoever is killed meanwhile can start again. Raises TrackingError where
    wandb does not write it, as on a full disk.
    """
    home.mkdir(parents=True, exist_ok=True)
    scratch = home / SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    held, broken = Directories.below(home), []
    for record in records:
        of_run = held.of(record.identity.id)
        whole = [directory for directory in of_run if is_whole(directory, record)]
        if whole:
            _remove([directory for directory in of_run if directory != whole[-1]])
        else:
            broken.append(record)
    try:
        _rebuild(broken, scratch)
        for number, record in enumerate(broken):
            _replace(held.of(record.identity.id), _checked(record, scratch / str(number)), home)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        _drop_dangling(home / "latest-run")
    return [record.identity.id for record in broken]


@dataclass(frozen=True)
class Directories:
    """Offline run directories, the oldest first: by the id of the run whose file is in them, and those without one."""

    by_id: Mapping[str, Sequence[Path]]
    empty: Sequence[Path]

    @classmethod
    def below(cls, home: Path) -> Directories:
        """Those of a wandb folder."""
        by_id: dict[str, list[Path]] = {}
        empty = []
        for directory in sorted(home.glob("offline-run-*")):
            files = [*directory.glob("run-*.wandb")]
            for file in files:
                by_id.setdefault(file.name.removeprefix("run-").removesuffix(".wandb"), []).append(directory)
            if not files:
                empty.append(directory)
        return cls(by_id, empty)

    def of(self, id: str) -> list[Path]:
        """All directories of one run; a start that failed has left its name only."""
        name = re.compile(rf"offline-run-\d{{8}}_\d{{6}}-{re.escape(id)}(-\d+)?")
        return sorted([*self.by_id.get(id, []), *(one for one in self.empty if name.fullmatch(one.name))])


def is_whole(directory: Path, record: RunRecord) -> bool:
    """Whether a run directory holds all of a run as recorded, every row once and in order."""
    try:
        run = read_run(directory)
    except StorageError:
        return False
    return _is_labelled(run, record) and _has_rows(run, record.history) and _has_ended(run, record)


def _is_labelled(run: OfflineRun, record: RunRecord) -> bool:
    wanted = record.identity
    held = (run.id, run.name, run.project, run.group, run.job_type, sorted(run.tags))
    labels = (wanted.id, wanted.name, wanted.project, wanted.group, wanted.job_type, sorted(wanted.tags))
    return held == labels and same(run.config, record.config)


def _has_rows(run: OfflineRun, rows: Sequence[Row]) -> bool:
    steps = [row.get("_step") for row in run.history]
    return steps == [row.step for row in rows] and all(
        holds(held, wanted.values) for held, wanted in zip(run.history, rows, strict=True)
    )


def _has_ended(run: OfflineRun, record: RunRecord) -> bool:
    return run.exit_code == record.exit_code and holds(run.summary, record.told)


def _rebuild(records: Sequence[RunRecord], scratch: Path) -> None:
    """Write runs into `scratch`, each into a folder of its own named by its number."""
    if not records:
        return
    SERVICE.reset()
    try:
        for number, record in enumerate(records):
            _write(record, scratch / str(number))
    finally:
        SERVICE.reset()  # a run's file may be whole only now


def _write(record: RunRecord, folder: Path) -> None:
    identity = replace(record.identity, mode="offline", reinit="create_new")
    try:
        folder.mkdir(parents=True)
        keywords = identity.as_init() | {"id": identity.id, "name": identity.name, "dir": str(folder)}
        log = RunLog(SERVICE.start(lambda: wandb.init(config=dict(record.config), **keywords)))
        log.catch_up(record.history)
        log.summarise(record.told)
        log.close(record.exit_code)
    except REFUSALS as error:
        raise _not_rebuilt(record, describe(error)) from None


def _checked(record: RunRecord, folder: Path) -> Path:
    """The run directory in a scratch folder. Raises TrackingError where it is not whole."""
    made = sorted(folder.glob("wandb/offline-run-*"))
    if len(made) != 1 or not is_whole(made[0], record):
        raise _not_rebuilt(record, "it could not be read back as a whole: is the disk full?")
    return made[0]


def _replace(old: Sequence[Path], new: Path, home: Path) -> None:
    place, number = home / new.name, 1
    while place.exists():
        place, number = home / f"{new.name}-{number}", number + 1
    new.rename(place)
    _remove(old)


def _remove(outdated: Iterable[Path]) -> None:
    for directory in outdated:
        shutil.rmtree(directory, ignore_errors=True)


def _drop_dangling(link: Path) -> None:
    """wandb's link to the latest run, where that was removed: a folder with it could not be copied."""
    if link.is_symlink() and not link.exists():
        link.unlink()


def _not_rebuilt(record: RunRecord, why: str) -> TrackingError:
    return TrackingError(f"the W&B run {record.identity.name} was not rebuilt ({why}); what there was of it is kept")
