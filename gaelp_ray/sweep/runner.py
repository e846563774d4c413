"""The search: planned trials in, TrialResults out, through Ray Tune.

The configurations are laid out before Tune starts (plan.py), so that neither timing nor concurrency changes them;
Tune places the trials, reuses the workers, and keeps the checkpoints.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from gaelp_ray.results import TrialResult, TrialStatus
from gaelp_ray.sweep.listener import SweepListener
from gaelp_ray.sweep.plan import SweepPlan, TrialPlan
from gaelp_ray.sweep.trial import GAELPTrial
from gaelp_ray.tracking.runs import describe

EXPERIMENT = "trials"


@dataclass(frozen=True)
class SharedSettings:
    """What every trial of a sweep knows about it, as plain values for the workers."""

    sweep_id: str  # makes the ids of W&B runs unique when a sweep is run again
    seed: int
    market: Mapping[str, Any]  # that trials are validated in
    metric: str
    min_delivery: float
    mode: str
    project: str
    entity: str | None
    group: str
    tags: tuple[str, ...]

    @classmethod
    def of(cls, plan: SweepPlan, sweep_id: str, mode: str) -> SharedSettings:
        """The settings of a planned sweep."""
        spec = plan.spec
        return cls(
            sweep_id=sweep_id,
            seed=spec.seed,
            market=plan.market.model_dump(mode="json"),
            metric=spec.metric.name,
            min_delivery=spec.select.min_delivery,
            mode=mode,
            project=spec.project,
            entity=spec.entity,
            group=spec.tracking.group or spec.name,
            tags=spec.tracking.tags,
        )


def search(plan: SweepPlan, settings: SharedSettings, folder: Path, listener: SweepListener) -> list[TrialResult]:
    """Run every trial of the plan; results in the order of the plan, failed and interrupted trials included."""
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    planned = [_as_tune_config(trial) for trial in plan.trials]
    tuner = tune.Tuner(
        tune.with_resources(GAELPTrial, _resources(plan)),
        param_space={"trial": tune.grid_search(planned), "sweep": vars(settings)},
        tune_config=tune.TuneConfig(
            num_samples=1,
            max_concurrent_trials=plan.spec.max_concurrent,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=EXPERIMENT,
            storage_path=str(folder),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1, checkpoint_at_end=True),
            callbacks=[_Relay(listener)],
            verbose=0,
        ),
    )
    found = {result.config["trial"]["name"]: result for result in tuner.fit() if result.config}
    return [_trial_result(trial, found.get(trial.name)) for trial in plan.trials]


def _as_tune_config(trial: TrialPlan) -> dict[str, Any]:
    return {"name": trial.name, "is_default": trial.is_default, "config": trial.config.to_dict()}


def _resources(plan: SweepPlan) -> dict[str, float]:
    wanted = plan.spec.resources
    request = {"cpu": wanted.cpu, "gpu": wanted.gpu}
    return request | ({"memory": float(wanted.memory)} if wanted.memory else {})


def _trial_name(trial: Trial) -> str:
    return str(trial.config["trial"]["name"])


def _trial_result(plan: TrialPlan, result: Any | None) -> TrialResult:
    metrics: Mapping[str, Any] = (result.metrics or {}) if result else {}
    validation = metrics.get("validation")
    error = result.error if result else None
    if error is not None:
        status = TrialStatus.FAILED
    else:
        status = TrialStatus.COMPLETED if validation else TrialStatus.INTERRUPTED
    return TrialResult(
        trial=plan.name,
        status=status,
        params=plan.params,
        config=plan.config.to_dict(),
        is_default=plan.is_default,
        metrics=validation,
        iterations=int(metrics.get("iterations", 0)),
        env_steps=int(metrics.get("env_steps", 0)),
        seconds=float(metrics.get("time_total_s", 0.0)),
        cpu_seconds=float(metrics.get("cpu_seconds", 0.0)),
        checkpoint=result.checkpoint.path if result and result.checkpoint else None,
        error=_reason(error) if error is not None else None,
    )


def _reason(error: BaseException) -> str:
    """The trial's own exception in one line, without Ray's wrapping."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):
        return describe(cause)
    # An error read back from Tune's files carries only the worker's traceback; its last line is the exception.
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else describe(error)


class _Relay(tune.Callback):
    """Hands Tune's events to a listener. Tune pickles its callbacks; the listener stays in the driver."""

    def __init__(self, listener: SweepListener | None) -> None:
        self._listener = listener

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Relay, (None,))

    def _tell(self, trial: Trial, state: str, result: Mapping[str, Any]) -> None:
        if self._listener:
            self._listener.trial_changed(_trial_name(trial), state, result)

    def on_trial_start(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        self._tell(trial, "running", {})

    def on_trial_result(
        self, iteration: int, trials: Sequence[Trial], trial: Trial, result: Mapping[str, Any], **info: Any
    ) -> None:
        self._tell(trial, "running", result)

    def on_trial_complete(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        self._tell(trial, "completed", trial.last_result)

    def on_trial_error(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        self._tell(trial, "failed", trial.last_result)
