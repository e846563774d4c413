"""A trial's files between its worker and the sweep's storage in S3; nothing of it where the storage is a folder.

After each checkpoint the record goes first, then the checkpoint, then those go that are no longer kept: what is there
is at any time what a resume can use. A server that is away costs a worker some seconds now and then, and nothing else.
Start at Carrier.
"""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from gaelp_ray.errors import NodeError, StorageError
from gaelp_ray.sweep.remote.address import Address
from gaelp_ray.sweep.remote.bucket import Bucket
from gaelp_ray.sweep.remote.copies import by_rank, fetch, is_sent, local_files
from gaelp_ray.sweep.remote.lease import TURN
from gaelp_ray.sweep.remote.sweep import flown
from gaelp_ray.sweep.store.trial_files import DIGESTS, TrialFiles
from gaelp_ray.sweep.trials.site import DRIVERS

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 30.0
"""Without further attempts after one that failed."""

PATIENCE_SECONDS, RETRY_SECONDS = 60.0, 3.0
"""On a node whose files nobody else sees, how long one waits for the server, and between two attempts."""


class Carrier:
    """Carries one trial's files; `sweep` is what all trials share."""

    # Of all trials of this process: until when it waits, and what a server that was away has not got yet.
    _paused_until = 0.0
    _unsent: ClassVar[dict[Path, Carrier]] = {}

    def __init__(self, sweep: Mapping[str, Any], files: TrialFiles) -> None:
        self._sweep, self._files = Path(sweep["folder"]), files
        self._turn = sweep.get("turn") or ""
        self._bucket = Bucket(Address.parse(sweep["remote"])) if sweep.get("remote") else None
        self._apart = DRIVERS in sweep
        self._size = 0  # of the record as it was sent last
        self._newest = self._sent = 0  # iterations: of the last checkpoint, and up to which the bucket has the trial

    def fetch(self) -> None:
        """Where another machine's worker has taken the trial further, go on from there."""
        if self._bucket is None:
            return
        if self._apart:
            self._insist(lambda: self._fetch_folder(self._files.folder))
            return
        try:
            there = self._bucket.stat(self._name(self._files.record))
            if there is None or there.size <= _size(self._files.record):
                return
            here = self._files.record.read_bytes() if self._files.record.is_file() else b""
            if (self._bucket.read(self._name(self._files.record)) or b"").startswith(here):
                self._fetch_folder(self._files.folder)
        except StorageError as error:
            self._put_off(error)

    def fetch_checkpoint(self, folder: Path) -> None:
        """Bring a checkpoint here that another trial has written elsewhere."""
        if self._bucket is None or (folder / DIGESTS).is_file():  # without, it is one that is arriving, or never did
            return
        if self._apart:
            self._insist(lambda: self._fetch_folder(folder))
            return
        try:
            self._fetch_folder(folder)
        except StorageError as error:
            self._put_off(error)

    def _fetch_folder(self, folder: Path) -> None:
        assert self._bucket is not None
        below = self._name(folder)
        found = self._bucket.stats(below)
        fetch(self._bucket, found, self._sweep, lambda name: flown(name) and name.startswith(f"{below}/"))

    def send(self, iteration: int) -> None:
        """The record, and the checkpoints that are kept; the one after `iteration` is new."""
        if self._bucket is None or iteration == self._sent:
            return
        self._newest = iteration
        Carrier._unsent[self._files.folder] = self
        if time.monotonic() < Carrier._paused_until:
            return
        try:
            for folder, other in list(Carrier._unsent.items()):
                other._send()
                del Carrier._unsent[folder]
        except StorageError as error:
            self._put_off(error)

    def settle(self) -> None:
        """Where nobody else sees the files, wait until the bucket has them. Raises NodeError if that takes long."""
        if self._apart and self._files.folder in Carrier._unsent:
            self._insist(self._send)
            Carrier._unsent.pop(self._files.folder, None)

    def leave(self) -> None:
        """The worker lets go of the trial: what it recorded since the last checkpoint is of use to whoever looks."""
        if self._apart and _size(self._files.record) != self._size:
            try:
                self._send()
            except StorageError as error:
                self._put_off(error)

    def _insist(self, action: Callable[[], None]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return action()
            except StorageError as error:
                if time.monotonic() > deadline:
                    raise NodeError(f"node {platform.node()}: {error}") from None
                time.sleep(RETRY_SECONDS)

    def _send(self) -> None:
        if self._bucket is None or not self._files.record.is_file():  # of a sweep that was replaced since then
            return
        if (self._bucket.read(TURN) or b"").decode() != self._turn:
            logger.warning("%s is run from elsewhere: nothing is sent any more", self._bucket.address)
            self._bucket = None
            return
        self._size = _size(self._files.record)
        self._bucket.send(self._name(self._files.record), self._files.record)
        self._send_checkpoints(self._bucket, self._newest)
        self._sent = self._newest

    def _send_checkpoints(self, bucket: Bucket, newest: int) -> None:
        root = self._files.checkpoint(0).parent
        there = bucket.stats(self._name(root))
        kept = {self._name(self._files.checkpoint(n)): n for n in self._files.checkpoints()}
        for folder, iteration in kept.items():
            names = [f"{folder}/{name}" for name in local_files(self._sweep / folder)]
            if iteration != newest and all(is_sent(self._sweep / name, there.get(name)) for name in names):
                continue
            if f"{folder}/{DIGESTS}" in there:  # another one of that iteration, which was cut off
                bucket.remove(f"{folder}/{DIGESTS}")
            for group in by_rank(names):
                for name in group:
                    bucket.send(name, self._sweep / name)
        below = len(self._name(root)) + 1
        for number in sorted({name[below:].partition("/")[0] for name in there}):
            if f"{self._name(root)}/{number}" not in kept:
                bucket.remove_folder(f"{self._name(root)}/{number}")

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self._sweep))

    def _put_off(self, error: StorageError) -> None:
        Carrier._paused_until = time.monotonic() + PAUSE_SECONDS
        logger.warning("%s; it is tried again later", error)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
