"""Files between a folder here and one in a bucket. A copy that breaks off goes on where it was, when it is made again.

A file that was fetched has the server's time, so that the next copy knows whether it is still the same.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gaelp_ray.sweep.remote.bucket import Bucket, Stat

LAST = ("model.json", "sha256.json", "selection.json", "sweep.yaml")
"""Names of files that make a folder whole: they go last."""

CACHE = Path("wandb/cache")
"""W&B's own, which it fills again."""

AT_ONCE = 8


def fetch(bucket: Bucket, found: Mapping[str, Stat], folder: Path, wanted: Callable[[str], bool]) -> None:
    """Make the wanted files here those of the bucket. A folder that is not whole yet lacks its last file."""
    theirs = {name: stat for name, stat in found.items() if wanted(name)}
    for name in local_files(folder):
        if wanted(name) and name not in theirs:
            (folder / name).unlink(missing_ok=True)
    stale = [name for name, stat in theirs.items() if not _same(folder / name, stat)]
    for name in stale:
        if name.rpartition("/")[2] in LAST:
            (folder / name).unlink(missing_ok=True)
    if stale and wanted("sweep.yaml"):  # whatever is missing, it is no sweep until all of it is there
        (folder / "sweep.yaml").unlink(missing_ok=True)
        stale = [*(name for name in stale if name != "sweep.yaml"), *({"sweep.yaml"} & set(theirs))]
    for group in by_rank(stale):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda name: _fetch_one(bucket, name, folder / name, theirs[name]), group))
    _drop_empty(folder / "trials")


def _fetch_one(bucket: Bucket, name: str, target: Path, stat: Stat) -> None:
    content = bucket.read(name)
    if content is None:  # somebody removed it since the listing
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.fetched")
    with scratch.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if len(content) == stat.size:  # or it has grown since the listing, and is not what that says
        os.utime(scratch, (stat.when, stat.when))
    scratch.replace(target)


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


def by_rank(names: list[str]) -> Iterator[list[str]]:
    """The names in the groups in which they are copied."""

    def rank(name: str) -> int:
        last = name.rpartition("/")[2]
        return LAST.index(last) + 1 if last in LAST else 0

    for number in range(len(LAST) + 1):
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


def _drop_empty(folder: Path) -> None:
    """Checkpoints of which no file is left."""
    for place in sorted(folder.glob("*/checkpoints/*"), reverse=True):
        if place.name[0] != "." and place.is_dir() and not any(place.iterdir()):  # or it is being written
            shutil.rmtree(place, ignore_errors=True)
