"""One W&B run, and the rule that tracking never stops training.

RunLog is all that a trial knows of W&B: open, log a row, say how it ended, close. wandb's own errors become one
warning. Whatever the server does, open() takes 25 s at most, and the ends of all runs of a process 30 s together.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import wandb

from gaelp_ray.errors import GaelpError, TrackingError, describe
from gaelp_ray.tracking.process import (
    AVOID_SECONDS,
    FAILURES,
    PROBE_SECONDS,
    QUIET,
    REFUSALS,
    SERVICE,
    bounded_settings,
)
from gaelp_ray.tracking.server import Server, ServerBusy

__all__ = ["QUIET", "Row", "RunIdentity", "RunLog", "describe"]

logger = logging.getLogger(__name__)

Init = Callable[..., Any]
"""wandb.init or Ray's setup_wandb: keywords in, a run out."""

INTERRUPTED = 130
NO_START: tuple[type[Exception], ...] = (*REFUSALS, GaelpError)


@dataclass(frozen=True)
class RunIdentity:
    """How a run is found again in W&B."""

    id: str
    name: str
    project: str
    group: str
    job_type: str
    mode: str
    entity: str | None = None
    tags: tuple[str, ...] = ()
    reinit: str = "finish_previous"

    def as_init(self) -> dict[str, Any]:
        """Keywords that wandb.init and setup_wandb share."""
        return {
            "project": self.project,
            "entity": self.entity,
            "group": self.group,
            "job_type": self.job_type,
            "tags": list(self.tags),
            "mode": self.mode,
            "reinit": self.reinit,
            "resume": "allow" if self.mode == "online" else None,
            "settings": bounded_settings(),
        }


@dataclass(frozen=True)
class Row:
    """One row of a run's history: `time` in seconds since 1970, `values` by W&B's names."""

    step: int
    time: float
    values: Mapping[str, float]


class RunLog:
    """The W&B run of one trial; with mode disabled, nothing at all."""

    def __init__(self, run: Any | None) -> None:
        self._run = run
        # wandb's own `step` reads 0 at the start of a resumed run.
        self._lowest = self._next = int(getattr(run, "starting_step", 0))
        if run is not None:
            SERVICE.opened(self)

    @classmethod
    def open(cls, init: Init, identity: RunIdentity, config: Mapping[str, Any]) -> RunLog:
        """Start a run through Ray's `setup_wandb`; where the server is away, or W&B refuses, the same run offline."""
        if identity.mode == "disabled":
            return cls(None)
        online = identity.mode == "online"
        try:
            if online:
                _require_server()
                SERVICE.avoided_until = time.monotonic() + AVOID_SECONDS
            keywords = identity.as_init() | {"trial_id": identity.id, "trial_name": identity.name}
            log = cls(SERVICE.start(lambda: init(config=dict(config), **keywords)))
        except NO_START as error:
            SERVICE.lost = SERVICE.lost or online
            logger.warning("W&B did not start the run %s (%s): going on offline", identity.name, _told(error))
            return cls._offline(replace(identity, mode="offline"), config)
        if online:
            SERVICE.lost, SERVICE.avoided_until = False, -math.inf
        return log

    @classmethod
    def _offline(cls, identity: RunIdentity, config: Mapping[str, Any]) -> RunLog:
        keywords = identity.as_init() | {"id": identity.id, "name": identity.name}
        try:
            return cls(SERVICE.start(lambda: wandb.init(config=dict(config), **keywords)))
        except REFUSALS as error:
            logger.warning(
                "W&B did not start the run %s offline either (%s): going on without it", identity.name, _told(error)
            )
            return cls(None)

    @property
    def next_step(self) -> int:
        """The first step that the run does not hold: of a resumed one, that which the server does not have."""
        return self._next

    def log(self, row: Mapping[str, float], step: int, at: float | None = None) -> None:
        """One row of history, at a time (seconds since 1970) other than now; what the server holds is not sent again.

        Rows of the same step become one.
        """
        if step < self._lowest:
            return
        self._lowest, self._next = step, step + 1
        values = dict(row) if at is None else {**row, "_timestamp": at}
        self._forgiving(lambda run: run.log(values, step=step))

    def catch_up(self, rows: Iterable[Row]) -> int:
        """Log what the run lacks of the rows recorded so far; how many these were.

        To be called after a trial was restarted, before its next row: later, W&B takes no earlier step.
        """
        missing = [row for row in rows if row.step >= self.next_step]
        for row in missing:
            self.log(row.values, row.step, row.time)
        return len(missing)

    def summarise(self, values: Mapping[str, Any]) -> None:
        """Values that stand for the whole run."""
        self._forgiving(lambda run: run.summary.update(dict(values)))

    def end(self, status: str, reason: str = "", exit_code: int = 0) -> None:
        """Say how the run has ended, and close it; a reason of an earlier end is replaced."""
        self.summarise({"status": status, "reason": reason})
        self.close(exit_code)

    def close(self, exit_code: int = 0) -> None:
        """Finish the run; a second call does nothing."""
        self._forgiving(lambda run: SERVICE.finish(run, exit_code))
        SERVICE.closed(self)
        self._run = None

    def closing_on_failure(self) -> AbstractContextManager[None]:
        """A block whose exception is written to the run, which then ends as failed; the exception goes on."""
        return _ClosingOnFailure(self)

    def _forgiving(self, action: Callable[[Any], Any]) -> None:
        if self._run is None:
            return
        try:
            action(self._run)
        except FAILURES as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        logger.warning("W&B: %s", describe(error))


def _require_server() -> None:
    """A moment's look before an online start, which waits much longer for a server that is away.

    One that is only busy gets its chance, unless it has let this process down before.
    """
    if time.monotonic() < SERVICE.avoided_until:
        raise TrackingError("W&B has not started another run a moment ago")
    try:
        Server.configured().probe(PROBE_SECONDS)
    except ServerBusy:
        if SERVICE.lost:
            raise


class _ClosingOnFailure(AbstractContextManager[None]):
    def __init__(self, log: RunLog) -> None:
        self._log = log

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, (StopIteration, GeneratorExit)):
            return
        if isinstance(error, Exception):
            self._log.end("failed", describe(error), exit_code=1)
        else:  # Ctrl-C, or the process shall end
            self._log.end("interrupted", describe(error), exit_code=INTERRUPTED)


def _told(error: Exception) -> str:
    """Our own errors are made to be read as they are."""
    return str(error) if isinstance(error, GaelpError) else describe(error)
