"""What Tune's events mean for the ledger and for whoever looks on. Start at Watch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ray
from ray.tune import Callback

from gaelp_ray.results import TrialStatus
from gaelp_ray.sweep.session import DriverOnly
from gaelp_ray.sweep.trials.ledger import Ledger

if TYPE_CHECKING:
    from ray.tune.experiment import Trial


class Watch(DriverOnly, Callback):
    """Tune's callback. `silence`: seconds after which a worker that reports nothing is killed; None: never."""

    def __init__(self, ledger: Ledger, silence: float | None) -> None:
        self._ledger, self._silence = ledger, silence
        self._heard: dict[str, float] = {}

    def on_trial_start(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """A worker has a trial now."""
        self._heard[name_of(trial)] = time.monotonic()
        self._show(trial, "running", {})

    def on_trial_result(
        self, iteration: int, trials: Sequence[Trial], trial: Trial, result: Mapping[str, Any], **info: Any
    ) -> None:
        """After all have decided what becomes of the trial, and before its worker learns of it."""
        self._heard[name_of(trial)] = time.monotonic()
        if not result.get("replayed"):
            self._ledger.told_why(name_of(trial))
        self._show(trial, "running", result)

    def on_trial_complete(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """A trial has ended, or the search has."""
        name = name_of(trial)
        end = self._ledger.ends.get(name)
        unfinished = TrialStatus.INTERRUPTED if name in self._heard else TrialStatus.NOT_STARTED
        self._show(trial, end.status if end else str(unfinished), trial.last_result or {})

    def on_step_end(self, iteration: int, trials: Sequence[Trial], **info: Any) -> None:
        """Tune has looked at all trials once."""
        self._ledger.checked()
        for trial in trials if self._silence else ():
            if trial.status == trial.RUNNING:
                self._require_a_word(trial)

    def _require_a_word(self, trial: Trial) -> None:
        """Only its report tells a trial how long it takes; one that hangs in a batch is ended from here."""
        silence = time.monotonic() - self._heard.setdefault(name_of(trial), time.monotonic())
        actor = trial.temporary_state.ray_actor
        if self._silence and silence > self._silence and actor:
            self._ledger.attempts.stuck(
                name_of(trial), f"stop.trial_time: no report for {silence:.0f} s, so its worker was killed"
            )
            self._heard[name_of(trial)] = time.monotonic()
            ray.kill(actor)

    def _show(self, trial: Trial, state: str, result: Mapping[str, Any]) -> None:
        about = {"agent_type": trial.config["trial"]["config"]["agent_type"]}
        self._ledger.listener.trial_changed(name_of(trial), state, {**result, **about})


def name_of(trial: Trial) -> str:
    """Our name of one of Tune's trials."""
    return str(trial.config["trial"]["name"])
