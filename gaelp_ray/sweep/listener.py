"""Who wants to know how a sweep is doing. The pipeline tells; the command line draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

EPISODES = "episodes"


class SweepListener(Protocol):
    """Is told every change; must not block and cannot change anything."""

    def trial_changed(self, trial: str, state: str, result: Mapping[str, Any]) -> None:
        """A trial is now `running`, `completed`, `stopped` (early), `failed`, `interrupted` or `not started`.

        `result` is its last report, before the first one only its `agent_type`.
        """

    def stage(self, text: str, done: int, total: int, unit: str = "") -> None:
        """What the sweep is working on besides trials, and how far it is. unit: what is counted, as EPISODES."""

    def note(self, text: str) -> None:
        """Something that a person should know, in one line."""


class Silence:
    """Nobody wants to know."""

    def trial_changed(self, trial: str, state: str, result: Mapping[str, Any]) -> None:
        """Ignored."""

    def stage(self, text: str, done: int, total: int, unit: str = "") -> None:
        """Ignored."""

    def note(self, text: str) -> None:
        """Ignored."""
