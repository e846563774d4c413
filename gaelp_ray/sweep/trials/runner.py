"""The search: a plan in, TrialResults out, through Ray Tune.

What runs next says search/strategies.py; Tune places the trials and reuses the workers. What was done in an earlier
session is read from the journal and the trials' own records; Tune starts anew each time. Start at search().
"""

from __future__ import annotations

import logging
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.utils import flatten_dict

from gaelp_ray.errors import StorageError
from gaelp_ray.results import TrialResult, TrialStatus
from gaelp_ray.sweep.listener import SweepListener
from gaelp_ray.sweep.planning.constraints import constraints_of
from gaelp_ray.sweep.planning.errand import Errand
from gaelp_ray.sweep.planning.plan import SweepPlan, TrialPlan
from gaelp_ray.sweep.remote.address import Address
from gaelp_ray.sweep.remote.bucket import Bucket
from gaelp_ray.sweep.remote.sweep import catch_up
from gaelp_ray.sweep.search.proposals import Proposals, replayed
from gaelp_ray.sweep.search.schedulers import needs_all_trials_at_once, tune_environment, tune_scheduler
from gaelp_ray.sweep.search.spared import SweepScheduler
from gaelp_ray.sweep.search.stopping import SweepEnd
from gaelp_ray.sweep.search.strategies import strategy_for
from gaelp_ray.sweep.session import environment_set, session_cpus
from gaelp_ray.sweep.store.folder import PROVENANCE
from gaelp_ray.sweep.store.journal import History, Journal, read_history
from gaelp_ray.sweep.store.trial_files import TrialFiles
from gaelp_ray.sweep.trials.afield import bring, clear
from gaelp_ray.sweep.trials.gathering import gathered
from gaelp_ray.sweep.trials.ledger import Ledger
from gaelp_ray.sweep.trials.mended import tune_mended
from gaelp_ray.sweep.trials.newcomers import Elsewhere, Newcomers
from gaelp_ray.sweep.trials.settings import SharedSettings, has_scheduler
from gaelp_ray.sweep.trials.trial import GAELPTrial
from gaelp_ray.sweep.trials.watch import Watch

EXPERIMENT = ".tune"


@dataclass(frozen=True)
class Searched:
    """What a search has come to."""

    trials: list[TrialResult]  # one per configuration, in the order of the plan, failed ones included
    reason: str  # why it ended before all trials had, if it did
    interrupted: bool  # by a person, and can go on


def scheduler_of(plan: SweepPlan) -> SweepScheduler:
    """The sweep's scheduler."""
    spec = plan.spec
    longest = max(trial.config.iterations for trial in plan.trials)
    return tune_scheduler(spec, min(longest, spec.stop.iterations or longest))


def search(
    plan: SweepPlan, settings: SharedSettings, journal: Journal, scheduler: SweepScheduler, listener: SweepListener
) -> Searched:
    """Run every trial of the plan that the journal does not know as ended."""
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a failed trial is told by us, without a traceback
    folder, started = Path(settings.folder), time.time()
    history = read_history(folder)
    journal.session()
    ledger = Ledger(plan.spec, journal, history, scheduler, listener)
    scheduler.go_on(ledger.attempts, _stopped_before(history, folder))
    strategy = strategy_for(plan, constraints_of(plan.spec.select.constraints))
    known = replayed(strategy, history, lambda name: flatten_dict(dict(TrialFiles(folder, name).read().last)))
    again = _again(known, history, has_scheduler(plan.spec))
    for name in history.ends.keys() - {trial.name for trial in again}:
        ledger.end.flown_before(int(TrialFiles(folder, name).read().last.get("env_steps", 0)))
    for name in history.unfinished:
        TrialFiles(folder, name).go_on()
    proposals = Proposals(strategy, ledger, again, history.first_ends)
    callbacks: list[tune.Callback] = [ledger.end, Watch(ledger, plan.spec.stop.trial_time)]
    if settings.cluster:
        settings = replace(settings, ended=tuple(history.ends) if settings.remote else ())
        callbacks.append(Newcomers(_errand(plan, settings), listener.note))
    tuner = _tuner(plan, settings, (proposals, scheduler, callbacks, ledger.end))
    shutil.rmtree(folder / EXPERIMENT, ignore_errors=True)
    with environment_set(tune_environment(plan.spec, len(plan.trials))), _interruptible(ledger.end), tune_mended():
        tuner.fit()
    ledger.close()
    _catch_up(settings, started)
    shutil.rmtree(folder / EXPERIMENT, ignore_errors=True)
    return Searched(gathered(plan, read_history(folder), folder), ledger.end.reason, ledger.end.interrupted)


def _catch_up(settings: SharedSettings, started: float) -> None:
    """Bring trials here that were flown on other machines; what was flown on this one is here already."""
    if settings.remote and settings.cluster:
        bring(settings)
        clear(settings, started)
    elif settings.remote:
        with suppress(StorageError):  # away: a trial that is missing then has no result
            catch_up(Bucket(Address.parse(settings.remote)), Path(settings.folder))


def _errand(plan: SweepPlan, settings: SharedSettings) -> Errand:
    return Errand.of(
        settings.remote or settings.folder, bool(settings.remote), (PROVENANCE, settings.sweep_id), plan.market
    )


def searched_before(plan: SweepPlan, folder: Path) -> Searched | None:
    """What the search has come to in an earlier session; None where there is something left to do."""
    history = read_history(folder)
    if history.searched is None:
        return None
    return Searched(gathered(plan, history, folder), history.searched, False)


def _stopped_before(history: History, folder: Path) -> dict[str, int]:
    stopped = (name for name, end in history.ends.items() if end.status == str(TrialStatus.STOPPED))
    return {name: len(TrialFiles(folder, name).read().rows) for name in stopped}


def _again(known: Mapping[str, TrialPlan], history: History, scheduled: bool) -> list[TrialPlan]:
    """Trials to be handed out again: those that go on; and for a scheduler those whose reports it must hear again."""
    told = (str(TrialStatus.COMPLETED), str(TrialStatus.STOPPED))
    return [
        trial
        for name, trial in known.items()
        if name not in history.ends or (scheduled and history.ends[name].status in told)
    ]


def _tuner(
    plan: SweepPlan,
    settings: SharedSettings,
    parts: tuple[Proposals, SweepScheduler, Sequence[tune.Callback], SweepEnd],
) -> tune.Tuner:
    spec = plan.spec
    proposals, scheduler, callbacks, end = parts
    return tune.Tuner(
        tune.with_resources(GAELPTrial, Elsewhere([_resources(plan)])),
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
            storage_path=settings.folder,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True),
            failure_config=tune.FailureConfig(max_failures=-1),  # search/attempts.py says when it is enough
            callbacks=list(callbacks),
            stop=end,
            verbose=0,
        ),
    )


@contextmanager
def _interruptible(end: SweepEnd) -> Iterator[None]:
    """Ctrl-C ends the search after the batches that are being flown; a second one at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        if end.interrupted:
            raise KeyboardInterrupt
        end.interrupt()

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _resources(plan: SweepPlan) -> dict[str, float]:
    wanted, most = plan.spec.resources, plan.spec.max_concurrent
    cpu = wanted.cpu
    if most and needs_all_trials_at_once(plan.spec):
        cpu = max(cpu, session_cpus() / most)
    request = {"CPU": cpu, "GPU": wanted.gpu}
    return request | ({"memory": float(wanted.memory)} if wanted.memory else {})


def _trial_name(trial: Trial) -> str:
    return str(trial.config["trial"]["name"])
