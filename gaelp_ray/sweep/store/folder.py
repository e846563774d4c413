"""What lies in a sweep's folder, and who may write there.

    <storage>/<sweep>/  sweep.yaml (as it ran)  provenance.json  journal.jsonl (what happened)  trials/<name>/
                        markets/ (files of one's own)  wandb/  leaderboard.csv  selection.json
                        best/ (model.npz, model.json, card.md)

Whoever runs a sweep holds its claim(). Where the storage is in S3, `path` is the working copy of it, and what must not
wait is done there, too. opening.py finds a sweep wherever it is.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import shlex
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gaelp_ray.checkpoint import plain, write_json
from gaelp_ray.errors import StorageError, did_you_mean
from gaelp_ray.sweep.remote.lease import TURN
from gaelp_ray.sweep.remote.sweep import RemoteSweep
from gaelp_ray.sweep.store.journal import BY_SCHEDULER, History, read_history
from gaelp_ray.sweep.store.lines import locked
from gaelp_ray.sweep.store.markets import MARKETS, copies, copy_markets
from gaelp_ray.sweep.store.places import require_writable
from gaelp_ray.sweep.store.trial_files import TrialFiles

SPEC, PROVENANCE, SELECTION, LEADERBOARD = "sweep.yaml", "provenance.json", "selection.json", "leaderboard.csv"
LOCK = ".lock"


@dataclass(frozen=True)
class SweepFolder:
    """One sweep's folder."""

    path: Path
    remote: RemoteSweep | None = None

    @property
    def best(self) -> Path:
        """Where the winner's model lies."""
        return self.path / "best"

    @property
    def wandb(self) -> Path:
        """Where everything of W&B lies."""
        return self.path / "wandb"

    @classmethod
    def new(cls, storage: Path, name: str) -> SweepFolder:
        """The folder of a sweep that may not exist yet."""
        return cls((storage / name).resolve())

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Keep others from running this sweep; given back when the process ends, however it does.

        Raises StorageError with the process that runs it now, or if the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / LOCK).open("a+b")
        except OSError as error:
            raise StorageError(f"cannot write to {self.path}: {os.strerror(error.errno or 0)}") from None
        with file:
            if not locked(file, seconds=1.0):  # whoever only looks has it for a moment
                file.seek(0)
                who = file.read().decode(errors="replace") or "another process"
                raise StorageError(f"the sweep {self.path.name!r} is being run by {who}: wait for it, or stop it first")
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}".encode())
            file.flush()
            with self.remote.held(self.path) if self.remote else nullcontext():
                yield

    def deliver(self) -> str:
        """Bring all of the folder to where the sweep's storage is; returns what prevents that, and how to go on."""
        return self.remote.deliver() if self.remote else ""

    def reopen(self) -> None:
        """The sweep has no decision any more: it goes on."""
        (self.path / SELECTION).unlink(missing_ok=True)
        if self.remote:
            self.remote.remove(SELECTION)

    def is_claimed(self) -> bool:
        """Whether somebody runs this sweep now."""
        return self.is_claimed_here() or (self.remote is not None and self.remote.running())

    def is_claimed_here(self) -> bool:
        """Whether a process does that sees this folder."""
        if not (self.path / LOCK).is_file():
            return False
        with (self.path / LOCK).open("rb") as file:
            return not locked(file, shared=True)

    def clear(self) -> None:
        """Remove all of an earlier sweep."""
        if self.remote:
            self.remote.clear()
        for path in sorted(self.path.iterdir(), key=lambda path: path.name == SPEC):  # a sweep's until the last moment
            if path.name in (LOCK, TURN):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def require_free(self, overwrite: bool) -> None:
        """Raises StorageError unless the folder can be made here and replaces nothing that it may not."""
        require_writable(self.path.parent)
        if self.remote:
            self.remote.require_free(overwrite)
            return
        if not self.path.exists():
            return
        if not overwrite and self.is_sweep():
            raise StorageError(
                f"the sweep {self.path.name!r} exists already in {self.path.parent}: give another name with --name, "
                "or replace it with --overwrite"
            )
        if not self.path.is_dir() or not (self.is_sweep() or self._has_hardly_begun()):
            raise StorageError(f"{self.path} is no sweep's folder, so --overwrite leaves it alone: use --name")

    @classmethod
    def open(cls, storage: Path, name: str) -> SweepFolder:
        """An existing sweep, by its name in `storage` or by its folder. Raises StorageError if there is none."""
        for candidate in (storage / name, Path(name)):
            if (candidate / SPEC).is_file():
                return cls(candidate.resolve())
        known = [folder.path.name for folder in sweeps_in(storage)]
        none = "There is none yet: run `gaelp-ray sweep FILE`."
        hint = did_you_mean(name, known, "gaelp-ray list") if known else none
        raise StorageError(f"no sweep {name!r} in {storage}. {hint}")

    def write_start(self, spec: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
        """What is known before the first trial."""
        self.write_provenance(provenance)
        self.keep_markets(spec, {})
        self.write_spec(spec)
        if self.remote:
            self.remote.send(PROVENANCE, SPEC)

    def keep_markets(self, spec: Mapping[str, Any], before: Mapping[str, Any]) -> None:
        """Copy the market files that a sweep file names, and the one before it did not."""
        names = copy_markets(self.path, spec, before)
        if self.remote:
            self.remote.send(*names)

    def kept_markets(self, spec: Mapping[str, Any]) -> dict[str, Path]:
        """Market file as a sweep file writes it -> its copy, wherever the file itself may be now."""
        return copies(self.path, spec)

    def write_provenance(self, provenance: Mapping[str, Any]) -> None:
        """Where the sweep's numbers come from."""
        write_json(self.path / PROVENANCE, provenance)

    def write_spec(self, spec: Mapping[str, Any]) -> None:
        """The sweep file as it runs; in one piece, as nothing can go on without it."""
        scratch = self.path / f".{SPEC}"
        with scratch.open("w", encoding="utf-8") as file:
            yaml.safe_dump(plain(spec), file, sort_keys=False)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self.path / SPEC)

    def read_provenance(self) -> dict[str, Any]:
        """Where the sweep's numbers come from. Raises StorageError."""
        path = self.path / PROVENANCE
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise StorageError(f"{path} is damaged: {error}") from None

    def write_end(self, selection: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        """The leaderboard, and the final stage's decision, with which the sweep has finished."""
        with (self.path / LEADERBOARD).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            for row in rows:
                cells = {k: json.dumps(plain(v)) if isinstance(v, Mapping) else plain(v) for k, v in row.items()}
                writer.writerow(cells)
        self.write_selection(selection)

    def write_selection(self, selection: Mapping[str, Any]) -> None:
        """The decision; its `artifact` may change later."""
        write_json(self.path / SELECTION, selection)

    def keep_weights_of(self, configurations: Collection[str]) -> None:
        """Remove the checkpoints of all other trials that have ended well; their records stay.

        A configuration goes by the name of its first trial. One that has failed, or that a rule has ended, may go on.
        """
        history = self.history()
        for name, end in history.ends.items():
            over = end.status == "completed" or end.reason.startswith(BY_SCHEDULER)
            if over and history.plans[name]["first"] not in configurations:
                TrialFiles(self.path, name).keep(())

    def read_selection(self) -> dict[str, Any]:
        """The decision of a finished sweep. Raises StorageError if it never got there, or the file is damaged."""
        path = self.path / SELECTION
        if not path.is_file():
            raise StorageError(f"the sweep {self.path.name!r} has not finished: `gaelp-ray resume {self.shown}`")
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StorageError(f"{path} is damaged: {error}") from None
        if not isinstance(record, dict) or not {"winner", "leaderboard", "reason"} <= set(record):
            raise StorageError(f"{path} is damaged: it holds no selection")
        return record

    @property
    def shown(self) -> str:
        """What a person types to name it: the folder, from here if it is below; in S3 its URL."""
        if self.remote:
            return self.remote.address.shown
        here = Path.cwd()
        return shlex.quote(str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path))

    @property
    def storage(self) -> str:
        """The storage that holds it."""
        return str(self.remote.address.parent if self.remote else self.path.parent)

    def history(self) -> History:
        """What happened to its trials."""
        return read_history(self.path)

    def is_sweep(self) -> bool:
        """Whether a sweep was started here."""
        return (self.path / SPEC).is_file()

    def _has_hardly_begun(self) -> bool:
        """Whether nothing is here but what a sweep is cut off with that never got as far as its first trial."""
        names = {path.name for path in self.path.iterdir()}
        begun = {name for name in names if name.startswith(f".{PROVENANCE}.")} | {LOCK, PROVENANCE, MARKETS, f".{SPEC}"}
        return not names or (LOCK in names and names <= begun)  # without the lock, they are somebody else's

    def is_finished(self) -> bool:
        """Whether the final stage has decided; of a decision that was torn, it has not."""
        try:
            self.read_selection()
        except StorageError:
            return False
        return True


def sweeps_in(storage: Path) -> Iterator[SweepFolder]:
    """Every sweep in a storage folder, by name."""
    if storage.is_dir():
        for path in sorted(storage.iterdir()):
            if (path / SPEC).is_file():
                yield SweepFolder(path.resolve())
