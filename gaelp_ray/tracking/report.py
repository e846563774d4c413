"""A W&B run of what a command found out: a comparison, or a look at a deployed model. The command's own answer stands
whatever W&B does. Start at Report.begin()."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import wandb

from gaelp_ray.errors import InputError
from gaelp_ray.tracking.modes import TrackingMode, choose_mode
from gaelp_ray.tracking.process import SERVICE
from gaelp_ray.tracking.runs import RunIdentity, RunLog

WARN = "WARN"


@dataclass(frozen=True)
class Destination:
    """Where a report goes, as a person names it."""

    project: str = "gaelp-rl-training"
    entity: str | None = None
    name: str | None = None


class Report(RunLog):
    """A RunLog that also takes tables and alerts."""

    def __init__(self, run: Any | None) -> None:
        super().__init__(run)
        self.directory = Path(run.dir).parent if run is not None else None  # on this machine
        self._url = run.url if run is not None and run.settings.mode == "online" else None
        self._chosen = TrackingMode("disabled", "no run was started")

    @classmethod
    def begin(
        cls, to: Destination, job_type: Literal["compare", "monitor"], id: str, config: Mapping[str, Any]
    ) -> Report:
        """The run of this id: online with a key and an answering server, where it goes on if it is there, else offline.

        Never an exception of W&B's; without a run, `where` says why.
        """
        try:
            chosen = choose_mode("auto")
        except InputError as error:  # a WANDB_ variable makes no sense
            chosen = TrackingMode("disabled", str(error))
        SERVICE.reset()
        identity = RunIdentity(id, to.name or id, to.project, "", job_type, chosen.mode, to.entity)
        report = cast(Report, cls.open(_init, identity, config))
        report._chosen = chosen
        return report

    @property
    def told(self) -> Mapping[str, Any]:
        """What the run's summary says so far; of a run that goes on, also from earlier."""
        return dict(self._run.summary) if self._run is not None else {}

    def tabulate(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table beside the history."""
        table = wandb.Table(columns=list(columns), data=[list(row) for row in rows])
        self._forgiving(lambda run: run.log({name: table}))

    def alert(self, title: str, text: str) -> None:
        """A warning to whoever follows the project."""
        self._forgiving(lambda run: run.alert(title, text, level=WARN))

    def close(self, exit_code: int = 0) -> None:
        """Finish the run, whose file is whole only when wandb has ended; a second call does nothing."""
        super().close(exit_code)
        SERVICE.reset()

    @property
    def where(self) -> str:
        """One line for a person, once it is closed: where the run is, and how it comes to the server."""
        if self.directory is None:
            return f"W&B: no run ({self._chosen.why})"
        here = self.directory.is_relative_to(Path.cwd())
        folder = shlex.quote(os.path.relpath(self.directory) if here else str(self.directory))
        if self._url is None:
            why = self._chosen.why if self._chosen.mode == "offline" else "the server did not start it"
            return f"W&B: offline ({why}); upload it with `wandb sync {folder}`"
        if SERVICE.lost:
            return f"W&B: the server did not take all of it; upload it with `wandb sync --include-online {folder}`"
        return f"W&B: {self._url}"


def _init(trial_id: str, trial_name: str, config: Mapping[str, Any], **keywords: Any) -> Any:
    """wandb.init under the names that RunLog.open() knows from Ray's setup_wandb."""
    # wandb remembers the working directory of its first run in a process.
    keywords |= {"dir": os.environ.get("WANDB_DIR") or str(Path.cwd()), "allow_val_change": True}
    return wandb.init(id=trial_id, name=trial_name, config=dict(config), **keywords)
