"""The search: a plan in, TrialResults out, through Ray Tune.

What runs next says search.py; Tune places the trials, reuses the workers, and keeps the checkpoints.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from gaelp_ray.results import TrialResult
from gaelp_ray.sweep.lineage import Exploit
from gaelp_ray.sweep.listener import SweepListener
from gaelp_ray.sweep.planning.constraints import constraints_of
from gaelp_ray.sweep.planning.plan import SweepPlan
from gaelp_ray.sweep.search.schedulers import (
    checkpoints_kept,
    needs_all_trials_at_once,
    tune_environment,
    tune_scheduler,
)
from gaelp_ray.sweep.search.spared import SweepScheduler
from gaelp_ray.sweep.search.stopping import SweepEnd
from gaelp_ray.sweep.search.strategies import Proposals, as_tune_config, strategy_for
from gaelp_ray.sweep.session import environment_set, session_cpus
from gaelp_ray.sweep.trials.gathering import Ended, gathered
from gaelp_ray.sweep.trials.trial import GAELPTrial

EXPERIMENT = "trials"


@dataclass(frozen=True)
class SharedSettings:
    """What every trial of a sweep knows about it, as plain values for the workers."""

    sweep_id: str  # makes the ids of W&B runs unique when a sweep is run again
    seed: int
    market: Mapping[str, Any]  # that trials are validated in
    metric: str
    min_delivery: float
    max_iterations: int | None  # that a trial may run, whatever its configuration says
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
            max_iterations=spec.stop.iterations,
            mode=mode,
            project=spec.project,
            entity=spec.entity,
            group=spec.tracking.group or spec.name,
            tags=spec.tracking.tags,
        )


@dataclass(frozen=True)
class Searched:
    """What a search has come to."""

    trials: list[TrialResult]  # one per configuration, in the order of the plan, failed ones included
    reason: str  # why it ended before all trials had, if it did
    ended: Mapping[str, str]  # trials that a rule under `stop` ended, and which
    lineage: tuple[Exploit, ...]  # of a population


def scheduler_of(plan: SweepPlan) -> SweepScheduler:
    """The sweep's scheduler. Raises InputError where it cannot be had, which is better known before Ray starts."""
    spec = plan.spec
    longest = max(trial.config.iterations for trial in plan.trials)
    return tune_scheduler(spec, min(longest, spec.stop.iterations or longest))


def search(
    plan: SweepPlan, settings: SharedSettings, folder: Path, scheduler: SweepScheduler, listener: SweepListener
) -> Searched:
    """Run every trial of the plan."""
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    spec = plan.spec
    proposals = Proposals(strategy_for(plan, constraints_of(spec.select.constraints)))
    end = SweepEnd.of(spec)
    tuner = tune.Tuner(
        tune.with_resources(GAELPTrial, _resources(plan)),
        param_space={"sweep": vars(settings)},
        tune_config=tune.TuneConfig(
            num_samples=-1,  # until the strategy has finished
            search_alg=proposals,
            scheduler=scheduler,
            max_concurrent_trials=None if needs_all_trials_at_once(spec) else spec.max_concurrent,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=EXPERIMENT,
            storage_path=str(folder),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=checkpoints_kept(spec), checkpoint_at_end=True),
            callbacks=[_Relay(listener), end],
            stop=end,
            verbose=0,
        ),
    )
    with environment_set(tune_environment(spec, len(plan.trials))):
        results = tuner.fit()
    handed_out = {trial.name: as_tune_config(trial) for trial in proposals.planned.values()}
    found = [Ended.of(result, handed_out) for result in results]
    by_scheduler = {name: f"by the scheduler at iteration {number}" for name, number in scheduler.stopped.items()}
    trials = gathered(plan, found, by_scheduler | end.ended)
    return Searched(trials, end.reason, end.ended, scheduler.lineage)


def _resources(plan: SweepPlan) -> dict[str, float]:
    wanted, most = plan.spec.resources, plan.spec.max_concurrent
    cpu = wanted.cpu
    if most and needs_all_trials_at_once(plan.spec):
        cpu = max(cpu, session_cpus() / most)
    request = {"cpu": cpu, "gpu": wanted.gpu}
    return request | ({"memory": float(wanted.memory)} if wanted.memory else {})


def _trial_name(trial: Trial) -> str:
    return str(trial.config["trial"]["name"])


class _Relay(tune.Callback):
    """Hands Tune's events to a listener. Tune pickles its callbacks; the listener stays in the driver."""

    def __init__(self, listener: SweepListener | None) -> None:
        self._listener = listener

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Relay, (None,))

    def _tell(self, trial: Trial, state: str, result: Mapping[str, Any]) -> None:
        if self._listener:
            about = {"agent_type": trial.config["trial"]["config"]["agent_type"]}
            self._listener.trial_changed(_trial_name(trial), state, {**result, **about})

    def on_trial_start(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        self._tell(trial, "running", {})

    def on_trial_result(
        self, iteration: int, trials: Sequence[Trial], trial: Trial, result: Mapping[str, Any], **info: Any
    ) -> None:
        self._tell(trial, "running", result)

    def on_trial_complete(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        self._tell(trial, "completed" if trial.last_result.get("validation") else "stopped", trial.last_result)

    def on_trial_error(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        self._tell(trial, "failed", trial.last_result)
