"""Disks that are full or cannot be written: small file systems in memory, which only root can mount."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reliability import losses
from reliability.damage import begun
from reliability.faults import Finding, fault
from reliability.stage import NAME, Room, Skipped, Stage, until
from reliability.traces import Trace

SIZE = "24m"


@contextmanager
def _mounted(storage: Path) -> Iterator[None]:
    """A disk of SIZE at a folder. Raises Skipped."""
    storage.mkdir(parents=True)
    if os.geteuid() != 0:
        raise Skipped("only root may mount a disk")
    made = _mount("-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(storage))
    if made.returncode != 0:
        raise Skipped(f"no disk can be mounted here: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(storage)], check=True)


def _mount(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *words], capture_output=True, text=True, check=False)


def _remount(storage: Path, how: str) -> None:
    """Read-only (ro) or not (rw). It is refused for as long as a process that is dying has a file open for writing."""
    until(lambda: _mount("-o", f"remount,{how}", str(storage)).returncode == 0, f"the disk to become {how}")


def _fill(storage: Path) -> Path:
    """Use up all that is free."""
    ballast = storage / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (2**16, 2**10, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return ballast


@fault("disk full", "a disk that fills up in the middle of a sweep; it is freed, then resume")
def disk_full(stage: Stage, found: Finding) -> Room:
    """The sweep stops and says why; no trial has failed of it."""
    room = stage.room("full")
    with _mounted(room.storage):
        driver = room.sweep()
        driver.until(lambda: Trace.of(room.folder).iterations >= 6, "six iterations")
        ballast = _fill(room.storage)
        code = driver.wait()
        found.require(code == 130, f"the sweep ended with {code}: {driver.err[-400:]}")
        found.require("No space left on device" in driver.err, f"it said {driver.err[-400:]}")
        before = Trace.of(room.folder)
        found.require(
            not [end for end in before.ends.values() if end["status"] == "failed"], "a trial has failed of it"
        )
        ballast.unlink()
        resumed = room.resume()
        found.require_done(resumed, "resume")
        found.told = f"after {before.iterations} iterations"
        found.lost += losses.of_records(room, before, only_ended=True) + losses.of_results(room, stage.reference())
        found.checked(losses.offline(room))
        found.left_over += room.left_over()
    return room


@fault(
    "disk read-only", "a disk that cannot be written, for a new sweep and for one to resume; it is mended, then resume"
)
def disk_read_only(stage: Stage, found: Finding) -> Room:
    """Both are refused before anything starts."""
    room, interrupted = stage.room("read-only"), begun(stage)
    with _mounted(room.storage):
        _remount(room.storage, "ro")
        refused = room.sweep()
        found.require(refused.wait() == 2, f"a new sweep ended with {refused.process.returncode}")
        found.require("Read-only file system" in refused.err, f"a new sweep said {refused.err[-300:]}")
        _remount(room.storage, "rw")
        shutil.copytree(interrupted, room.folder, symlinks=True)
        _remount(room.storage, "ro")
        refused = room.start("resume", NAME)
        found.require(refused.wait() == 2, f"resume ended with {refused.process.returncode}: {refused.err[-300:]}")
        found.require("Read-only file system" in refused.err, f"resume said {refused.err[-300:]}")
        _remount(room.storage, "rw")
        resumed = room.resume()
        found.require_done(resumed, "resume")
        found.lost += losses.of_results(room, stage.reference())
        found.checked(losses.offline(room))
        found.left_over += room.left_over()
    return room
