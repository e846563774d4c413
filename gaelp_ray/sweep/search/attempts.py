"""Why a trial broke off, and whether it is tried again: each cause has its own budget.

Tune counts all failures of a trial alike. Here Tune would try for ever, and this module says when it is enough.
"""

from __future__ import annotations

import errno
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import cloudpickle
from ray.exceptions import (
    ActorUnavailableError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    UnserializableException,
    WorkerCrashedError,
)

from gaelp_ray.errors import NodeError, describe
from gaelp_ray.sweep.store.journal import Attempt

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

EXCEPTION, MEMORY, KILLED, NODE, UNFIT, STUCK, DISK = (
    "exception",
    "out of memory",
    "worker killed",
    "node lost",
    "node unfit",
    "stuck",
    "disk",
)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of a disk that says nothing about the trial: the sweep ends, and can go on."""

NODE_GONE = re.compile("node died|node was|NODE_DIED", re.IGNORECASE)
"""Of what Ray says of a dead worker."""

RETRIES: Mapping[str, float] = {
    EXCEPTION: 0,  # the same seeds raise the same again
    STUCK: 0,
    MEMORY: 1,  # its neighbours may have used the memory
    KILLED: 3,
    NODE: math.inf,  # a spot node that is taken away says nothing about the trial
    UNFIT: math.inf,  # it does not see the storage, or has not the package: another one will
    DISK: math.inf,
}
"""How often a trial is tried again after each cause."""


class Attempts:
    """Counts what every trial broke off of. `tell` hears each time, with all that Ray says of it."""

    def __init__(self, tell: Callable[[Attempt, str], None]) -> None:
        self._tell = tell
        self._counts: dict[tuple[str, str], int] = {}
        self._given_up: dict[str, Attempt] = {}
        self._stuck: dict[str, str] = {}

    def broke_off(self, trial: Trial) -> None:
        """A trial's worker has failed. Tune has just written the error into the trial's folder."""
        name = str(trial.config["trial"]["name"])
        error = error_of(trial)
        cause, text = cause_of(error), died_of(error)
        if name in self._stuck:
            cause, text = STUCK, self._stuck.pop(name)
        last = trial.last_result or {}
        found = Attempt(name, cause, text, int(last.get("training_iteration", 0)), _memory(error, last))
        self._counts[name, cause] = self._counts.get((name, cause), 0) + 1
        if self._counts[name, cause] > RETRIES[cause]:
            self._given_up[name] = found
        self._tell(found, re.sub(r"\x1b\[\d*m", "", str(error)))  # Ray colours it

    def stuck(self, name: str, why: str) -> None:
        """A trial's worker is about to be killed, as it does not answer."""
        self._stuck[name] = why

    def left(self, attempt: Attempt) -> float:
        """How often the trial may still break off of this cause and be tried again; below 0 where it is given up."""
        return RETRIES[attempt.cause] - self._counts[attempt.trial, attempt.cause]

    def given_up(self, name: str) -> Attempt | None:
        """The failure that a trial ended with, if it did."""
        return self._given_up.get(name)


def _memory(error: BaseException | None, last: Mapping[str, Any]) -> float | None:
    """Bytes that the trial's worker used when Ray killed it, or else the most that it reported."""
    killed = re.search(rf"pid={last.get('pid')}, actual memory used=([0-9.]+)GB", str(error))
    return float(killed[1]) * 2**30 if killed else last.get("memory")


def in_words(attempt: Attempt) -> str:
    """Why a trial broke off, in one line."""
    if attempt.cause != MEMORY:
        return attempt.error
    seen = f"; its worker was seen to use {attempt.memory / 2**20:,.0f} MiB" if attempt.memory else ""
    return f"out of memory after iteration {attempt.iteration}{seen}: raise resources.memory, or run fewer at a time"


def cause_of(error: BaseException | None) -> str:
    """One of the causes."""
    inner = error.cause if isinstance(error, RayTaskError) else None
    if isinstance(inner, RayError):
        error = inner
    if isinstance(inner, OSError) and inner.errno in FULL:
        return DISK
    text = str(error)
    if isinstance(inner, NodeError) or re.search(r"ModuleNotFoundError: No module named 'gaelp_ray\b", text):
        return UNFIT
    own = isinstance(error, (RayTaskError, UnserializableException))  # torch has an OutOfMemoryError, too
    if not own and (isinstance(error, OutOfMemoryError) or "memory pressure" in text or "OutOfMemory" in text):
        return MEMORY
    if isinstance(error, RayActorError) and not error.actor_init_failed:
        lost = isinstance(error, ActorUnavailableError) or error.preempted or NODE_GONE.search(text)
        return NODE if lost else KILLED
    if isinstance(error, NodeDiedError):
        return NODE
    return KILLED if isinstance(error, WorkerCrashedError) else EXCEPTION


def error_of(trial: Trial) -> BaseException | None:
    """From the driver's own folder: Trial.get_error() reads the storage, where it is copied later."""
    if trial.pickled_error_file and Path(trial.pickled_error_file).is_file():
        error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        return error if isinstance(error, BaseException) else None
    if trial.error_file and Path(trial.error_file).is_file():
        return RuntimeError(Path(trial.error_file).read_text(encoding="utf-8"))
    return None


def died_of(error: BaseException | None) -> str:
    """A trial's own exception in one line, `ValueError: text`, without Ray's wrapping."""
    if error is None:
        return "an unknown error"
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException) and not isinstance(cause, UnserializableException):
        return describe(cause)
    if cause_of(error) == MEMORY:
        return "Ray's memory monitor killed its worker"
    if isinstance(error, ActorUnavailableError):  # Ray does not know yet that it never will be again
        return "its worker is out of reach: its node is gone, or the network"
    if cause_of(error) in (KILLED, NODE):
        return _shortened(str(error))
    # A worker that died when it was started, an exception that cannot be unpickled, or an error read from a file: the
    # exception is the traceback's last line.
    lines = [line for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^(?:\w+\.)+(?=\w+(?::|$))", "", lines[-1].strip()) if lines else describe(error)


def _shortened(text: str) -> str:
    """Ray's account of a dead worker, without ids, addresses and advice."""
    found = re.search(r"(?:Worker exit detail|cause): *(.*?)(?:\. |\n|$)", text)
    return f"its worker died: {found[1]}" if found else " ".join(text.split())[:200]
