"""A sweep in S3 as its working copy's companion: fetched before somebody looks, held while somebody runs it.

Everything works on the working copy, as append, lock and rename are nothing that a bucket can. Start at RemoteSweep.
"""

from __future__ import annotations

import fcntl
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.remote.address import Address
from gaelp_ray.sweep.remote.bucket import Bucket, Stat
from gaelp_ray.sweep.remote.copies import fetch
from gaelp_ray.sweep.remote.keeper import Keeper
from gaelp_ray.sweep.remote.lease import LEASE, NOW, TURN, Lease, Turns

SPEC = "sweep.yaml"
UNSEEN = "unseen"
BEGUN = frozenset({LEASE, TURN, NOW, "provenance.json", "markets"})
"""What there may be of a sweep that was cut off before its file was sent."""


def everything(name: str) -> bool:
    """What going on needs."""
    return name not in (LEASE, TURN, NOW)


def facts(name: str) -> bool:
    """What looking needs: no weights, nothing of W&B."""
    heavy = name.startswith(("wandb/", "best/")) or (name.startswith("trials/") and "/checkpoints/" in name)
    return everything(name) and not heavy


def flown(name: str) -> bool:
    """What workers have written of trials; how a trial ended, the driver knows first."""
    return name.startswith("trials/") and not name.endswith(("/end.json", "/errors.txt"))


def winner(name: str) -> bool:
    """What the best model needs."""
    return name.startswith("best/") or name in (SPEC, "selection.json", "provenance.json")


class RemoteSweep:
    """One sweep's copy in a bucket."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._bucket = Bucket(address)
        self._keeper: Keeper | None = None
        self._seen: str | None = UNSEEN  # the last turn when it was fetched
        self.turn = ""

    def exists(self) -> bool:
        """Whether a sweep was started there."""
        return self._bucket.stat(SPEC) is not None

    def fetch(self, folder: Path, wanted: Callable[[str], bool]) -> None:
        """Bring the working copy up to date, unless this machine was the last to run the sweep."""
        turn = self._bucket.read(TURN)
        self._seen = turn.decode() if turn else None
        turns = Turns(folder)
        if self._seen in turns.known() and (folder / SPEC).is_file():
            return
        turns.forget()
        fetch(self._bucket, self._bucket.stats(), folder, wanted)

    @contextmanager
    def held(self, folder: Path) -> Iterator[None]:
        """Run the sweep: nobody else can, and what changes in the folder is sent. Raises StorageError."""
        with alone(folder):  # whoever began to look before the folder was claimed is done
            lease = Lease(self._bucket)
        lease.take()
        self.turn = lease.id
        self._keeper = Keeper(self._bucket, folder, lease)
        try:
            self._begin(folder)
            self._keeper.start()
            try:
                yield
            finally:
                self._keeper.stop()
        finally:
            self._keeper = None
            with suppress(StorageError):
                lease.give_back()

    def _begin(self, folder: Path) -> None:
        if self._seen is not UNSEEN:
            turn = self._bucket.read(TURN)
            if (turn.decode() if turn else None) != self._seen:
                raise StorageError(f"{self.address} was changed from another machine just now: run the command again")
            catch_up(self._bucket, folder)
        Turns(folder).take(self._bucket, self.turn)

    def running(self) -> bool:
        """Whether somebody is known to run it, here or elsewhere; of a server that is away, nothing is known."""
        try:
            holder = Lease(self._bucket).holder()
        except StorageError:
            return False
        return holder is not None and holder.runs

    def send(self, *names: str) -> None:
        """Send some files now. Raises StorageError."""
        if self._keeper:
            self._keeper.send(*names)

    def deliver(self) -> str:
        """Send everything; returns what prevents it, in one line."""
        return self._keeper.deliver() if self._keeper else ""

    def remove(self, name: str) -> None:
        """Remove one file there."""
        self._bucket.remove(name)

    def clear(self) -> None:
        """Remove all of an earlier sweep; it is one until the last moment."""
        for name in self._bucket.folders():
            self._bucket.remove_folder(name)
        for name in sorted(self._bucket.stats(), key=lambda name: name == SPEC):
            if everything(name):
                self._bucket.remove(name)

    def require_free(self, overwrite: bool) -> None:
        """Raises StorageError unless a sweep can be written there and replaces nothing that it may not."""
        require_writable(self.address.parent)
        there = {name.partition("/")[0] for name in self._bucket.stats()}
        if SPEC in there and not overwrite:
            raise StorageError(
                f"the sweep {self.address.name!r} exists already in {self.address.parent}: give another name with "
                "--name, or replace it with --overwrite"
            )
        if SPEC not in there and not there <= BEGUN:
            raise StorageError(f"{self.address} is no sweep's folder, so --overwrite leaves it alone: use --name")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One command at a time brings files to a working copy; another one waits for it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.fetching").open("ab") as file:
        with suppress(OSError):  # where a file system knows no locks, everybody has it
            fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        yield


def require_writable(storage: Address) -> None:
    """Write and remove a small object, within seconds. Raises StorageError with why not."""
    bucket, name = Bucket(storage, attempts=1), f".gaelp-ray-{uuid.uuid4().hex[:8]}"
    bucket.stat(name)  # who does not answer is known sooner by a question
    bucket.write(name, b"can be written")
    bucket.remove(name)


def sweeps_below(storage: Address) -> list[RemoteSweep]:
    """Every sweep in a storage, by name."""
    found = (RemoteSweep(storage.child(name)) for name in Bucket(storage).folders())
    return [sweep for sweep in found if sweep.exists()]


def catch_up(bucket: Bucket, folder: Path) -> None:
    """Bring trials here that a worker elsewhere has taken further. Raises StorageError."""
    there = bucket.stats("trials")
    for name, stat in there.items():
        if name.endswith("/record.jsonl") and name.count("/") == 2 and _is_behind(bucket, folder, name, stat):
            trial = name.rpartition("/")[0] + "/"
            fetch(bucket, there, folder, lambda found, trial=trial: flown(found) and found.startswith(trial))  # type: ignore[misc]


def _is_behind(bucket: Bucket, folder: Path, record: str, stat: Stat) -> bool:
    path = folder / record
    here = path.read_bytes() if path.is_file() else b""
    return len(here) < stat.size and (bucket.read(record) or b"").startswith(here)
