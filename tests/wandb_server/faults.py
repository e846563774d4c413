"""Faults that a test injects into the answers of a server."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal

Place = Literal["graphql", "filestream", "storage", "other"]
Where = Literal["graphql", "filestream", "storage", "any"]
Kind = Literal["status", "hang", "slow", "cut"]


@dataclass(eq=False)
class Fault:
    """Requests that fit fail in one way.

    where: which requests; `any` are all, also the probe of `/`. operation: of GraphQL only this one, of storage only
    `PUT storage` or `GET storage`. kind: `status` answers `status` (and `retry_after`, seconds, as a header), `hang`
    says nothing for `seconds` and closes the connection, `slow` serves after `seconds`, `cut` closes at once. times:
    how many requests; None is all, until clear().
    """

    where: Where = "any"
    kind: Kind = "status"
    status: int = 500
    retry_after: float | None = None
    seconds: float = 30.0
    times: int | None = None
    operation: str | None = None
    hits: int = 0
    over: threading.Event = field(default_factory=threading.Event, repr=False)

    def fits(self, where: Place, operation: str) -> bool:
        """Whether a request is one that fails."""
        left = self.times is None or self.hits < self.times
        return left and self.where in ("any", where) and self.operation in (None, operation)

    def wait(self) -> None:
        """Sleep for `seconds`, less if it is over earlier."""
        self.over.wait(self.seconds)


class Faults:
    """The faults that are set, in the order in which they are tried."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Set one more."""
        with self._lock:
            self._set.append(fault)

    def clear(self) -> None:
        """Forget them all, and wake the requests that wait."""
        with self._lock:
            ended, self._set = self._set, []
        for fault in ended:
            fault.over.set()

    def hit(self, where: Place, operation: str) -> Fault | None:
        """The first fault that fits a request, which counts as hit."""
        with self._lock:
            found = next((fault for fault in self._set if fault.fits(where, operation)), None)
            if found:
                found.hits += 1
            return found

    def wake(self) -> None:
        """Let those that wait go on, and whoever is about to: their connections end. The faults stay set."""
        with self._lock:
            for fault in self._set:
                fault.over.set()

    def renew(self) -> None:
        """Once all of these have ended: who comes now waits again."""
        with self._lock:
            for fault in self._set:
                fault.over = threading.Event()
