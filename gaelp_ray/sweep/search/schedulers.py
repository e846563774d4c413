"""Tune's scheduler for a sweep file: early_terminate, asha, hyperband, median, pbt, pb2 or none.

Start at tune_scheduler().
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    TrialScheduler,
)

from gaelp_ray.sweep.format.blocks import Asha, HyperBand, Median, Population
from gaelp_ray.sweep.format.spec import SweepSpec
from gaelp_ray.sweep.planning.scheduling import mutable, numbers
from gaelp_ray.sweep.search.early_terminate import EarlyTermination
from gaelp_ray.sweep.search.exchange import PBT
from gaelp_ray.sweep.search.spared import ITERATION, SCORE, SweepScheduler, Worst

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

WORST = 1e300
"""For schedulers that interpolate between scores, which infinity would turn into NaN."""


class SeededAsha(AsyncHyperBandScheduler):
    """ASHA whose brackets are dealt from the sweep's seed, not from numpy's global generator."""

    def __init__(self, seed: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._rng = np.random.default_rng(seed)

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        """Deal the trial a bracket, as Tune does: one with more rungs is likelier."""
        rungs = np.array([len(bracket._rungs) for bracket in self._brackets])
        weights = np.exp(rungs - rungs.max())
        self._trial_info[trial.trial_id] = self._brackets[self._rng.choice(len(rungs), p=weights / weights.sum())]


def tune_scheduler(spec: SweepSpec, iterations: int) -> SweepScheduler:
    """The scheduler that a sweep file asks for; `iterations` is the length of its longest trial.

    The spec has no scheduler_problems().
    """
    mode = "max" if spec.metric.goal == "maximize" else "min"
    if spec.early_terminate:
        rule = EarlyTermination(spec.early_terminate, SCORE, mode)
        return SweepScheduler(rule, iterations, Worst(mode, math.inf))
    make, size = _MAKERS[spec.scheduler.type]
    return SweepScheduler(make(spec, mode, iterations), iterations, Worst(mode, size), needs_all_trials_at_once(spec))


def needs_all_trials_at_once(spec: SweepSpec) -> bool:
    """Whether the scheduler pauses trials to compare them, so that Tune's max_concurrent_trials must not be set.

    Tune counts a paused trial as one that runs: the others would never be started, or compared.
    """
    return isinstance(spec.scheduler, (Population, HyperBand))


def tune_environment(spec: SweepSpec, trials: int) -> dict[str, str]:
    """What the driver's environment must hold during fit().

    From a searcher, Tune takes one trial at a time, when there is room for it: a bracket or a population would be
    judged before it is complete, and workers would wait for their next trial. Only bayes needs it that way.
    """
    always = {
        "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # between Tune's own notes, which nobody reads
        "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours ends the sweep so that it can go on
    }
    return always if spec.method == "bayes" else always | {"TUNE_MAX_PENDING_TRIALS_PG": str(trials)}


def _asha(spec: SweepSpec, mode: str, iterations: int) -> TrialScheduler:
    rule = spec.scheduler
    assert isinstance(rule, Asha)
    return SeededAsha(
        spec.seed,
        time_attr=ITERATION,
        metric=SCORE,
        mode=mode,
        max_t=iterations,
        grace_period=min(rule.grace_period, iterations),  # of trials that are all shorter than the file allows
        reduction_factor=rule.reduction_factor,
        brackets=rule.brackets,
    )


def _hyperband(spec: SweepSpec, mode: str, iterations: int) -> TrialScheduler:
    rule = spec.scheduler
    assert isinstance(rule, HyperBand)
    return HyperBandScheduler(
        time_attr=ITERATION,
        metric=SCORE,
        mode=mode,
        max_t=iterations,
        reduction_factor=rule.reduction_factor,
        # Brackets end a little before max_t where it is no power of eta; who is left there goes on to its own end.
        stop_last_trials=False,
    )


def _median(spec: SweepSpec, mode: str, iterations: int) -> TrialScheduler:
    rule = spec.scheduler
    assert isinstance(rule, Median)
    return MedianStoppingRule(
        time_attr=ITERATION,
        metric=SCORE,
        mode=mode,
        grace_period=rule.grace_period,
        min_samples_required=rule.min_samples,
        # By default a trial that cannot be judged yet is paused after every report, with a checkpoint each time.
        min_time_slice=math.inf,
    )


def _population(spec: SweepSpec, mode: str, iterations: int) -> TrialScheduler:
    rule = spec.scheduler
    assert isinstance(rule, Population)
    priors = mutable(spec)
    if rule.type == "pbt":
        return PBT(rule, priors, mode, spec.seed)
    from gaelp_ray.sweep.search.bandits import PB2  # scikit-learn takes a second

    return PB2(rule, numbers(priors), mode, spec.seed)


_Maker = Callable[[SweepSpec, str, int], TrialScheduler]

# What makes each scheduler, and what it can compute with in the place of NaN (None: only with scores that were seen).
_MAKERS: dict[str, tuple[_Maker, float | None]] = {
    "none": (lambda spec, mode, iterations: FIFOScheduler(), WORST),
    "asha": (_asha, WORST),
    "hyperband": (_hyperband, WORST),
    "median": (_median, math.inf),  # infinite means are left out of the median
    "pbt": (_population, WORST),
    "pb2": (_population, None),
}
