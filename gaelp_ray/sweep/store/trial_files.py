"""What one trial leaves in `trials/<name>/`, written by the worker that flies it. The truth about its numbers.

    record.jsonl         a line per iteration: what it reported, and what each of its W&B runs logged
    checkpoints/000012/  the agents of all seeds after an iteration; appears whole
    end.json             how it ended, from the driver
    errors.txt           what Ray said each time that it broke off: a traceback, from the driver

Tune's and W&B's own files are copies of this. Start at TrialFiles.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaelp_ray.checkpoint import write_json
from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.store.lines import read_lines

TRIALS = "trials"

DIGESTS = "sha256.json"


@dataclass(frozen=True)
class Record:
    """A trial's record: its plan as it was last, and its iterations in order, from 1."""

    plan: Mapping[str, Any] | None
    rows: Sequence[Mapping[str, Any]]
    ends: Sequence[int]  # lines of the file up to each iteration

    @property
    def last(self) -> Mapping[str, Any]:
        """The last report; empty before the first."""
        return self.rows[-1]["report"] if self.rows else {}

    @property
    def started(self) -> bool:
        """Whether a worker has had the trial, perhaps without coming to the end of an iteration."""
        return self.plan is not None or bool(self.rows)

    def lines_until(self, iteration: int) -> int:
        """Lines of the file up to an iteration; 0 for none."""
        return self.ends[iteration - 1] if iteration else 0


class TrialFiles:
    """The folder of one trial."""

    def __init__(self, sweep: Path, name: str) -> None:
        self.folder = sweep / TRIALS / name
        self.record = self.folder / "record.jsonl"
        self.errors = self.folder / "errors.txt"
        self._end = self.folder / "end.json"

    def read(self) -> Record:
        """What is recorded; a plan that was changed on the way is the last one."""
        plan: Mapping[str, Any] | None = None
        rows: list[Mapping[str, Any]] = []
        ends: list[int] = []
        for number, line in enumerate(read_lines(self.record), 1):
            if "plan" in line:
                plan = line["plan"]
            elif line.get("iteration") == len(rows) + 1:
                rows.append(line)
                ends.append(number)
        return Record(plan, rows, ends)

    def checkpoint(self, iteration: int) -> Path:
        """Where the agents after an iteration lie."""
        return self.folder / "checkpoints" / f"{iteration:06d}"

    def checkpoints(self) -> list[int]:
        """Iterations after which there is one."""
        found = (path.name for path in self.checkpoint(0).parent.glob("[0-9]*"))
        return sorted(int(name) for name in found)

    def save(self, iteration: int, write: Callable[[Path], None]) -> None:
        """Write the checkpoint of an iteration; it appears whole or not at all."""
        target = self.checkpoint(iteration)
        if (target / DIGESTS).is_file():
            return
        shutil.rmtree(target, ignore_errors=True)  # half of one that was to be brought here from elsewhere
        scratch = target.with_name(f".{target.name}")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        write(scratch)
        write_json(scratch / DIGESTS, _digests(scratch))
        _sync(scratch)
        scratch.rename(target)

    def is_whole(self, iteration: int) -> bool:
        """Whether a checkpoint is as it was written: a power cut may leave files without their bytes."""
        folder = self.checkpoint(iteration)
        try:
            return bool(json.loads((folder / DIGESTS).read_text(encoding="utf-8")) == _digests(folder))
        except (OSError, ValueError):
            return False

    def keep(self, iterations: Collection[int]) -> None:
        """Remove all checkpoints but those of some iterations."""
        for iteration in self.checkpoints():
            if iteration not in iterations:
                shutil.rmtree(self.checkpoint(iteration), ignore_errors=True)

    def write_end(self, status: str, reason: str) -> None:
        """Tell the worker how the trial ends, before it learns that it does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self._end, {"status": status, "reason": reason})

    def read_end(self) -> tuple[str, str] | None:
        """(status, reason), or None where nobody has ended the trial."""
        try:
            told = json.loads(self._end.read_text(encoding="utf-8"))
            return str(told["status"]), str(told["reason"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{self._end} is damaged ({error}): delete it") from None

    def write_error(self, cause: str, account: str) -> None:
        """Keep all that is known of why the trial broke off; where the disk is full, its cause is in the journal."""
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.errors.open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {cause}\n{account.rstrip()}\n\n")

    def go_on(self) -> None:
        """The trial runs again, however it has ended before."""
        self._end.unlink(missing_ok=True)


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every other file in a folder, by its path in there."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != DIGESTS)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _sync(folder: Path) -> None:
    """A checkpoint that was renamed before its bytes were on the disk would be an empty one after a power cut."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
