"""One trial in a Ray worker, as Tune sees it: a configuration on all of its seeds, reported as one.

A class Trainable, so that Tune can reuse the worker process for the next trial (starting one costs seconds). One step()
is one batch of parallel flights of every seed; the last one adds the validation flights that the search judges by.

What is recorded is not flown again. A trial that starts looks into its own folder: iterations up to the last checkpoint
are reported as they were recorded, and then it goes on. Tune's checkpoints only name ours, from the sweep's folder on.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import BadZipFile

from pyarrow.fs import LocalFileSystem
from ray.train._internal.session import _TrainingResult
from ray.tune import Checkpoint, Trainable

from gaelp_ray.checkpoint import write_json
from gaelp_ray.errors import ModelError, NodeError, StorageError, TrainingError
from gaelp_ray.results import TrialStatus
from gaelp_ray.sweep.store.lines import WAIT_SECONDS, LineWriter
from gaelp_ray.sweep.store.trial_files import TrialFiles
from gaelp_ray.sweep.trials.carried import Carrier
from gaelp_ray.sweep.trials.lockstep import Lockstep
from gaelp_ray.sweep.trials.mirrored import Outcome, rows_of, scores_of
from gaelp_ray.sweep.trials.site import on_site

logger = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 30.0
"""Of training that a trial may lose with its worker."""

LOST_SECONDS = 100.0
"""For the record of a trial whose node was lost: NFS keeps its lock for 90 s."""

REFERENCE = "reference.json"


class GAELPTrial(Trainable):
    """Tune's view of a trial. `config` holds `trial` (a planned trial) and `sweep` (what all trials share)."""

    _plan: Mapping[str, Any]
    _sweep: Mapping[str, Any]

    def setup(self, config: dict[str, Any]) -> None:
        """Start the first trial of this worker."""
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in the same process, or go on with another configuration of the same one."""
        if new_config["trial"]["name"] != self._plan["name"]:
            self._close()
            self._begin(new_config)
        elif new_config["trial"] != self._plan:
            self._plan = new_config["trial"]
            if self._team:
                self._team.change(self._plan)
                self._write({"plan": self._plan})
        return True

    def _begin(self, config: Mapping[str, Any]) -> None:
        """Nothing is opened yet: Tune prepares workers for trials that then run in another one."""
        self._site = on_site(config["sweep"])
        self._plan, self._sweep = config["trial"], self._site.sweep
        self._files = TrialFiles(Path(self._sweep["folder"]), self._plan["name"])
        self._carrier = Carrier(self._sweep, self._files)
        self._recorded: list[Mapping[str, Any]] | None = None  # iterations that can be gone on from
        self._position = 0  # iterations that are behind the trial
        self._source: Path | None = None  # checkpoint that Tune wants it to go on from, where it is not the trial's own
        self._team: Lockstep | None = None
        self._lines: LineWriter | None = None
        self._saved = time.monotonic()

    def step(self) -> dict[str, Any]:
        """One batch of flights on every seed, or what is recorded of one."""
        recorded = self._next_recorded()
        if recorded:
            self._position, self._source = recorded["iteration"], None
            return dict(recorded["report"]) | {"training_iteration": self._position, "replayed": True}
        team = self._live()
        report, rows = team.step()
        self._position, self._source = team.iteration, None  # from here on it has checkpoints of its own
        line = {"iteration": self._position, "session": self._sweep["session"], "time": time.time()}
        self._write(line | {"report": report, "runs": rows})
        for run, row in zip(team.runs, rows, strict=True):
            run.log.log(row, self._position, line["time"])
        if report["done"] or time.monotonic() > self._saved + CHECKPOINT_SECONDS:
            self._save()
        if report["done"]:
            self._carrier.settle()
            self._close(Outcome(str(TrialStatus.COMPLETED), report=report))
        return report | {"training_iteration": self._position, "replayed": False}

    def _next_recorded(self) -> Mapping[str, Any] | None:
        """The next iteration that need not be flown.

        A scheduler that starts anew hears them all; one that only lost the worker hears the last one again.
        """
        if self._recorded is None:
            self._recorded = self._usable()
            if self._source is None:  # of a node that was lost, not all may have arrived
                self._position = min(self._position, len(self._recorded))
        left = self._recorded[self._position :]
        if not left:
            return None
        heard = not self._sweep["replays"] or left[0]["session"] == self._sweep["session"]
        return left[-1] if heard else left[0]

    def _usable(self) -> list[Mapping[str, Any]]:
        """Recorded iterations up to the last whole checkpoint; all, where the trial has ended and needs no weights."""
        self._site.require_seen()
        self._carrier.fetch()
        rows = self._files.read().rows
        if self._plan["name"] in self._sweep.get("ended", ()) or self._files.read_end():
            return list(rows)
        known = (n for n in reversed(self._files.checkpoints()) if n <= len(rows) and self._files.is_whole(n))
        return list(rows[: next(known, 0)])

    def _live(self) -> Lockstep:
        """The training itself, made when it is first needed, where the record ends."""
        if self._team is None:
            self._files.go_on()
            self._open_record()
            self._team = Lockstep(self._plan, self._sweep)
            if self._position:
                self._load(self._source or self._files.checkpoint(self._position))
            self._catch_up(self._team)
            self._recorded = []  # those of 30,000 iterations take 400 MB
        return self._team

    def _open_record(self) -> None:
        try:
            self._lines = LineWriter(self._files.record, LOST_SECONDS if self._sweep["cluster"] else WAIT_SECONDS)
        except StorageError as error:
            raise NodeError(str(error)) from None  # by a node that is lost, or cut off: it will be free
        record = self._files.read()
        self._lines.keep(record.lines_until(self._position))
        self._files.keep([n for n in self._files.checkpoints() if n <= self._position])  # others are of what was cut
        if self._files.read().plan != self._plan:
            self._write({"plan": self._plan})

    def _catch_up(self, team: Lockstep) -> None:
        """A W&B run that goes on lacks what its server had not heard when the worker before this one died."""
        for number, run in enumerate(team.runs):
            run.log.catch_up(rows_of((self._recorded or [])[: self._position], number))

    def _load(self, checkpoint: Path) -> None:
        assert self._team is not None
        self._carrier.fetch_checkpoint(checkpoint)
        try:
            self._team.load(checkpoint)
        except (ModelError, OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise TrainingError(f"the checkpoint {checkpoint} cannot be gone on from: {error}") from None

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._lines:
            self._lines.append(line)

    def _save(self) -> None:
        """Keep the last checkpoint, and of a population those of the last two exchanges.

        While one of its trials is at the second, another may not have gone on yet from the first.
        """
        assert self._team is not None
        self._files.save(self._position, self._team.save)
        interval = self._sweep["population"]
        exchanges = [n for n in self._files.checkpoints() if interval and n % interval == 0]
        self._files.keep({self._position, *exchanges[-2:]})
        self._carrier.send(self._position)
        self._saved = time.monotonic()

    def save(self, checkpoint_dir: str | None = None) -> _TrainingResult:
        """For Tune: a name that travels by value, as two nodes may have no folder in common."""
        named = Checkpoint(self._reference()["folder"], LocalFileSystem())  # nobody looks there
        return _TrainingResult(named, dict(self._last_result or {}))

    def restore(self, checkpoint_path: _TrainingResult) -> None:
        """As Tune has it from save(), of this trial or of another one."""
        folder = Path(checkpoint_path.checkpoint.path)
        with TemporaryDirectory() as scratch:
            write_json(Path(scratch) / REFERENCE, {"iteration": int(folder.name), "folder": str(folder)})
            super().restore(_TrainingResult(Checkpoint.from_directory(scratch), checkpoint_path.metrics))

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """The reference as a file, as Tune's Trainable wants one."""
        write_json(Path(checkpoint_dir) / REFERENCE, self._reference())

    def _reference(self) -> dict[str, Any]:
        """Where, in the sweep, the checkpoint lies that others may go on from, or this trial in another worker."""
        if self._team is not None and self._source is None:
            self._save()
            self._carrier.settle()
        folder = self._source or self._files.checkpoint(self._position)
        return {"iteration": self._position, "folder": str(folder.relative_to(self._sweep["folder"]))}

    def load_checkpoint(self, checkpoint: str) -> None:
        """Go on where the checkpoint was written, by this trial or by another one."""
        told = json.loads((Path(checkpoint) / REFERENCE).read_text(encoding="utf-8"))
        self._position = told["iteration"]
        folder = Path(self._sweep["folder"]) / told["folder"]
        self._source = folder if folder != self._files.checkpoint(self._position) else None
        if self._team is not None:
            self._load(folder)

    def cleanup(self) -> None:
        """The worker ends."""
        self._close()

    def _close(self, outcome: Outcome | None = None) -> None:
        """Close the W&B runs with what has become of the trial, as far as it is known here."""
        if self._team is not None:
            outcome = outcome or Outcome.of(self._files.read_end())
            for number, run in enumerate(self._team.runs):
                run.log.summarise(scores_of(outcome, number, self._sweep["metric"]))
                run.log.end(outcome.status, outcome.reason, outcome.exit_code)
        if self._lines:
            self._lines.close()
            self._carrier.leave()
        self._team, self._lines = None, None
