"""W&B's early_terminate: which running trials its hyperband stops, and a Tune scheduler that stops them.

As in `hyperband_stopping.py` of W&B's public `sweeps` package: a band's threshold is taken from the values *at* the
band of every trial that reached it, whether it still runs, was stopped or has failed. A trial is judged at each of
its reports, at the highest band that it has reached, by its best value so far, or, if strict, by its value at that
band. So the first trial at a band passes it, but may still be stopped later on, when better ones have come there.
One difference: where nothing was measured, W&B skips the iteration; here it counts as the worst value. Start at
is_stopped().
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from gaelp_ray.sweep.format.blocks import EarlyTerminate

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial


def is_stopped(rule: EarlyTerminate, history: Sequence[float], everyone: Iterable[Sequence[float]]) -> bool:
    """Whether a running trial is stopped.

    history: its values at iterations 1, 2, ..., of which lower ones are better, without NaN; everyone: the histories
    of all trials, its own among them.
    """
    band = max((band for band in rule.bands if band <= len(history)), default=None)
    if band is None:
        return False
    value = history[band - 1] if rule.strict else min(history)
    return value > threshold(rule, band, everyone)


def threshold(rule: EarlyTerminate, band: int, everyone: Iterable[Sequence[float]]) -> float:
    """The worst value that passes a band: of n trials there, number int(n / eta) of the sorted values, from 0.

    Infinite where no trial has reached the band.
    """
    values = sorted(history[band - 1] for history in everyone if len(history) >= band)
    # W&B multiplies by 1 / eta, which rounds differently from a division by eta.
    return values[int(1.0 / rule.eta * len(values))] if values else math.inf


class EarlyTermination(FIFOScheduler):
    """is_stopped() for Tune, asked at every report of a trial."""

    def __init__(self, rule: EarlyTerminate, metric: str, mode: str) -> None:
        super().__init__()
        self._rule, self._metric = rule, metric
        self._sign = -1.0 if mode == "max" else 1.0
        self._histories: dict[str, list[float]] = {}

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> str:
        """Stop the trial, or let it go on."""
        history = self._histories.setdefault(trial.trial_id, [])
        # A trial that was restored reports some iterations again.
        del history[result["training_iteration"] - 1 :]
        history += [math.inf] * (result["training_iteration"] - 1 - len(history))
        history.append(self._sign * result[self._metric])
        stopped = is_stopped(self._rule, history, self._histories.values())
        return str(TrialScheduler.STOP if stopped else TrialScheduler.CONTINUE)
