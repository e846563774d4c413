"""What stands between Tune and one of its schedulers in a sweep.

It keeps the control arm out of every decision, takes a score that is no number for the worst there is, and notes
which trials were stopped, and where. Start at SweepScheduler.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ray.tune.schedulers import TrialScheduler

from gaelp_ray.sweep.session import DriverOnly
from gaelp_ray.sweep.store.journal import Exploit

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

    from gaelp_ray.sweep.search.attempts import Attempts

SCORE = "score"

ITERATION = "training_iteration"


class Worst:
    """What a scheduler computes with where a score is no number."""

    def __init__(self, mode: str, size: float | None) -> None:
        """size: how far from 0 the worst score is; None: the worst that was seen so far, and 0 before the first."""
        self._sign = 1.0 if mode == "max" else -1.0
        self._size = size
        self._seen: float | None = None

    def of(self, score: float) -> float:
        """The score itself, or what takes its place."""
        if math.isfinite(score):
            lowest = self._sign * (score if self._seen is None else self._seen)
            self._seen = self._sign * min(lowest, self._sign * score)
            return score
        return -self._sign * self._size if self._size is not None else self._seen or 0.0


class SweepScheduler(DriverOnly, TrialScheduler):
    """One of Tune's schedulers, without the control arm.

    stopped: iteration at which each trial was stopped before its end, by the trial's name, readable after fit().
    In a sweep that goes on, reports of earlier sessions come again: the scheduler within hears them, and what it
    decided about them then stands, unless it decides by trials in step and so decides the same.
    """

    _metric = SCORE

    def __init__(self, inner: TrialScheduler, iterations: int, worst: Worst, in_step: bool = False) -> None:
        """in_step: whether the scheduler compares trials only at equal iterations, so that timing changes nothing."""
        super().__init__()
        self._inner, self._iterations, self._worst, self._in_step = inner, iterations, worst, in_step
        self._attempts: Attempts | None = None
        self._stopped_before: Mapping[str, int] = {}
        self._heard: dict[str, int] = {}  # iteration of each trial's last report
        self.stopped: dict[str, int] = {}

    def go_on(self, attempts: Attempts, stopped_before: Mapping[str, int]) -> None:
        """Before the search: who counts failures, and iterations at which earlier sessions have stopped trials."""
        self._attempts, self._stopped_before = attempts, stopped_before

    @property
    def lineage(self) -> tuple[Exploit, ...]:
        """Who went on from whose checkpoint, in the order of events; empty without a population."""
        return tuple(getattr(self._inner, "lineage", ()))

    @property
    def supports_buffered_results(self) -> bool:
        """As the scheduler within."""
        return bool(self._inner.supports_buffered_results)

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Taken from the sweep file, whatever Tune's own configuration says."""
        return True

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        """A new trial, or one that starts again after a failure, unless it has failed too often."""
        if self._attempts and self._attempts.given_up(trial.config["trial"]["name"]):
            tune_controller.stop_trial(trial)
        elif not is_control(trial):
            self._inner.on_trial_add(_Judged(tune_controller, self), trial)

    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        """A running trial has failed; Tune starts it again, see on_trial_add()."""
        if self._attempts:
            self._attempts.broke_off(trial)
        if not is_control(trial):
            self._inner.on_trial_error(_Judged(tune_controller, self), trial)

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> str:
        """What becomes of a trial after one of its reports."""
        name, iteration = trial.config["trial"]["name"], result.get(ITERATION, 0)
        repeated = iteration <= self._heard.get(name, 0)  # by a worker that took over from one that died
        self._heard[name] = max(iteration, self._heard.get(name, 0))
        if is_control(trial) or (repeated and not self._in_step):
            return str(TrialScheduler.CONTINUE)
        decision = self._inner.on_trial_result(_Judged(tune_controller, self), trial, self._scored(result))
        if result.get("replayed") and not self._in_step:
            last = self._stopped_before.get(name, math.inf)
            decision = TrialScheduler.STOP if iteration >= last else TrialScheduler.CONTINUE
        if decision == TrialScheduler.STOP:
            self.note_stop(trial, result)
        return str(decision)

    def note_stop(self, trial: Trial, result: Mapping[str, Any]) -> None:
        """A trial is stopped after this report; at the end of its training that is nothing to note."""
        if result.get(ITERATION, 0) < self._iterations:
            self.stopped[trial.config["trial"]["name"]] = result.get(ITERATION, 0)

    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> None:
        """A running trial has ended."""
        if not is_control(trial):
            self._inner.on_trial_complete(_Judged(tune_controller, self), trial, self._scored(result))

    def on_trial_remove(self, tune_controller: TuneController, trial: Trial) -> None:
        """A paused or waiting trial was ended."""
        if not is_control(trial):
            self._inner.on_trial_remove(_Judged(tune_controller, self), trial)

    def choose_trial_to_run(self, tune_controller: TuneController) -> Trial | None:
        """The control arm first: it is needed whatever becomes of the others."""
        for trial in tune_controller.get_trials():
            if is_control(trial) and trial.status in (trial.PENDING, trial.PAUSED):
                return trial
        return self._inner.choose_trial_to_run(_Judged(tune_controller, self))

    def debug_string(self) -> str:
        """As the scheduler within."""
        return str(self._inner.debug_string())

    def _scored(self, result: dict[str, Any]) -> dict[str, Any]:
        return {**result, SCORE: self._worst.of(result.get(SCORE, math.nan))}


class _Judged:
    """Tune's controller as the scheduler within sees it: without the control arm, and telling whom it stops."""

    search_alg = None  # PBT refuses searchers, for fear of one that learns from results; tune_scheduler() does, too

    def __init__(self, controller: TuneController, scheduler: SweepScheduler) -> None:
        self._controller, self._scheduler = controller, scheduler

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)

    def get_trials(self) -> list[Trial]:
        """All trials but the control arm."""
        return [trial for trial in self._controller.get_trials() if not is_control(trial)]

    def get_live_trials(self) -> list[Trial]:
        """All trials that have not ended, but the control arm."""
        return [trial for trial in self._controller.get_live_trials() if not is_control(trial)]

    def stop_trial(self, trial: Trial) -> None:
        """Stop a trial other than the one that has just reported."""
        self._scheduler.note_stop(trial, trial.last_result or {})
        self._controller.stop_trial(trial)


def is_control(trial: Trial) -> bool:
    """Whether a trial is the control arm: the defaults, which run to their end."""
    return bool(trial.config["trial"]["is_default"])
