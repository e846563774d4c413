"""The driver's journal, `journal.jsonl`: what was asked of trials and what became of them, in that order.

With it a sweep goes on after whatever ended its driver: searchers are asked and told again in the same order, and
trials that have ended are not run again. Start at Journal.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gaelp_ray.sweep.store.lines import LineWriter, read_lines

FILE = "journal.jsonl"

BY_SCHEDULER = "by the scheduler"
"""Begins the reason of a trial that a scheduler has stopped; all others were ended by a rule of the sweep."""


@dataclass(frozen=True)
class End:
    """How a trial ended: the value of a TrialStatus, and why in one line (empty where it was trained to its end)."""

    status: str
    reason: str = ""
    cause: str = ""  # of a failure: `exception`, `out of memory`, `worker killed`, ...
    iterations: int = 0  # that its record had by then


@dataclass(frozen=True)
class Attempt:
    """One time that a trial broke off; whether it was tried again shows its end."""

    trial: str
    cause: str
    error: str
    iteration: int
    memory: float | None  # bytes, the most that its worker was seen to use


@dataclass(frozen=True)
class Exploit:
    """In a population: `trial` went on from the checkpoint of `source`, with changed parameters.

    iteration: where the trial had come to; source_iteration: that of the checkpoint, where it goes on.
    changed: the trial's own value before, and its new one; copied: the source's values of the same parameters.
    """

    trial: str
    source: str
    iteration: int
    source_iteration: int
    changed: Mapping[str, tuple[Any, Any]]
    copied: Mapping[str, Any]


@dataclass
class History:
    """What a journal says."""

    asked: list[tuple[str, str]] = field(default_factory=list)  # ("proposed" | "ended", trial), as it happened
    plans: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # as they were proposed, in that order
    ends: dict[str, End] = field(default_factory=dict)
    first_ends: dict[str, End] = field(default_factory=dict)  # of those that run again, what a searcher was told
    attempts: list[Attempt] = field(default_factory=list)
    lineage: list[Exploit] = field(default_factory=list)
    searched: str | None = None  # why the search was over, once it was: empty where all trials had ended
    seconds: float = 0.0  # that the search took so far, in all sessions
    sessions: int = 0
    _exchanged: dict[tuple[str, int], int] = field(default_factory=dict)  # (trial, iteration) -> place in the lineage

    def exchange(self, exploit: Exploit) -> None:
        """A population that goes on from its last checkpoints decides some exchanges a second time: the last counts."""
        place = self._exchanged.setdefault((exploit.trial, exploit.iteration), len(self.lineage))
        self.lineage[place : place + 1] = [exploit]

    @property
    def unfinished(self) -> list[str]:
        """Trials that were proposed and have not ended."""
        return [name for name in self.plans if name not in self.ends]


def read_history(folder: Path) -> History:
    """The journal of a sweep's folder; an empty history where there is none."""
    history = History()
    before = 0.0  # seconds of earlier sessions
    for line in read_lines(folder / FILE):
        event = line.get("event")
        if event == "session":
            before = history.seconds
            history.sessions += 1
        history.seconds = max(history.seconds, before + line.get("at", 0.0))
        _take(history, event, line)
    return history


def _take(history: History, event: str | None, line: Mapping[str, Any]) -> None:
    if event == "proposed":
        history.plans[line["plan"]["name"]] = line["plan"]
        history.asked.append((event, line["plan"]["name"]))
    elif event == "ended":
        history.ends[line["trial"]] = End(**line["end"])
        history.first_ends.setdefault(line["trial"], history.ends[line["trial"]])
        history.asked.append((event, line["trial"]))
    elif event == "again":
        history.searched = None
        for name in line["trials"]:
            history.ends.pop(name, None)
    elif event == "attempt":
        history.attempts.append(Attempt(**line["attempt"]))
    elif event == "exploit":
        exploit = line["exploit"]
        changed = {name: tuple(values) for name, values in exploit["changed"].items()}
        history.exchange(Exploit(**exploit | {"changed": changed}))
    elif event in ("searched", "session"):
        history.searched = line.get("reason")


class Journal:
    """Writes the journal of one session: one driver process at one sweep."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started = time.monotonic()
        self._lines = LineWriter(folder / FILE)
        self.problem = ""
        """Why nothing can be written any more; the sweep must end, and can go on later."""

    def session(self) -> None:
        """A driver starts, or goes on, with the search."""
        self._started = time.monotonic()
        self._write("session", time=time.time())

    def proposed(self, plan: Mapping[str, Any]) -> None:
        """A trial was handed out; `plan` as search.as_tune_config() made it."""
        self._write("proposed", plan=plan)

    def ended(self, trial: str, end: End) -> None:
        """A trial has ended for good."""
        self._write("ended", trial=trial, end=asdict(end))

    def again(self, trials: Sequence[str]) -> None:
        """The search goes on after it was over; these trials, which had ended, run again."""
        self._write("again", trials=list(trials))

    def attempt(self, attempt: Attempt) -> None:
        """A trial broke off."""
        self._write("attempt", attempt=asdict(attempt))

    def exploit(self, exploit: Exploit) -> None:
        """A trial of a population goes on from another one's weights."""
        self._write("exploit", exploit=asdict(exploit))

    def searched(self, reason: str) -> None:
        """The search is over."""
        self._write("searched", reason=reason)

    def _write(self, event: str, **facts: Any) -> None:
        """Where the disk is full, that is noted: it is Tune who calls, and who would take it for a trial's failure."""
        if self.problem:
            return
        try:
            self._lines.append({"event": event, "at": round(time.monotonic() - self._started, 3), **facts})
        except OSError as error:
            self.problem = error.strerror or str(error)

    def close(self) -> None:
        """Let others write."""
        self._lines.close()
