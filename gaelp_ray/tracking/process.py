"""What one process knows of W&B: what it may fail with, how long it is waited for, which runs are open.

wandb keeps one helper process per process, which holds all runs of it. `wandb.teardown()` ends them all, so it is
called only where no run is open.
"""

from __future__ import annotations

import math
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import wandb
from wandb.sdk.lib.service.service_connection import WandbApiFailedError
from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError
from wandb.sdk.mailbox.mailbox_handle import ServerResponseError

HELPER_FAILURES: tuple[type[Exception], ...] = (
    ServerResponseError,  # it refuses, as for an id in use
    MailboxClosedError,  # it has died
    HandleAbandonedError,
    WandbApiFailedError,
    ConnectionError,
)
"""What wandb raises when its helper process fails; a server that is away is none of these."""

FAILURES: tuple[type[Exception], ...] = (wandb.Error, OSError, *HELPER_FAILURES)
"""What wandb raises when it, its helper process or its server fail; a TimeoutError is an OSError."""

REFUSALS: tuple[type[Exception], ...] = (*FAILURES, ValueError)
"""What the start of a run raises besides: a name that W&B refuses, or, of Ray's setup_wandb, a node without a key."""

PROBE_SECONDS, INIT_SECONDS, FINISH_SECONDS, HTTP_SECONDS = 3.0, 15.0, 20.0, 5.0
AVOID_SECONDS = 300.0
"""How long no run is started online after one was not, although the server answered: each try costs INIT_SECONDS."""
LOST_SECONDS = 1.0
"""How long the end of a run is waited for once the server has let this process down: what is local is written then."""

QUIET = {
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,  # 50 ms of CPU for each run; provenance.json has the versions
}
"""Settings of a run that shares a machine with many others: no stdout capture, no machine statistics."""


def bounded_settings() -> wandb.Settings:
    """QUIET, and no wait without an end."""
    limits = {
        "init_timeout": INIT_SECONDS,
        "finish_timeout": FINISH_SECONDS,
        "finish_timeout_raises": True,
        "x_graphql_timeout_seconds": HTTP_SECONDS,
    }
    return wandb.Settings(**QUIET, **limits)


class Service:
    """The state of wandb in this process."""

    def __init__(self) -> None:
        self._open: weakref.WeakSet[Any] = weakref.WeakSet()
        self.lost = False  # the server has let this process down, and has taken no run since
        self.avoided_until = -math.inf  # on time.monotonic()

    def opened(self, log: object) -> None:
        """A run that teardown would end."""
        self._open.add(log)

    def closed(self, log: object) -> None:
        """It has ended, or nothing more can be done for it."""
        self._open.discard(log)

    def reset(self) -> bool:
        """Start wandb anew, as after a failed start of a run, whose id it holds on to; False where runs are open."""
        if len(self._open):
            return False
        try:
            wandb.teardown()
        except FAILURES:
            pass  # its helper process had died, which was the reason to start anew
        return True

    def start(self, init: Callable[[], Any]) -> Any:
        """What init() returns, from wandb started anew where its helper process is to blame."""
        with launcher_left_out():
            try:
                return init()
            except HELPER_FAILURES:
                if not self.reset():
                    raise
                return init()

    def finish(self, run: Any, exit_code: int) -> None:
        """End a run. Raises one of FAILURES, TimeoutError where the server does not take the end in time.

        wandb's own limit is set when a run starts, too early to know how many runs a dead server will keep waiting;
        so the wait is in a thread, and all but the first of them are short.
        """
        outcome: list[Exception | None] = []

        def end() -> None:
            try:
                run.finish(exit_code=exit_code)
                outcome.append(None)
            except FAILURES as error:
                outcome.append(error)

        seconds = LOST_SECONDS if self.lost and run.settings.mode == "online" else FINISH_SECONDS + 1
        thread = threading.Thread(target=end, name="end of a W&B run", daemon=True)
        thread.start()
        thread.join(seconds)
        error = outcome[0] if outcome else TimeoutError("Timed out finishing run.")
        if isinstance(error, TimeoutError):
            self.lost = True
        if error:
            raise error


LAUNCHER, LOOKS_FOR_INPUTS = "wandb.sdk.launch", "_detect_and_apply_job_inputs"


@contextmanager
def launcher_left_out() -> Iterator[None]:
    """Keep the first run of a process from importing W&B's launcher, which takes 0.3 s of CPU.

    Each run asks the launcher for inputs that this process has staged for it. A process that has not imported the
    launcher has staged none.
    """
    looks = vars(wandb.Run).get(LOOKS_FOR_INPUTS)  # None in another wandb, which then does as it likes
    if looks is None or LAUNCHER in sys.modules:
        yield
        return
    setattr(wandb.Run, LOOKS_FOR_INPUTS, lambda run: None)
    try:
        yield
    finally:
        setattr(wandb.Run, LOOKS_FOR_INPUTS, looks)


SERVICE = Service()
"""The one of this process."""
