"""A training's progress bar, on stderr: episodes flown, how many a second, and the pooled ROAS of the last ten.

The summary after the training pools other episodes: blocks of equal size, and fresh flights without exploration.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gaelp_ray.records import ratio, shown

LAST = 10


class EpisodeRate:
    """Episodes per second since the first count."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def of(self, episodes: int) -> str:
        """`, 41,000 episodes/s` after so many episodes; empty at the first count, and where none was flown since."""
        now = time.monotonic()
        began, before = self._first = self._first or (now, episodes)
        if episodes <= before or now <= began:
            return ""
        return f", {float(f'{(episodes - before) / (now - began):.2g}'):,.0f} episodes/s"


class TrainingBar:
    """A context manager; on a pipe, one line at the end."""

    def __init__(self, name: str, episodes: int) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}", markup=False),
        )
        self._progress = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
        self._rate = EpisodeRate()
        self._task = self._progress.add_task(name, total=episodes, told="")

    def __enter__(self) -> TrainingBar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def advanced(self, episodes: Sequence[Mapping[str, Any]]) -> None:
        """Show all episodes flown so far."""
        last = episodes[-LAST:]
        roas = ratio(sum(e["total_revenue"] for e in last), sum(e["total_cost"] for e in last))
        told = f"last {len(last)}: ROAS {shown(roas, '{:.2f}')}{self._rate.of(len(episodes))}"
        self._progress.update(self._task, completed=len(episodes), told=told)
