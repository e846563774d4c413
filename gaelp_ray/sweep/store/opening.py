"""A sweep by its name, wherever its storage is: a folder, or s3://bucket/prefix. Start at open_sweep()."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from gaelp_ray.errors import StorageError, did_you_mean
from gaelp_ray.sweep.remote.address import Address, is_remote
from gaelp_ray.sweep.remote.sweep import RemoteSweep, alone, everything, sweeps_below
from gaelp_ray.sweep.store.folder import SweepFolder, sweeps_in


def new_sweep(storage: str, name: str) -> SweepFolder:
    """The folder of a sweep that may not exist yet. Raises StorageError for a URL that is none."""
    if is_remote(storage):
        return _working_copy(RemoteSweep(Address.parse(storage).child(name)))
    return SweepFolder.new(Path(storage).expanduser(), name)


def open_sweep(storage: str | Path, sweep: str, wanted: Callable[[str], bool] = everything) -> SweepFolder:
    """An existing sweep, by its name in `storage`, by its folder or by its URL.

    wanted: which of its files are needed here, where it lies in S3. Raises StorageError if there is no such sweep, or
    the storage cannot be reached.
    """
    if is_remote(sweep):
        return _fetched(RemoteSweep(Address.parse(sweep)), wanted)
    if not is_remote(storage):
        return SweepFolder.open(Path(storage).expanduser(), os.path.expanduser(sweep))
    return _fetched(RemoteSweep(Address.parse(storage).child(sweep)), wanted)


def every_sweep(storage: str | Path, wanted: Callable[[str], bool] = everything) -> Iterator[SweepFolder]:
    """Every sweep in a storage, by name."""
    if not is_remote(storage):
        yield from sweeps_in(Path(storage).expanduser())
        return
    for remote in sweeps_below(Address.parse(storage)):
        yield _fetched(remote, wanted)


def _working_copy(remote: RemoteSweep) -> SweepFolder:
    return SweepFolder(remote.address.working_copy, remote)


def _fetched(remote: RemoteSweep, wanted: Callable[[str], bool]) -> SweepFolder:
    if not remote.exists():
        storage = remote.address.parent
        known = [found.address.name for found in sweeps_below(storage)]
        none = "There is none yet: run `gaelp-ray sweep FILE`."
        hint = did_you_mean(remote.address.name, known, "gaelp-ray list") if known else none
        raise StorageError(f"no sweep {remote.address.name!r} in {storage}. {hint}")
    folder = _working_copy(remote)
    with alone(folder.path):
        if not folder.is_claimed_here():  # or it is being written, and its claim says by whom
            remote.fetch(folder.path, wanted)
    return folder
