"""Who runs a sweep that lies in S3: an object that its driver renews, as a bucket knows no locks.

.lease   {process, machine, id, renewed_at}, removed at the end
.turn    the id of the last driver that ran the sweep; its machine's working copy is the one that may be ahead
.now     for a moment: its time tells the server's
"""

from __future__ import annotations

import json
import os
import platform
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.remote.bucket import Bucket

LEASE, TURN, NOW = ".lease", ".turn", ".now"

RENEWED_SECONDS, LAPSED_SECONDS = 20.0, 60.0

SETTLED_SECONDS = 0.3
"""After which a lease that two have written at a time is the second one's."""


@dataclass(frozen=True)
class Holder:
    """Who runs it."""

    process: int
    machine: str
    id: str
    renewed_at: float

    @property
    def is_dead(self) -> bool:
        """Whether it was a process of this machine, and is no more."""
        return self.machine == platform.node() and not _lives(self.process)

    @property
    def runs(self) -> bool:
        """Whether it has been heard of lately, as far as this machine's clock can tell: for who only looks."""
        return not self.is_dead and time.time() - self.renewed_at < LAPSED_SECONDS

    def __str__(self) -> str:
        return f"process {self.process} on {self.machine}"


def _lives(process: int) -> bool:
    """A killed process that nobody waits for, as in a container without an init, keeps its number."""
    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Lease:
    """One driver's claim to a sweep in a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self.id = uuid.uuid4().hex

    def holder(self) -> Holder | None:
        """Who has it; None for nobody, and for an object that says nothing."""
        content = self._bucket.read(LEASE)
        try:
            return Holder(**json.loads(content)) if content else None
        except (ValueError, TypeError):
            return None

    def take(self) -> None:
        """Raises StorageError with whoever runs the sweep."""
        self._refuse(self.holder())
        self._write()
        time.sleep(SETTLED_SECONDS)
        self._refuse(self.holder())

    def _refuse(self, holder: Holder | None) -> None:
        if holder and holder.id != self.id and not holder.is_dead and not self._has_lapsed():
            address = self._bucket.address
            raise StorageError(f"the sweep {address} is being run by {holder}: wait for it, or stop it first")

    def _has_lapsed(self) -> bool:
        """By the server's clock alone: those of two machines may be further apart than a lease lasts."""
        self._bucket.write(NOW, b"now")
        now, lease = self._bucket.stat(NOW), self._bucket.stat(LEASE)
        self._bucket.remove(NOW)
        return lease is None or (now is not None and now.when - lease.when >= LAPSED_SECONDS)

    def renew(self) -> str:
        """Go on; returns who has taken the sweep over, empty if nobody has."""
        holder = self.holder()
        if holder and holder.id != self.id:
            return str(holder)
        if self._bucket.read(TURN) not in (self.id.encode(), None):
            return "another machine"
        self._write()
        return ""

    def _write(self) -> None:
        holder = Holder(os.getpid(), platform.node(), self.id, time.time())
        self._bucket.write(LEASE, json.dumps(asdict(holder)).encode())

    def give_back(self) -> None:
        """At the end; where the server is away it lapses."""
        holder = self.holder()
        if holder and holder.id == self.id:
            self._bucket.remove(LEASE)


class Turns:
    """Which driver's working copy this is; two ids while one follows another, so that neither loss costs the copy."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / TURN

    def known(self) -> list[str]:
        """Ids of the last drivers here; none where the folder is only a copy to look at."""
        try:
            return self._file.read_text(encoding="ascii").split()
        except OSError:
            return []

    def take(self, bucket: Bucket, turn: str) -> None:
        """From now on this is the copy that counts."""
        self._file.write_text("\n".join([*self.known()[-1:], turn]), encoding="ascii")
        bucket.write(TURN, turn.encode())
        self._file.write_text(turn, encoding="ascii")

    def forget(self) -> None:
        """It is a copy of what was done elsewhere."""
        self._file.unlink(missing_ok=True)
