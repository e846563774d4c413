"""What early_terminate or the scheduler leaves of a sweep: at which iterations trials are judged, how many continue.

Pure. Nothing can be known of values before a trial has run, so there are bounds, and what comes out if all trials of a
rung are judged together. Start at kept().
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from gaelp_ray.market.landscape import HOURS
from gaelp_ray.sweep.format.blocks import Asha, HyperBand, Median, Population
from gaelp_ray.sweep.format.spec import SweepSpec

RACE_KEEPS = 2
"""In a race of seeds, one of so many configurations gets another seed: search.KEPT, which brings Ray."""


@dataclass(frozen=True)
class Rung:
    """One iteration at which trials are judged, in configurations; nobody judges the control arm."""

    iteration: int
    reach: int  # get there, if all of a rung are judged together
    keep: int  # and continue
    at_most: int  # continue however it turns out: nobody waits for the others, so each may be the best so far


@dataclass(frozen=True)
class Kept:
    """What a stopper does, and the iterations (batches of flights) that all trials fly in sum."""

    stopper: str
    text: str
    rungs: tuple[Rung, ...]
    least: int
    usual: int | None  # None where it depends on the values alone
    most: int


def kept(spec: SweepSpec, lengths: Sequence[int], batch_sizes: Sequence[int]) -> Kept:
    """Of trials that would train for `lengths` iterations of `batch_sizes` flights, (trials,) each.

    The control arm comes first, if there is one: it is flown to its end.
    """
    lengths = [min(length, spec.stop.iterations or length) for length in lengths]
    control = lengths[0] if spec.select.include_default else 0
    judged = lengths[1:] if spec.select.include_default else lengths
    found = replace(_stopped(spec, judged), text=_text(spec, len(judged)))
    seeds, further = spec.seeds.min, further_seeds(spec, len(lengths))
    least, most = (found.least + control) * seeds, (found.most + control) * seeds
    usual = None if found.usual is None or further else (found.usual + control) * seeds
    found = replace(found, least=least, usual=usual, most=most + further * max(lengths))
    return _within(found, spec, batch_sizes)


def further_seeds(spec: SweepSpec, trials: int) -> int:
    """Trainings beyond everyone's first seeds: the better half of each round gets another seed, the control arm too."""
    control = int(spec.select.include_default)
    racing, further = trials - control, 0
    for _ in range(spec.seeds.min, spec.seeds.max):
        racing = math.ceil(racing / RACE_KEEPS)
        further += racing + control
    return further


def _stopped(spec: SweepSpec, lengths: Sequence[int]) -> Kept:
    scheduler, total = spec.scheduler, sum(lengths)
    if spec.early_terminate:
        eta = spec.early_terminate.eta
        return _asynchronous(
            "early_terminate", spec.early_terminate.bands, lengths, lambda n: min(n, int(1.0 / eta * n) + 1)
        )
    if isinstance(scheduler, Asha):
        factor = scheduler.reduction_factor
        rungs = _rungs(scheduler.grace_period, factor, max(lengths))
        return _asynchronous("asha", rungs, lengths, lambda n: 1 + int((n - 1) / factor))
    if isinstance(scheduler, HyperBand):
        return _hyperband(scheduler, lengths)
    if isinstance(scheduler, Median):
        return Kept("median", "", (), _least(lengths, scheduler.grace_period), None, total)
    return Kept(scheduler.type, "", (), total, total, total)


def _rungs(first: int, factor: float, last: int) -> list[int]:
    """first x factor^k below `last`, where a trial ends anyway."""
    rungs, at = [], float(first)
    while at < last:
        rungs.append(math.ceil(at))
        at *= factor
    return rungs


def _asynchronous(stopper: str, iterations: Sequence[int], lengths: Sequence[int], keep: Callable[[int], int]) -> Kept:
    """Rungs at which a trial is judged when it gets there, among those that were there before."""
    rungs: list[Rung] = []
    for iteration in iterations:
        longer = sum(length > iteration for length in lengths)
        if not longer:
            break
        reach = min(longer, rungs[-1].keep if rungs else longer)
        rungs.append(Rung(iteration, reach, keep(reach), longer))
    least = _least(lengths, rungs[0].iteration) if rungs else sum(lengths)
    return Kept(stopper, "", tuple(rungs), least, _usual(rungs, lengths), sum(lengths))


