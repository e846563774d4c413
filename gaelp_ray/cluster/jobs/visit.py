"""A sweep run on the head of a cluster that is reached through Ray Client, and watched while somebody is connected.

Its driver is a process of the head's, as Tune's must be on a node (decision 024). An actor there starts it, tells what
it prints, and hands over what the sweep has come to. Start at Visit.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import ray

from gaelp_ray.cluster.jobs.driver import FOLDER
from gaelp_ray.cluster.jobs.request import DRIVER, Request
from gaelp_ray.errors import ClusterError
from gaelp_ray.sweep.planning.cluster import STARTS, STILLBORN, cluster_at

HEAD = {"node:__internal_head__": 0.001}
"""Ray's own resource of the head's node, of which there is 1."""

SECONDS = 1.0
LOST = 1
"""The exit code of a driver that was killed."""

DETACHED = """
log=$1 code=$2 files=$3
shift 3
(
    trap : TERM
    "$@"
    ended=$?
    cd / && rm -rf "$files"
    echo "$ended" >"$code.part" && mv "$code.part" "$code"
) >"$log" 2>&1 &
"""
"""For sh: a command that nobody waits for, what it prints, and what it has ended with."""


class Guide:
    """On the head: a job's driver, in the files that were sent. An actor of Ray's.

    Whoever is connected takes it along when he goes. So the driver is no child of it, and the sweep goes on.
    """

    def __init__(self, job: str, package: bytes, words: Sequence[str]) -> None:
        base = Path(FOLDER).expanduser()
        files, self._log, self._code, self._tar = (base / f"{job}.{kind}" for kind in ("files", "log", "code", "tar"))
        files.mkdir(parents=True)
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            archive.extractall(files)
        command = [sys.executable, "-m", DRIVER, *words]
        shell = subprocess.Popen(
            ["sh", "-c", DETACHED, "sh", str(self._log), str(self._code), str(files), *command],
            cwd=files,
            env={**os.environ, **_here()},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        shell.wait()
        self._group = shell.pid

    def look(self, shown: int) -> tuple[bytes, int | None]:
        """What was printed from a byte on, and the exit code once all has been."""
        alive = self._lives()
        code = self._code.read_text(encoding="utf-8").strip() if self._code.exists() else ""
        text = self._log.read_bytes()[shown:] if self._log.exists() else b""
        return text, int(code) if code else None if alive else LOST

    def _lives(self) -> bool:
        try:
            os.killpg(self._group, 0)
        except ProcessLookupError:
            return False
        return True

    def stop(self) -> None:
        """What Ctrl-C is to a sweep: to its process, and to those that wait for it."""
        if self._lives():
            os.killpg(self._group, signal.SIGTERM)

    def results(self) -> bytes | None:
        """The packed results, None where there are none; what was told already goes."""
        self._log.unlink(missing_ok=True)
        self._code.unlink(missing_ok=True)
        return self._tar.read_bytes() if self._tar.is_file() else None


def _here() -> dict[str, str]:
    """What `auto` is to be: this cluster, and not another that runs on the same machine."""
    return {"RAY_ADDRESS": ray.get_runtime_context().gcs_address} if ray.is_initialized() else {}


@contextmanager
def ctrl_c() -> Iterator[threading.Event]:
    """Ctrl-C as an event that is looked at, and the next one as ever.

    Raised in the middle of Ray Client, a KeyboardInterrupt is lost where an object's __del__ is talking to the head.
    """
    told = threading.Event()

    def hear(_number: int, _frame: object) -> None:
        if told.is_set():
            raise KeyboardInterrupt
        told.set()

    before = signal.signal(signal.SIGINT, hear)
    try:
        yield told
    finally:
        signal.signal(signal.SIGINT, before)


class Visit:
    """A context manager: connected to the cluster at `ray://host:port`. Raises InputError where none answers."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._guide: Any = None
        self._shown = 0  # bytes

    def __enter__(self) -> Visit:
        cluster_at(self.address)
        for left in reversed(range(STARTS)):
            try:
                ray.init(self.address, log_to_driver=False, logging_level=logging.ERROR)
                break
            except ConnectionAbortedError as error:
                if STILLBORN not in str(error) or not left:
                    reason = str(error).strip().splitlines()[-1]
                    raise ClusterError(f"{self.address}: Ray does not connect: {reason}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ray.shutdown()

    def start(self, request: Request) -> None:
        """Send the files, and start the driver."""
        with tempfile.TemporaryDirectory() as scratch:
            package = Path(scratch) / "package.zip"
            request.shipment.pack(package, request.texts)
            actor = ray.remote(Guide).options(num_cpus=0, resources=HEAD)
            self._guide = actor.remote(request.job.id, package.read_bytes(), request.words)

    def follow(self, show: Callable[[bytes], object], told: threading.Event) -> int | None:
        """Show what is printed there until the end, or until we are told to stop; returns the exit code, or None.

        Raises ClusterError where it is lost.
        """
        while not told.is_set():
            text, code = self._ask(self._guide.look, self._shown)
            show(text)
            self._shown += len(text)
            if code is not None:
                return int(code) if code >= 0 else 128 - int(code)
            told.wait(SECONDS)
        return None

    def stop(self) -> None:
        """End the sweep; follow() then sees it go."""
        self._ask(self._guide.stop)

    def results(self) -> bytes | None:
        """A tar file; None where the sweep has left nothing."""
        found: bytes | None = self._ask(self._guide.results)
        return found

    def _ask(self, method: Any, *words: Any) -> Any:
        try:
            return ray.get(method.remote(*words))
        except (ray.exceptions.RayError, ConnectionError) as error:
            raise ClusterError(f"{self.address}: the sweep's process there is lost: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
