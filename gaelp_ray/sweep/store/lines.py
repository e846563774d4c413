"""JSON lines that survive whatever ends their writer: each is on the disk before append() returns.

A line is whole, or it does not count: whoever dies in the middle of one leaves a torn end, which readers leave out and
the next writer cuts off.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from gaelp_ray.errors import StorageError

WAIT_SECONDS = 20.0
"""For the writer before, which may be a worker whose driver has just been killed."""


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Every whole line from the start on; none where there is no file."""
    return [row for row, _ in _whole(path.read_bytes() if path.exists() else b"")]


def _whole(content: bytes) -> list[tuple[dict[str, Any], int]]:
    """Each whole line, and where it ends; nothing from the first damaged one on."""
    found: list[tuple[dict[str, Any], int]] = []
    end = 0
    for line in content.splitlines(keepends=True):
        end += len(line)
        try:
            row = json.loads(line)
        except ValueError:  # half a line, or half a character
            break
        if not line.endswith(b"\n") or not isinstance(row, dict):
            break
        found.append((row, end))
    return found


class LineWriter:
    """The one who writes a file of JSON lines. Numbers come back bit for bit; NaN is written as NaN."""

    def __init__(self, path: Path, wait: float = WAIT_SECONDS) -> None:
        """Raises StorageError where somebody else writes the file for longer than `wait` seconds."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as failing:
            self._file: BinaryIO = failing.enter_context(path.open("a+b"))
            if not locked(self._file, wait):
                raise StorageError(f"{path} is written by another process: wait until it has ended")
            self._file.seek(0)
            self.keep(len(_whole(self._file.read())))
            failing.pop_all()  # it stays open

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one line, through to the disk."""
        self._file.write(json.dumps(row, separators=(",", ":"), default=_number).encode() + b"\n")
        self._sync()

    def keep(self, count: int) -> None:
        """Cut off what comes after the first `count` whole lines."""
        self._file.seek(0)
        lines = _whole(self._file.read())
        self._file.truncate(lines[count - 1][1] if count else 0)
        self._sync()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let others write."""
        self._file.close()

    def __enter__(self) -> LineWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _number(value: object) -> object:
    """numpy's numbers, of which an agent's diagnostics may be some."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is nothing that a line can hold")


def locked(file: BinaryIO, seconds: float = 0.0, shared: bool = False) -> bool:
    """Take the file's lock, which the system gives back when this process ends; False where another one keeps it.

    Who only looks takes a shared one: several may, and NFS gives no other for a file that was opened to be read. Where
    a file system knows no locks, everybody has it.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file.fileno(), kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.1)
        except OSError:
            return True
        else:
            return True
