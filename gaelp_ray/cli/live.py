"""A sweep while it runs: one table of trials, redrawn in place; on a pipe, one line per finished trial."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gaelp_ray.cli.tables import remarks
from gaelp_ray.records import shown
from gaelp_ray.sweep.planning.plan import SweepPlan

ROWS = 24
"""Trials shown at once: the running ones, then the most recently finished."""

COLOURS = {
    "running": "yellow",
    "completed": "green",
    "stopped": "cyan",
    "failed": "red",
    "interrupted": "magenta",
    "waiting": "dim",
}

ENDED = ("completed", "stopped", "failed", "interrupted")


@dataclass
class _Row:
    trial: str
    agent: str
    iterations: int
    state: str = "waiting"
    metrics: Mapping[str, Any] = field(default_factory=dict)
    changed: float = 0.0


class LiveSweep:
    """A SweepListener that draws; use it as a context manager around run_sweep."""

    def __init__(self, plan: SweepPlan, console: Console, ended: Mapping[str, str] | None = None) -> None:
        """ended: states of trials that have ended in an earlier session, by name."""
        self._console, self._plan = console, plan
        self._warned = False
        self._rows = {t.name: _Row(t.name, t.config.agent_type, t.config.iterations) for t in plan.trials}
        for name, state in (ended or {}).items():
            self._rows.setdefault(name, self._further(name)).state = state
        self._started = time.monotonic()
        self._stage = ("starting Ray", 0, 0)
        self._live = Live(console=console, get_renderable=self._draw, refresh_per_second=4, transient=True)

    def __enter__(self) -> LiveSweep:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def trial_changed(self, trial: str, state: str, result: Mapping[str, Any]) -> None:
        """Redraw; on a pipe, say what ended."""
        if not self._warned:  # not before a trial runs: until then the sweep may be refused
            remarks(self._plan, self._console)
            self._warned = True
        row = self._rows.setdefault(trial, self._further(trial))
        row.state, row.changed = state, time.monotonic()
        row.agent = result.get("agent_type", row.agent)
        if result.get("iterations"):
            row.metrics = result
        finished = sum(r.state in ENDED for r in self._rows.values())
        self._stage = ("searching", finished, len(self._rows))
        if not self._console.is_terminal and state in ENDED:
            cells = " ".join(text.plain for text in _cells(row))
            self._console.print(f"[{finished}/{len(self._rows)}] {cells}", markup=False, highlight=False)

    def _further(self, trial: str) -> _Row:
        """A race's further seeds are in no plan, but their configuration is."""
        first = self._rows.get(trial.rpartition("-s")[0])
        return _Row(trial, "", first.iterations if first else 0)

    def stage(self, text: str, done: int, total: int) -> None:
        """Redraw; on a pipe, say when a stage starts and ends."""
        self._stage = (text, done, total)
        if not self._console.is_terminal and done in (0, total):
            self._console.print(f"{text}: {done}/{total}", markup=False, highlight=False)

    def note(self, text: str) -> None:
        """Above the table, where it stays."""
        self._console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)

    def _draw(self) -> RenderableType:
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("trial")
        table.add_column("agent")
        table.add_column("state")
        for name in ("iteration", "delivered_roas", "delivery", "optimality", "seconds"):
            table.add_column(name, justify="right")
        order = sorted(self._rows.values(), key=lambda r: (_order(r), -r.changed))
        for row in order[:ROWS]:
            table.add_row(*_cells(row))
        hidden = len(order) - ROWS
        below = Text(f"… and {hidden} more trials", style="dim") if hidden > 0 else Text("")
        text, done, total = self._stage
        status = Text(f"{text}  {done}/{total}  {time.monotonic() - self._started:.0f} s  ")
        note = Text("running: training flights; completed: validation flights, common to all trials", style="dim")
        return Group(table, below, note, status, ProgressBar(total=max(total, 1), completed=done, width=60))


def _order(row: _Row) -> int:
    return ("running", "failed", "interrupted", "completed", "stopped", "waiting").index(row.state)


def _cells(row: _Row) -> list[Text]:
    # The last report carries the validation flights, which are what the search judges by.
    shown = row.metrics.get("validation") or row.metrics
    iteration = f"{row.metrics.get('iterations', 0)}/{row.iterations or '?'}"
    numbers = [
        _number(shown, "delivered_roas", "{:.3f}"),
        _number(shown, "delivery", "{:.1%}"),
        _number(shown, "optimality", "{:.1%}"),
        _number(row.metrics, "seconds", "{:.1f}"),
    ]
    state = Text(row.state, style=COLOURS[row.state])
    return [Text(row.trial), Text(row.agent), state, Text(iteration), *map(Text, numbers)]


def _number(metrics: Mapping[str, Any], name: str, form: str) -> str:
    value = metrics.get(name)
    return "" if value is None else shown(value, form)
