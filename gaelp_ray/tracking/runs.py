"""One W&B run, and the rule that tracking never stops training.

RunLog is all that a trial knows of W&B: open, log a row, note a failure, close. wandb's own errors become one warning.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import wandb

logger = logging.getLogger(__name__)

Init = Callable[..., Any]
"""wandb.init or Ray's setup_wandb: keywords in, a run out."""

QUIET = {
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
}
"""Settings of a run that shares a machine with many others: no stdout capture, no machine statistics."""


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
            "settings": wandb.Settings(**QUIET),
        }


class RunLog:
    """The W&B run of one trial; with mode disabled, nothing at all."""

    def __init__(self, run: Any | None) -> None:
        self._run = run

    @classmethod
    def open(cls, init: Init, identity: RunIdentity, config: Mapping[str, Any]) -> RunLog:
        """Start a run through Ray's `setup_wandb`; where W&B refuses, the same run offline."""
        if identity.mode == "disabled":
            return cls(None)
        keywords = identity.as_init() | {"trial_id": identity.id, "trial_name": identity.name}
        try:
            return cls(init(config=dict(config), **keywords))
        except (wandb.Error, OSError, ValueError) as error:  # ValueError: Ray's, where a node has no key
            logger.warning("W&B did not start the run %s (%s): going on offline", identity.name, error)
            wandb.teardown()
        offline = identity.as_init() | {"id": identity.id, "name": identity.name, "mode": "offline"}
        try:
            return cls(wandb.init(config=dict(config), **offline))
        except (wandb.Error, OSError) as error:
            logger.warning(
                "W&B did not start the run %s offline either (%s): going on without it", identity.name, error
            )
            return cls(None)

    def log(self, row: Mapping[str, float], step: int) -> None:
        """One row of history."""
        self._forgiving(lambda run: run.log(dict(row), step=step))

    def summarise(self, values: Mapping[str, Any]) -> None:
        """Values that stand for the whole run."""
        self._forgiving(lambda run: run.summary.update(dict(values)))

    def close(self, exit_code: int = 0) -> None:
        """Finish the run; a second call does nothing."""
        self._forgiving(lambda run: run.finish(exit_code=exit_code))
        self._run = None

    def closing_on_failure(self) -> AbstractContextManager[None]:
        """A block whose exception is written to the run, which then ends as failed; the exception goes on."""
        return _ClosingOnFailure(self)

    def _forgiving(self, action: Callable[[Any], Any]) -> None:
        if self._run is None:
            return
        try:
            action(self._run)
        except (wandb.Error, OSError) as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        logger.warning("W&B: %s", error)


class _ClosingOnFailure(AbstractContextManager[None]):
    def __init__(self, log: RunLog) -> None:
        self._log = log

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, (StopIteration, GeneratorExit)):
            self._log.summarise({"error": describe(error)})
            self._log.close(exit_code=1)


def describe(error: BaseException) -> str:
    """An exception in one line: its type and the first line of its message."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
