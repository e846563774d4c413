"""When a trial ends early, and when the whole sweep does: the rules under `stop`, and `metric.target`.

The control arm ends with the sweep, and by `stop.iterations`, which is the length of every trial. Plateau, trial_time
and target do not look at it: it must be trained as long as it was planned to be a comparison. Its steps and its
failures count. Start at SweepEnd.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ray.tune import Callback, Stopper

from gaelp_ray.sweep.format.blocks import MetricSpec, Plateau, Stop
from gaelp_ray.sweep.format.spec import SweepSpec
from gaelp_ray.sweep.search.attempts import Attempts
from gaelp_ray.sweep.session import DriverOnly

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

INTERRUPTED = "interrupted"

GRACE_SECONDS = 300.0
"""How long running trials may take for the batch that they are at, and its checkpoint, when the sweep ends."""


class Plateaus:
    """Per trial: how many reports have brought nothing better."""

    def __init__(self, rule: Plateau, sign: float) -> None:
        """sign: 1 if more is better, -1 if less is."""
        self._rule, self._sign = rule, sign
        self._best: dict[str, float] = {}
        self._waited: dict[str, int] = {}

    def reached(self, trial: str, score: float) -> bool:
        """Count one report; whether the trial has now waited `patience` reports for an improvement."""
        value = self._sign * score if math.isfinite(score) else -math.inf
        best = self._best.get(trial, -math.inf)
        # From one that is no number, every number is an improvement.
        better = value > best + self._rule.min_delta
        self._waited[trial] = 0 if better or trial not in self._best else self._waited[trial] + 1
        self._best[trial] = value if better else best
        return self._waited[trial] >= self._rule.patience


class StepCount:
    """Env-steps of all trials together."""

    def __init__(self) -> None:
        self.total = 0.0
        self._last: dict[str, tuple[int, int]] = {}

    def add(self, trial: str, iteration: int, env_steps: int) -> None:
        """Count the batch that a trial reports; env_steps: of the trial so far."""
        before, steps = self._last.get(trial, (0, 0))
        flown: float = env_steps - steps
        # A trial that went on from another one's checkpoint has that one's count.
        if trial in self._last and (iteration != before + 1 or flown < 0):
            flown = env_steps / iteration
        self.total += flown
        self._last[trial] = iteration, env_steps


class Streak:
    """How many trials in a row have died of the same error."""

    def __init__(self) -> None:
        self.length, self.error = 0, ""

    def failed(self, error: str) -> None:
        """A trial has died; numbers in the text do not make it another error."""
        same = re.sub(r"\d+", "", error) == re.sub(r"\d+", "", self.error)
        self.length = self.length + 1 if same else 1
        self.error = error

    def completed(self) -> None:
        """A trial has ended otherwise."""
        self.length, self.error = 0, ""


class SweepEnd(DriverOnly, Stopper, Callback):
    """The rules of one sweep, for Tune: give the same object as `stop` and among the `callbacks`.

    reason: one sentence on why the sweep ended early, or empty. ended: why each trial was ended before its own end,
    by its name. Running trials end with their batch and a checkpoint; those that waited never start.
    """

    def __init__(
        self,
        stop: Stop,
        metric: MetricSpec,
        attempts: Attempts | None = None,
        spent: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """attempts: knows which trials have failed. spent: seconds of the sweep before this process."""
        self._stop, self._attempts, self._spent, self._clock = stop, attempts, spent, clock
        self._sign = 1.0 if metric.goal == "maximize" else -1.0
        targets = {"stop.target": stop.target, "metric.target": metric.target}
        self._targets = {rule: target for rule, target in targets.items() if target is not None}
        self._plateaus = Plateaus(stop.plateau, self._sign) if stop.plateau else None
        self._steps, self._streak = StepCount(), Streak()
        self._started: float | None = None
        self._deadline = math.inf
        self._trials: Sequence[Trial] = ()
        self._awaited: list[Trial] = []
        self._heard: dict[str, int] = {}  # iteration of each trial's last report
        self.reason = ""
        self.interrupted = False
        self.ended: dict[str, str] = {}

    @classmethod
    def of(cls, spec: SweepSpec, attempts: Attempts | None = None, spent: float = 0.0) -> SweepEnd:
        """The rules of a sweep file."""
        return cls(spec.stop, spec.metric, attempts, spent)

    def flown_before(self, env_steps: int) -> None:
        """Steps of trials that have ended in an earlier session, and do not report again."""
        self._steps.total += env_steps

    def interrupt(self, why: str = INTERRUPTED) -> None:
        """The sweep must end now, and may go on later: a person wants it, or nothing can be written any more."""
        self.interrupted = self.interrupted or not self.reason
        self._end(why)

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Whether a trial ends after this report."""
        trial = result["config"]["trial"]
        name, control = trial["name"], trial["is_default"]
        if result["training_iteration"] <= self._heard.get(name, 0):
            return name in self.ended  # told again by a worker that took over from one that died
        self._heard[name] = result["training_iteration"]
        self._count(name, control, result)
        if result.get("done"):
            return False
        why = self.reason or self._trial_rule(name, control, result)
        if why:
            self.ended[name] = why
        return bool(why)

    def _count(self, name: str, control: bool, result: Mapping[str, Any]) -> None:
        """What one report means for the whole sweep."""
        iteration, score = result["training_iteration"], result["score"]
        self._steps.add(name, iteration, result["env_steps"])
        if self._stop.env_steps is not None and self._steps.total >= self._stop.env_steps:
            self._end(f"stop.env_steps: {self._steps.total:,.0f} of {self._stop.env_steps:,} steps are flown")
        for rule, target in {} if control else self._targets.items():
            if self._sign * score >= self._sign * target:
                self._end(f"{rule}: {name} reached {score:.6g} at iteration {iteration}, the target is {target:g}")

    def _trial_rule(self, name: str, control: bool, result: Mapping[str, Any]) -> str:
        """Why one trial ends, or nothing."""
        stop = self._stop
        if stop.iterations is not None and result["training_iteration"] >= stop.iterations:
            return f"stop.iterations: it has flown {_counted(stop.iterations, 'batch', 'batches')}"
        if control:
            return ""
        if stop.trial_time is not None and result["seconds"] >= stop.trial_time:
            return f"stop.trial_time: {stop.trial_time:g} s are over"
        if stop.plateau and self._plateaus and self._plateaus.reached(name, result["score"]):
            return f"stop.plateau: no better score for {_counted(stop.plateau.patience, 'iteration', 'iterations')}"
        return ""

    def stop_all(self) -> bool:
        """Whether Tune ends everything now: a sweep that ends has waited for its running trials, but not for long."""
        if self._started is None:
            self._started = self._clock() - self._spent
        if self._stop.time is not None and self._clock() - self._started >= self._stop.time:
            self._end(f"stop.time: {self._stop.time:g} s are over")
        if not self.reason:
            return False
        if self._clock() < self._deadline and any(trial.status == trial.RUNNING for trial in self._awaited):
            return False
        for trial in self._trials:
            if trial.status in (trial.RUNNING, trial.PAUSED):
                self.ended.setdefault(_name(trial), self.reason)
        return True

    def _end(self, reason: str) -> None:
        if not self.reason:
            self.reason, self._deadline = reason, self._clock() + GRACE_SECONDS
            self._awaited = [trial for trial in self._trials if trial.status == trial.RUNNING]

    def on_step_begin(self, iteration: int, trials: Sequence[Trial], **info: Any) -> None:
        """Tune's list of trials, which it keeps up to date."""
        self._trials = trials

    def on_trial_complete(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """A trial has ended, whoever ended it, or has died and is not tried again."""
        failure = self._attempts.given_up(_name(trial)) if self._attempts else None
        if failure is None:
            self._streak.completed()
            return
        self._streak.failed(failure.error)
        if self._stop.failures is not None and self._streak.length >= self._stop.failures:
            who = _counted(self._streak.length, "trial", "trials in a row")
            self._end(f"stop.failures: {who} died of {self._streak.error}")


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _name(trial: Trial) -> str:
    return str(trial.config["trial"]["name"])
