"""How long a sweep takes, from a few real iterations of its agents in this process, without Ray. Start at measure().

What is measured is CPU time, which other work on the machine disturbs less than it does the clock.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, islice

import numpy as np

from gaelp_ray.market import Market
from gaelp_ray.sweep.planning.kept import Kept
from gaelp_ray.sweep.planning.placement import Placement
from gaelp_ray.sweep.planning.plan import SweepPlan, TrialPlan
from gaelp_ray.training import EVALUATION_BATCH, Stream, fly_batch, train
from gaelp_ray.worlds import training_flights, untrained, world_of

ITERATIONS, ENOUGH_SECONDS = 5, 2.0
"""Of one agent, the first of which warms up; no more of them once they have taken so long."""

OWN_FLIGHTS = 16
"""Flights of an own environment that stand for a batch of an evaluation: it flies one after the other."""

RAY_SECONDS = (8.0, 20.0)
"""Ray's start, its workers and its end. Measured on 2 cores: 9.0, 9.1 and 9.3 s to the first trial, 1.3 s after the
last flight; twice that leaves room for a busy machine."""

TRIAL_SECONDS = (0.05, 0.6)
"""A trial's own start and W&B run."""

ITERATION_SECONDS = (0.005, 0.1)
"""Reporting of an iteration to Tune and W&B, which other processes of the same machine do."""

FINAL_SECONDS = (1.0, 5.0)
"""Workers of the final stage start anew: measured 1.9 to 4.0 s until the first batch."""

BESIDE_OTHERS = 1.6
"""How much slower trials are at most that share a machine with each other and with Ray."""


@dataclass(frozen=True)
class Smoke:
    """A few iterations of one planned trial, and a batch of its evaluation: CPU seconds."""

    trial: str
    agent: str
    batch_size: int
    iterations: int  # measured
    fastest: float  # seconds of one iteration
    slowest: float
    evaluation: float  # of EVALUATION_BATCH flights


@dataclass(frozen=True)
class Duration:
    """The sweep's time as a range, in seconds of the clock, and what it is based on."""

    low: float
    high: float
    search: tuple[float, float]
    final: tuple[float, float]
    overhead: tuple[float, float]
    smoke: tuple[Smoke, ...]
    based_on: str


def measure(plan: SweepPlan) -> tuple[Smoke, ...]:
    """Of the first trial, and of every agent type those with the smallest and the largest batches."""
    return tuple(_smoke(plan, trial) for trial in _chosen(plan.trials))


def _chosen(trials: Sequence[TrialPlan]) -> list[TrialPlan]:
    chosen = {_shape(trials[0]): trials[0]}
    for _, same in groupby(sorted(trials, key=_shape), key=lambda trial: trial.config.agent_type):
        first, *others = same
        for trial in (first, *others[-1:]):
            chosen.setdefault(_shape(trial), trial)
    return list(chosen.values())


def _shape(trial: TrialPlan) -> tuple[str, int]:
    return trial.config.agent_type, trial.config.batch_size


def _smoke(plan: SweepPlan, trial: TrialPlan) -> Smoke:
    config = trial.config
    world = world_of(config)
    env, agent = training_flights(world, config), untrained(world, config)
    seconds: list[float] = []
    started = time.process_time()
    for _ in islice(train(env, agent, config), ITERATIONS):
        seconds.append(time.process_time() - started - sum(seconds))
        if sum(seconds) > ENOUGH_SECONDS:
            break
    counted = seconds[1:] or seconds
    flights = EVALUATION_BATCH if isinstance(plan.market, Market) else OWN_FLIGHTS
    before = time.process_time()
    fly_batch(agent, plan.market, flights, [plan.spec.seed, Stream.VALIDATION])
    evaluation = (time.process_time() - before) * EVALUATION_BATCH / flights
    return Smoke(trial.name, *_shape(trial), len(counted), min(counted), max(counted), evaluation)


def duration(plan: SweepPlan, smoke: Sequence[Smoke], kept: Kept, place: Placement) -> Duration:
    """The time of a sweep whose trials fly what `kept` says.

    Trials that follow one another on so many workers take between total / workers and that plus the longest trial.
    """
    workers = max(place.at_once, 1)
    whole = sum(trial.config.iterations for trial in plan.trials)
    least, most = kept.least / whole, kept.most / whole  # seeds are in them
    low = [least * _seconds(trial, smoke, 0) for trial in plan.trials]
    high = [most * _seconds(trial, smoke, 1) for trial in plan.trials]
    slower = BESIDE_OTHERS if workers > 1 else 1.0
    search = (sum(low) / workers, slower * (sum(high) / workers + max(high) * (1 - 1 / workers)))
    if plan.spec.stop.time is not None:
        search = (min(search[0], plan.spec.stop.time), min(search[1], plan.spec.stop.time + max(high)))
    final = _final(plan, smoke, place.machine.cpus)
    flown = ", ".join(f"{s.iterations} x {s.batch_size} flights of {s.trial} ({s.agent})" for s in smoke)
    based_on = f"Based on {flown} here, without Ray"
    total = [search[end] + final[end] + RAY_SECONDS[end] for end in (0, 1)]
    return Duration(total[0], total[1], search, final, RAY_SECONDS, tuple(smoke), based_on)


def _seconds(trial: TrialPlan, smoke: Sequence[Smoke], end: int) -> float:
    """One training with its validation; between two measured sizes of batches, time grows in proportion."""
    same = sorted((s for s in smoke if s.agent == trial.config.agent_type), key=lambda s: s.batch_size)
    sizes = [s.batch_size for s in same]
    each = float(np.interp(trial.config.batch_size, sizes, [(s.fastest, s.slowest)[end] for s in same]))
    judged = (min, max)[end](s.evaluation for s in same)
    return trial.config.iterations * (each + ITERATION_SECONDS[end]) + judged + TRIAL_SECONDS[end]


def _final(plan: SweepPlan, smoke: Sequence[Smoke], cpus: int) -> tuple[float, float]:
    """A race of the best and the control arm, and a confirmation beside both lines, batches in parallel.

    At best the race is over after a round; at worst every trial has twice as many models as seeds to choose among, and
    two arms play off.
    """
    select = plan.spec.select
    arms = min(select.top_k, len(plan.trials)) + select.include_default
    confirmed = (1 + select.include_default + isinstance(plan.market, Market)) * select.episodes
    confirmed *= 1 + len(select.markets)  # whoever is confirmed flies as much in each of the other markets
    budget = arms * select.episodes if select.budget is None else select.budget
    least = confirmed + min(budget, arms * EVALUATION_BATCH)
    played_off = 2 * select.include_default * select.episodes
    most = confirmed + budget + played_off + 2 * plan.spec.seeds.max * arms * EVALUATION_BATCH
    flown = [s.evaluation / EVALUATION_BATCH / cpus for s in smoke]
    return FINAL_SECONDS[0] + least * min(flown), FINAL_SECONDS[1] + BESIDE_OTHERS * most * max(flown)
