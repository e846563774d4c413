"""Files between a folder here and one in a bucket. A copy that breaks off goes on where it was, when it is made again.

A file that was fetched has the server's time, so that the next copy knows whether it is still the same. A trial's
record arrives after all else of it: where the record is here, all that the trial had come to by then has been here.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.remote.bucket import Bucket, Stat

WHOLE, RECORD = "sha256.json", "record.jsonl"
"""What makes a checkpoint whole; what a trial has come to."""

LAST = ("model.json", WHOLE, "selection.json", "sweep.yaml")
"""Names of files that make a folder whole: they go last."""

ARRIVING = ("model.json", WHOLE, RECORD, "selection.json", "sweep.yaml")
"""On the way here."""

CACHE = Path("wandb/cache")
"""W&B's own, which it fills again."""

SCRATCH, STALE_SECONDS = ".fetched-", 3600.0
"""Where files arrive: a folder for each command, as several may fetch the same; one so old was left by a killed one."""

AT_ONCE = 8


def fetch(bucket: Bucket, found: Mapping[str, Stat], folder: Path, wanted: Callable[[str], bool]) -> None:
    """Make the wanted files here those of the bucket. A folder that is not whole yet lacks its last file.

    Raises StorageError where the server is away, or a checkpoint was removed there since it was found.
    """
    theirs = {name: stat for name, stat in found.items() if wanted(name)}
    here = {name for name in local_files(folder) if wanted(name)}
    stale = [name for name, stat in theirs.items() if not _same(folder / name, stat)]
    for name in here - theirs.keys() | {name for name in here & set(stale) if name.rpartition("/")[2] in LAST}:
        (folder / name).unlink(missing_ok=True)  # and not what another command brings at this moment
    if stale and wanted("sweep.yaml"):  # whatever is missing, it is no sweep until all of it is there
        (folder / "sweep.yaml").unlink(missing_ok=True)
        stale = [*(name for name in stale if name != "sweep.yaml"), *({"sweep.yaml"} & set(theirs))]
    if stale:
        _fetch_all(bucket, {name: theirs[name] for name in stale}, folder)
    _drop_empty(folder, [place for place in _checkpoints(folder) if wanted(f"{place}/{WHOLE}")], theirs)


def _fetch_all(bucket: Bucket, stale: Mapping[str, Stat], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _drop_scratch(folder)
    with TemporaryDirectory(prefix=SCRATCH, dir=folder, ignore_cleanup_errors=True) as scratch:

        def came(name: str) -> bool:
            return _fetch_one(bucket, name, folder / name, stale[name], Path(scratch))

        for group in by_rank(list(stale), ARRIVING):
            with ThreadPoolExecutor(AT_ONCE) as pool:
                gone = [name for name, here in zip(group, pool.map(came, group), strict=True) if not here]
            if any("/checkpoints/" in name for name in gone):
                raise StorageError(f"{bucket.address} is being changed by another machine: run the command again")


def _fetch_one(bucket: Bucket, name: str, target: Path, stat: Stat, scratch: Path) -> bool:
    content = bucket.read(name)
    if content is None:  # somebody removed it since the listing
        return False
    arriving = scratch / uuid.uuid4().hex
    with arriving.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if len(content) == stat.size:  # or it has grown since the listing, and is not what that says
        os.utime(arriving, (stat.when, stat.when))
    target.parent.mkdir(parents=True, exist_ok=True)
    arriving.replace(target)
    return True


def _drop_scratch(folder: Path) -> None:
    for place in folder.glob(f"{SCRATCH}*"):
        with suppress(FileNotFoundError):
            if time.time() - place.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(place, ignore_errors=True)


def _same(path: Path, stat: Stat) -> bool:
    try:
        here = path.stat()
    except OSError:
        return False
    return here.st_size == stat.size and abs(here.st_mtime - stat.when) < 0.01


def is_sent(path: Path, stat: Stat | None) -> bool:
    """Whether an object holds what the file holds: as long, and taken after the file was last written."""
    if stat is None:
        return False
    here = path.stat()
    return here.st_size == stat.size and int(here.st_mtime) <= stat.when


def by_rank(names: list[str], order: Sequence[str] = LAST) -> Iterator[list[str]]:
    """The names in the groups in which they are copied."""

    def rank(name: str) -> int:
        last = name.rpartition("/")[2]
        return order.index(last) + 1 if last in order else 0

    for number in range(len(order) + 1):
        if group := [name for name in names if rank(name) == number]:
            yield group


def local_files(folder: Path) -> Iterator[str]:
    """Files of a sweep's folder that belong to it, by their names from there: no links, no scratch."""
    for place, folders, files in os.walk(folder):
        below = Path(place).relative_to(folder)
        scratch = not below.parts or below.parts[0] == "trials"
        folders[:] = [name for name in folders if not (scratch and name.startswith(".")) and below / name != CACHE]
        for name in files:
            if not (scratch and name.startswith(".")) and not (Path(place) / name).is_symlink():
                yield str(below / name)


def _checkpoints(folder: Path) -> list[str]:
    """Those of all trials, by their names from there; not one that is being written."""
    return sorted(str(path.relative_to(folder)) for path in folder.glob("trials/*/checkpoints/[!.]*"))


def _drop_empty(folder: Path, checkpoints: Collection[str], theirs: Collection[str]) -> None:
    """Checkpoints of which no file is left; one of the bucket's may be arriving by another command."""
    there = {"/".join(name.split("/")[:4]) for name in theirs}
    for name in checkpoints:
        if name not in there and not any(files for _, _, files in os.walk(folder / name)):
            shutil.rmtree(folder / name, ignore_errors=True)
