"""What a driver sends while it runs: journal and ends of trials every two seconds, everything at the end.

A server that is away delays it and stops nothing: what was not sent is sent at the next time. Start at Keeper.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.remote.bucket import Bucket, Stat
from gaelp_ray.sweep.remote.copies import RECORD, WHOLE, by_rank, is_sent, local_files
from gaelp_ray.sweep.remote.lease import LEASE, RENEWED_SECONDS, TURN, Lease

PUSH_SECONDS, PAUSE_SECONDS = 2.0, 10.0
"""Between two pushes; after one that failed."""

DELIVERY_SECONDS, RETRY_SECONDS = 45.0, 3.0
"""How long the end waits for a server that is away; between two attempts."""

WATCHED = ("provenance.json", "journal.jsonl", "sweep.yaml", "trials/*/end.json", "trials/*/errors.txt")


class Keeper:
    """Sends a working copy's changes from a thread of its own, and renews the lease."""

    def __init__(self, bucket: Bucket, folder: Path, lease: Lease) -> None:
        self._bucket, self._folder, self._lease = bucket, folder, lease
        self._sent: dict[str, tuple[int, int]] = {}  # name -> (size, time) of what this driver has sent
        self._one = threading.Lock()  # at a time, or an older content could be the last to arrive
        self._renewed = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gaelp-storage", daemon=True)
        self.taken_over = ""
        """Who runs the sweep now, where another one does: then nothing is sent any more."""

    def start(self) -> None:
        """Begin; the files that are there now count as unsent."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the request that is under way."""
        self._ended.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        pause = PUSH_SECONDS
        while not self._ended.wait(pause) and not self.taken_over:
            pause = PUSH_SECONDS
            try:
                self._renew()
                for name in self._watched():
                    if self.taken_over or self._ended.is_set():
                        break
                    self.send(name)
                    self._renew()  # a resume sends the ends of all trials again
            except StorageError:
                pause = PAUSE_SECONDS

    def _renew(self) -> None:
        if time.monotonic() > self._renewed + RENEWED_SECONDS:
            self.taken_over = self._lease.renew()
            self._renewed = time.monotonic()

    def _watched(self) -> Iterator[str]:
        for pattern in WATCHED:
            yield from (str(path.relative_to(self._folder)) for path in self._folder.glob(pattern))

    def send(self, *names: str) -> None:
        """Send files that have changed since they were sent last. Raises StorageError."""
        for name in names:
            with self._one, suppress(FileNotFoundError):
                path = self._folder / name
                stamp = (path.stat().st_size, path.stat().st_mtime_ns)
                if self._sent.get(name) != stamp:
                    self._bucket.send(name, path)
                    self._sent[name] = stamp

    def deliver(self) -> str:
        """Make the bucket's copy the working copy's equal; returns what prevents it and how to go on, or nothing."""
        deadline = time.monotonic() + DELIVERY_SECONDS
        while not self.taken_over:
            try:
                self._deliver()
            except StorageError as error:
                if time.monotonic() > deadline - RETRY_SECONDS:
                    way = f"`gaelp-ray resume {self._bucket.address.shown}` brings it there"
                    return f"{error}. What it lacks is on this machine: {way}"
                time.sleep(RETRY_SECONDS)
            else:
                return ""
        return f"{self._bucket.address} is being run by {self.taken_over}, and what was done here since then stays here"

    def _deliver(self) -> None:
        there = self._bucket.stats()
        here = [name for name in local_files(self._folder) if not self._is_behind(name, there)]
        for group in by_rank(here):
            self.send(*(name for name in group if name in self._sent or not self._has(name, there)))
        gone = there.keys() - set(local_files(self._folder)) - {LEASE, TURN}
        for name in sorted(name for name in gone if self._may_go(name, there)):
            self._bucket.remove(name)

    def _has(self, name: str, there: dict[str, Stat]) -> bool:
        try:
            return is_sent(self._folder / name, there.get(name))
        except FileNotFoundError:
            return True

    def _may_go(self, name: str, there: dict[str, Stat]) -> bool:
        """Of a trial only where all of it has been here: its worker may run on another machine."""
        parts = name.split("/")
        if parts[0] != "trials" or len(parts) < 3:
            return True
        record = f"trials/{parts[1]}/{RECORD}"
        if not (self._folder / record).is_file() or self._is_behind(record, there):
            return False
        return parts[2] != "checkpoints" or _was_removed(self._folder.joinpath(*parts[:4]))

    def _is_behind(self, name: str, there: dict[str, Stat]) -> bool:
        """Whether it is the record of a trial that another machine's worker has taken further."""
        if not name.endswith(f"/{RECORD}") or name not in there:
            return False
        with suppress(FileNotFoundError):
            return (self._folder / name).stat().st_size < there[name].size
        return True


def _was_removed(checkpoint: Path) -> bool:
    """Whether what is missing of it here was here once: a fetch that broke off lacks it, too.

    A trial whose weights nobody needs any more keeps an empty folder of checkpoints, which no fetch leaves behind.
    """
    if checkpoint.is_dir():
        return (checkpoint / WHOLE).is_file()
    left = [found for found in checkpoint.parent.glob("[0-9]*") if found.is_dir()]
    later = (found for found in left if found.name > checkpoint.name and (found / WHOLE).is_file())
    return any(later) if left else checkpoint.parent.is_dir()
