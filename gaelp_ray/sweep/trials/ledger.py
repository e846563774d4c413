"""Writes down what becomes of every trial, as it happens: the driver's side of the record.

Tune tells it through the searcher (Proposals) and a callback (watch.py). Start at Ledger.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gaelp_ray.results import TrialStatus
from gaelp_ray.sweep.format.spec import SweepSpec
from gaelp_ray.sweep.listener import SweepListener
from gaelp_ray.sweep.planning.plan import TrialPlan
from gaelp_ray.sweep.search.attempts import DISK, Attempts, in_words
from gaelp_ray.sweep.search.spared import SweepScheduler
from gaelp_ray.sweep.search.stopping import SweepEnd
from gaelp_ray.sweep.search.strategies import as_tune_config
from gaelp_ray.sweep.store.journal import BY_SCHEDULER, Attempt, End, History, Journal
from gaelp_ray.sweep.store.trial_files import TrialFiles


class Ledger:
    """One search's bookkeeper.

    attempts: counts failures. end: the rules that end trials and the search. ends: how trials have ended, by name.
    """

    def __init__(
        self, spec: SweepSpec, journal: Journal, history: History, scheduler: SweepScheduler, listener: SweepListener
    ) -> None:
        self._journal, self.scheduler, self.listener = journal, scheduler, listener
        self.attempts = Attempts(self._broke_off)
        self.end = SweepEnd.of(spec, self.attempts, history.seconds)
        self.ends = dict(history.ends)
        self._exploits = 0

    def proposed(self, trial: TrialPlan) -> None:
        """A trial is handed out for the first time."""
        self._journal.proposed(as_tune_config(trial))

    def ended(self, trial: TrialPlan, report: Mapping[str, Any] | None) -> End | None:
        """Tune's word that a trial has ended; None where it only ends with this session, and goes on in the next."""
        end = self.ends.get(trial.name) or self._end_of(trial.name, report)
        if end and trial.name not in self.ends:
            self._write_down(trial.name, end, int((report or {}).get("iterations", 0)))
        return end

    def _write_down(self, name: str, end: End, reported: int = 0) -> None:
        files = self._files(name)
        # Of a trial on another machine, the record may not be here yet.
        self.ends[name] = replace(end, iterations=len(files.read().rows) or reported)
        self._tell_worker(files, end.status, end.reason)
        self._journal.ended(name, self.ends[name])

    def _tell_worker(self, files: TrialFiles, status: str, reason: str) -> None:
        """How its trial ends. Where the disk is full, that is noted: it is Tune who calls."""
        if self._journal.problem:
            return
        try:
            files.write_end(status, reason)
        except OSError as error:
            self._journal.problem = error.strerror or str(error)

    def _end_of(self, name: str, report: Mapping[str, Any] | None) -> End | None:
        failure = self.attempts.given_up(name)
        if failure:
            return End(str(TrialStatus.FAILED), in_words(failure), failure.cause)
        score = (report or {}).get("final_score")
        if score is not None and not math.isfinite(score):
            why = f"the metric of its validation flights is {score}, which is no finite number"
            return End(str(TrialStatus.FAILED), why, "metric")
        if score is not None:
            return End(str(TrialStatus.COMPLETED))
        why = self.why_stopped(name)
        return End(str(TrialStatus.STOPPED), why) if why else None

    def why_stopped(self, name: str) -> str:
        """Who has ended a trial early and where; empty for one that goes on, now or after an interruption."""
        if name in self.scheduler.stopped:
            return f"{BY_SCHEDULER} at iteration {self.scheduler.stopped[name]}"
        return "" if self.end.interrupted else self.end.ended.get(name, "")

    def told_why(self, name: str) -> None:
        """A trial is about to be stopped: its worker finds the reason, which its W&B runs shall have."""
        if why := self.why_stopped(name):
            self._tell_worker(self._files(name), str(TrialStatus.STOPPED), why)

    def checked(self) -> None:
        """Now and then: exchanges of a population are written down, and a disk that is full ends the search."""
        lineage = self.scheduler.lineage
        for exploit in lineage[self._exploits :]:
            self._journal.exploit(exploit)
        self._exploits = len(lineage)
        if self._journal.problem:
            self.end.interrupt(self._journal.problem)

    def _broke_off(self, attempt: Attempt, account: str) -> None:
        """Write it down, and tell a person that the trial goes on; that it does not is told as its end."""
        self._journal.attempt(attempt)
        if not self._journal.problem:
            self._files(attempt.trial).write_error(attempt.cause, account)
        if attempt.cause == DISK:
            self.end.interrupt(attempt.error)
        elif self.attempts.left(attempt) >= 0:
            text = f"{attempt.trial} broke off: {in_words(attempt)}; it goes on from its last checkpoint"
            self.listener.note(text)

    def close(self) -> None:
        """The search is over, or interrupted. Trials that a rule has ended without Tune's word are written down."""
        self.checked()
        for name in [] if self.end.interrupted else self.end.ended:
            if name not in self.ends:
                self._write_down(name, End(str(TrialStatus.STOPPED), self.end.ended[name]))
        if not self.end.interrupted:
            self._journal.searched(self.end.reason)

    def _files(self, name: str) -> TrialFiles:
        return TrialFiles(Path(self._journal.folder), name)