def _least(lengths: Sequence[int], first: int) -> int:
    """All but one end at the first rung: whoever comes there first goes on, and may stay the best."""
    beyond = [length - first for length in lengths if length > first]
    return sum(min(length, first) for length in lengths) + min(beyond, default=0)


def _usual(rungs: Sequence[Rung], lengths: Sequence[int]) -> int:
    """Iterations if every rung keeps its share of each length."""
    ends = [0, *(rung.iteration for rung in rungs), max(lengths)]
    share, total = 1.0, 0.0
    for (start, end), rung in zip(pairwise(ends), [*rungs, None], strict=True):
        total += share * sum(min(length, end) - start for length in lengths if length > start)
        share *= rung.keep / rung.reach if rung else 1.0
    return round(total)


def _hyperband(scheduler: HyperBand, lengths: Sequence[int]) -> Kept:
    """Brackets are filled in turn; bracket s starts s factors below the end, and its rungs wait for all of theirs."""
    eta, last = scheduler.reduction_factor, max(lengths)
    brackets = round(math.log(last) / math.log(eta)) + 1
    at: dict[int, Rung] = {}
    left, s, total = len(lengths), 0, 0.0
    while left:
        size, start = math.ceil(brackets / (s + 1) * eta**s), int(last * eta**-s)
        live, s = min(left, size) if start else 0, (s + 1) % brackets
        left -= live
        flown = 0
        while live:
            total += live * (start - flown)
            flown, start = start, min(int(start * eta), last)
            if flown == last:
                break
            size = math.ceil(size / eta)
            before = at.get(flown, Rung(flown, 0, 0, 0))
            going = min(live, size)
            at[flown] = Rung(flown, before.reach + live, before.keep + going, before.at_most + going)
            live = going
    flown_share = round(total * sum(lengths) / (last * len(lengths)))
    return Kept("hyperband", "", tuple(at[n] for n in sorted(at)), flown_share, flown_share, flown_share)


def _within(found: Kept, spec: SweepSpec, batch_sizes: Sequence[int]) -> Kept:
    """Not more iterations than stop.env_steps allows; a sweep that may end early has hardly a least number."""
    stop = spec.stop
    if stop.env_steps is not None:
        cap = math.ceil(stop.env_steps / (HOURS * min(batch_sizes)))
        low = math.ceil(stop.env_steps / (HOURS * max(batch_sizes)))
        usual = None if found.usual is None or found.usual > low else found.usual
        found = replace(found, least=min(found.least, low), usual=usual, most=min(found.most, cap))
    targets = stop.target is not None or spec.metric.target is not None
    early = targets or stop.plateau or stop.time or stop.trial_time or stop.failures
    return replace(found, least=min(found.least, 1), usual=None) if early else found


def _text(spec: SweepSpec, trials: int) -> str:
    scheduler, terminate = spec.scheduler, spec.early_terminate
    if terminate:
        rule = "its value there" if terminate.strict else "its best value so far"
        return f"early_terminate keeps about 1 of {terminate.eta:g} at each band, judging {rule}"
    if isinstance(scheduler, Asha):
        more = f"; {scheduler.brackets} brackets, the later ones judged first further on" * (scheduler.brackets > 1)
        return f"ASHA keeps about 1 of {scheduler.reduction_factor:g} at each rung{more}"
    if isinstance(scheduler, HyperBand):
        return f"HyperBand keeps 1 of {scheduler.reduction_factor:g} at each rung of a bracket, whose trials wait"
    if isinstance(scheduler, Median):
        return f"median: from iteration {scheduler.grace_period}, trials below the median of the others end"
    if isinstance(scheduler, Population):
        number = math.ceil(scheduler.quantile_fraction * trials)
        every = scheduler.perturbation_interval
        exchange = f"the worst {number} go on as changed copies of better ones"
        return f"{scheduler.type.upper()}: every {every} iterations, {exchange}"
    return "every trial runs to its end"
