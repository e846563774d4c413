"""How far every trial of a sweep is and how often it broke off, whether the sweep runs, waits or has finished."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gaelp_ray.sweep.store.folder import SweepFolder
from gaelp_ray.sweep.store.journal import Attempt, History
from gaelp_ray.sweep.store.trial_files import TrialFiles


@dataclass(frozen=True)
class TrialState:
    """One trial as its record has it."""

    trial: str
    state: str  # the value of a TrialStatus, or `running` or `waiting`
    reason: str  # why it ended before its own end
    cause: str  # of a failure
    iterations: int
    env_steps: int
    attempts: tuple[Attempt, ...]  # times that it broke off

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def state_of(folder: SweepFolder) -> str:
    """`running`, `finished` or `interrupted`."""
    if folder.is_claimed():
        return "running"
    return "finished" if folder.is_finished() else "interrupted"


def trial_states(folder: SweepFolder) -> list[TrialState]:
    """Every trial that was handed out, in that order."""
    history, running = folder.history(), folder.is_claimed()
    return [_state(folder, history, name, running) for name in history.plans]


def torn_records(folder: SweepFolder) -> list[str]:
    """Trials that have ended well, and whose record has lost iterations since then."""
    ends = folder.history().ends.items()
    return [n for n, end in ends if not end.cause and len(TrialFiles(folder.path, n).read().rows) < end.iterations]


def _state(folder: SweepFolder, history: History, name: str, running: bool) -> TrialState:
    record, end = TrialFiles(folder.path, name).read(), history.ends.get(name)
    last = record.last
    idle = "interrupted" if record.started else "not started"
    going = idle if not running else "running" if last else "waiting"
    return TrialState(
        name,
        end.status if end else going,
        end.reason if end else "",
        end.cause if end else "",
        int(last.get("iterations", 0)),
        int(last.get("env_steps", 0)),
        tuple(attempt for attempt in history.attempts if attempt.trial == name),
    )


def in_short(states: Sequence[TrialState]) -> str:
    """`12 completed, 1 failed (out of memory); broke off and went on: worker killed 2`."""
    counts = Counter(found.state for found in states)
    causes = Counter(found.cause for found in states if found.state == "failed")
    parts = []
    for state, number in counts.items():
        why = ", ".join(f"{cause} {n}" if len(causes) > 1 else cause for cause, n in causes.items())
        parts.append(f"{number} {state}" + (f" ({why})" if state == "failed" and why else ""))
    final = {(found.trial, len(found.attempts)) for found in states if found.state == "failed" and found.attempts}
    went_on = Counter(
        attempt.cause
        for found in states
        for number, attempt in enumerate(found.attempts, 1)
        if (found.trial, number) not in final
    )
    text = ", ".join(parts)
    if went_on:
        text += f"; broke off and went on: {', '.join(f'{cause} {n}' for cause, n in went_on.items())}"
    return text
