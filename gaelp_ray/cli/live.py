"""A sweep while it runs: one table of trials, redrawn in place; on a pipe, one line per finished trial."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from gaelp_ray.cli.columns import Column, fitted, table_lines, without_prefix
from gaelp_ray.cli.screen import print_sentence
from gaelp_ray.cli.tables import remarks
from gaelp_ray.records import SCORE, score_metric, shown
from gaelp_ray.sweep.listener import EPISODES
from gaelp_ray.sweep.planning.plan import SweepPlan
from gaelp_ray.tracking.bar import EpisodeRate

BOTTOM = 4
"""Lines of a screen that are always free for the legend, the phase, the bar and the cursor."""

COLOURS = {
    "running": "yellow",
    "completed": "green",
    "stopped": "cyan",
    "failed": "red",
    "interrupted": "magenta",
    "waiting": "dim",
    "not started": "dim",
}
"""By state, in the order in which trials are listed."""

ENDED = ("completed", "stopped", "failed", "interrupted", "not started")
LEGEND = "running: training flights; completed: validation flights, common to all trials"


@dataclass
class _Row:
    trial: str
    agent: str
    iterations: int
    state: str = "waiting"
    metrics: Mapping[str, Any] = field(default_factory=dict)
    changed: float = 0.0

    @property
    def flown(self) -> Mapping[str, Any]:
        """Metrics of the validation flights, which the search judges by; until then, of the last training flights."""
        return self.metrics.get("validation") or self.metrics


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
        self._stage_progress, self._rate = "", EpisodeRate()
        self._live = Live(console=console, get_renderable=self.renderable, refresh_per_second=4, transient=True)

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
        self._set_stage("searching", finished, len(self._rows))
        if not self._console.is_terminal and state in ENDED:
            cells = " ".join(column.text(row) for column in COLUMNS)
            self._say(f"[{finished}/{len(self._rows)}] {cells}")

    def _further(self, trial: str) -> _Row:
        """A race's further seeds are in no plan, but their configuration is."""
        first = self._rows.get(trial.rpartition("-s")[0])
        return _Row(trial, "", first.iterations if first else 0)

    def stage(self, text: str, done: int, total: int, unit: str = "") -> None:
        """Redraw; on a pipe, say when a stage starts and ends."""
        if (text, done, total) == self._stage:
            return
        self._set_stage(text, done, total, unit)
        if not self._console.is_terminal and done in (0, total):
            self._say(f"{text}: {self._stage_progress}")

    def _set_stage(self, text: str, done: int, total: int, unit: str = "") -> None:
        if text != self._stage[0] or done < self._stage[1]:
            self._rate = EpisodeRate()
        self._stage = (text, done, total)
        rate = self._rate.of(done) if unit == EPISODES else ""
        self._stage_progress = " ".join(filter(None, (f"{done:,}/{total:,}", unit))) + rate

    def note(self, text: str) -> None:
        """Above the table, where it stays."""
        print_sentence(self._console, text, "yellow")

    def _say(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def renderable(self) -> RenderableType:
        """As many lines as the terminal has, so that none is left behind when the table is drawn anew."""
        width, height = self._console.size
        order = sorted(self._rows.values(), key=lambda row: (list(COLOURS).index(row.state), -row.changed))
        listed = [row for row in order if row.metrics or row.state not in ("waiting", "not started")]
        listed = listed[:height]
        columns = fitted(_with_short_names(self._rows), listed, width)
        text, done, total = self._stage
        progress = f"  {self._stage_progress}" if total else ""
        lines = [Text(line) for line in self._summary()]
        if listed:
            lines += table_lines(columns, listed)
            lines = [*lines[: max(height - BOTTOM, 0)], Text(LEGEND, style="dim")]
        lines.append(Text(f"{text}{progress}  {time.monotonic() - self._started:.0f} s"))
        for line in lines:
            line.truncate(width)
        return Group(*lines, ProgressBar(total=max(total, 1), completed=done, width=min(60, width)))

    def _summary(self) -> Iterator[str]:
        """Trials by state, and the best score of the validation flights so far."""
        counts = Counter(row.state for row in self._rows.values())
        yield ", ".join(f"{counts[state]} {state}" for state in COLOURS if counts[state])
        metric, sign = score_metric(self._plan.spec.metric.name), 1.0 if self._plan.goal == "maximize" else -1.0
        scores = {
            row.trial: float(score)
            for row in self._rows.values()
            if (score := (row.metrics.get("validation") or {}).get(metric)) is not None and math.isfinite(score)
        }
        if scores:
            best = max(scores, key=lambda trial: sign * scores[trial])
            yield f"best so far {best}: {metric} {scores[best]:.3f}"


def _measured(name: str, form: str) -> Callable[[_Row], str]:
    return lambda row: _number(row.flown, name, form)


def _number(metrics: Mapping[str, Any], name: str, form: str) -> str:
    return "" if metrics.get(name) is None else shown(metrics[name], form)


COLUMNS: tuple[Column[_Row], ...] = (
    Column("trial", lambda row: row.trial),
    Column("agent", lambda row: row.agent, 3),
    Column("state", lambda row: row.state, style=lambda row: COLOURS[row.state]),
    Column("iteration", lambda row: f"{row.metrics.get('iterations', 0)}/{row.iterations or '?'}", 2, right=True),
    Column("score", _measured(SCORE, "{:.3f}"), 1, right=True),
    Column("delivery", _measured("delivery", "{:.1%}"), 4, right=True),
    Column("optimality", _measured("optimality", "{:.1%}"), 5, right=True),
    Column("seconds", lambda row: _number(row.metrics, "seconds", "{:.1f}"), 6, right=True),
)


def _with_short_names(rows: Mapping[str, _Row]) -> list[Column[_Row]]:
    short = without_prefix(list(rows))
    return [Column("trial", lambda row: row.trial, narrow=lambda row: short[row.trial]), *COLUMNS[1:]]
