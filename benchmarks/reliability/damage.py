"""Files that were cut at a random byte, as after a power cut, and folders that were moved: then resume.

All begin with copies of one sweep: Ctrl-C came when some of its trials had ended, and others had a checkpoint.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from reliability import losses
from reliability.faults import Finding, Inflict, fault
from reliability.stage import NAME, ONE_BY_ONE, Room, Stage
from reliability.traces import Trace

BEGUN = "interrupted"


def begun(stage: Stage) -> Path:
    """The folder of the sweep that is copied; interrupted once."""

    def run() -> Room:
        room = stage.room(BEGUN, ONE_BY_ONE, SHOP_PACE="0.05")
        driver = room.sweep()
        driver.until(lambda: _is_mixed(Trace.of(room.folder)), "ended trials and others that have begun")
        driver.interrupt()
        driver.wait()
        return room

    return stage.kept(BEGUN, run)


def _is_mixed(trace: Trace) -> bool:
    going = [name for name, rows in trace.rows.items() if name not in trace.ends and 2 <= len(rows) < 6]
    return bool(trace.ends and going)


def _copied(stage: Stage, folder: Path) -> Room:
    room = stage.room("copy")
    shutil.copytree(folder, room.folder, symlinks=True)
    return room


def _cut(stage: Stage, path: Path) -> str:
    size = path.stat().st_size
    left = stage.random.randrange(1, size)
    with path.open("r+b") as file:
        file.truncate(left)
    return f"{path.name} cut at byte {left:,} of {size:,}"


def _going(folder: Path) -> str:
    """A trial that has not ended, and has a checkpoint."""
    trace = Trace.of(folder)
    return next(name for name in trace.rows if name not in trace.ends and any(_checkpoints(folder, name)))


def _checkpoints(folder: Path, trial: str) -> list[Path]:
    return sorted((folder / "trials" / trial / "checkpoints").rglob("*.npz"))


def _resumes(name: str, injected: str, which: Callable[[Path], Path]) -> Inflict:
    """A file of an interrupted sweep is cut; resume comes to the same end."""

    @fault(name, f"{injected} cut at a random byte, then resume")
    def inflict(stage: Stage, found: Finding) -> Room:
        room = _copied(stage, begun(stage))
        found.told = _cut(stage, which(room.folder))
        resumed = room.resume()
        found.require_done(resumed, "resume")
        found.lost += losses.of_results(room, stage.reference())
        found.checked(losses.offline(room))
        return room

    return inflict


torn_journal = _resumes("torn journal", "the driver's journal", lambda folder: folder / "journal.jsonl")
torn_record = _resumes(
    "torn record", "a trial's record", lambda folder: folder / "trials" / _going(folder) / "record.jsonl"
)
torn_checkpoint = _resumes(
    "torn checkpoint", "the weights of a trial's checkpoint", lambda folder: _checkpoints(folder, _going(folder))[0]
)


@fault("torn record of an ended trial", "the record of a trial that had ended cut at a random byte, then resume")
def torn_end(stage: Stage, found: Finding) -> Room:
    """What was cut is flown again, to the same numbers."""
    room = _copied(stage, begun(stage))
    ended = next(iter(Trace.of(room.folder).ends))
    found.told = _cut(stage, room.folder / "trials" / ended / "record.jsonl")
    resumed = room.resume()
    found.require_done(resumed, "resume")
    found.lost += losses.of_results(room, stage.reference())
    found.checked(losses.offline(room))
    return room


@fault("torn selection", "selection.json of a finished sweep cut at a random byte, then resume")
def torn_selection(stage: Stage, found: Finding) -> Room:
    """The final stage decides again."""
    whole = stage.reference()
    room = _copied(stage, whole)
    found.told = _cut(stage, room.folder / "selection.json")
    resumed = room.resume()
    code = resumed.process.returncode
    found.require(code == 0, f"resume ended with {code}: {resumed.err[-300:]}")
    if code == 0:
        found.lost += losses.of_results(room, whole)
        found.checked(losses.offline(room))
    return room


@fault("folder moved", "the folder of an interrupted sweep moved to another place, then resumed there by its path")
def moved(stage: Stage, found: Finding) -> Room:
    """The folder is all that is needed."""
    here, there = _copied(stage, begun(stage)), stage.room("moved")
    there.storage.mkdir()
    shutil.move(here.folder, there.folder)
    here.file.unlink()
    resumed = there.start("resume", str(there.folder))
    found.require(resumed.wait() == 0, f"resume ended with {resumed.process.returncode}: {resumed.err[-300:]}")
    found.require(not here.folder.exists(), f"{NAME} is back where it was")
    found.lost += losses.of_results(there, stage.reference())
    found.checked(losses.offline(there))
    return there
