"""Sweeps in which trials depend on each other, killed and resumed: a population, a race of seeds, ASHA."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reliability import losses
from reliability.faults import Finding, fault
from reliability.stage import KEYS, Room, Stage
from reliability.traces import Trace, lines

RATES = {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2}
PBT = {"type": "pbt", "perturbation_interval": 3, "hyperparam_mutations": {"learning_rate": RATES}}
ASHA = {"type": "asha", "grace_period": 3, "reduction_factor": 2}


When = Callable[[Trace], object]


def _killed(stage: Stage, found: Finding, name: str, keys: Mapping[str, Any], when: When) -> tuple[Room, Trace]:
    """A sweep whose driver was killed when its trace was so, resumed; and what was there before."""
    room = stage.room(name, keys)
    driver = room.sweep()
    driver.until(lambda: when(Trace.of(room.folder)), f"the moment to kill the {name}")
    driver.kill()
    before = Trace.of(room.folder)
    found.told = f"after {before.iterations} iterations"
    found.left_over += room.left_over()
    resumed = room.resume()
    found.require_done(resumed, "resume")
    return room, before


@fault("population killed", "kill -9 of the driver of a population (pbt), then resume")
def population(stage: Stage, found: Finding) -> Room:
    """The same exchanges, the same numbers."""
    keys = {**KEYS, "scheduler": PBT}
    room, _ = _killed(stage, found, "pbt", keys, lambda trace: trace.iterations >= 30)
    reference = stage.reference(keys)
    exchanges = [_exchanges(one) for one in (room.folder, reference)]
    found.require(exchanges[0] == exchanges[1], f"exchanges {exchanges[0]} instead of {exchanges[1]}")
    found.told += f", {len(exchanges[0])} exchanges"
    found.lost += losses.of_results(room, reference)
    found.checked(losses.offline(room))
    return room


def _exchanges(folder: Path) -> list[tuple[Any, ...]]:
    """Who went on from whom, and when; one that was decided twice counts once."""
    told = [line["exploit"] for line in lines(folder / "journal.jsonl") if line["event"] == "exploit"]
    last = {
        (one["iteration"], one["trial"]): (one["source"], one["source_iteration"], str(one["changed"])) for one in told
    }
    return sorted((*when, *what) for when, what in last.items())


@fault("race of seeds killed", "kill -9 of the driver of a race of one to three seeds, then resume")
def race(stage: Stage, found: Finding) -> Room:
    """The same trials get further seeds."""
    keys = {**KEYS, "seeds": {"min": 1, "max": 3}}
    room, before = _killed(stage, found, "race", keys, lambda trace: trace.iterations >= 40)
    found.lost += losses.of_records(room, before, only_ended=True) + losses.of_results(room, stage.reference(keys))
    found.checked(losses.offline(room))
    return room


def _stopped(trace: Trace) -> list[str]:
    """Trials that the scheduler has stopped."""
    return [name for name, end in trace.ends.items() if end["status"] == "stopped"]


@fault("ASHA killed", "kill -9 of the driver of a sweep with asha, then resume")
def asha(stage: Stage, found: Finding) -> Room:
    """It decides by who came first, so that only what was decided must stand."""
    room, before = _killed(stage, found, "asha", {**KEYS, "run_cap": 6, "scheduler": ASHA}, _stopped)
    found.told += f", {len(_stopped(before))} of {len(before.ends)} ended trials stopped"
    found.lost += losses.of_records(room, before, only_ended=True) + losses.of_counting(room)
    found.checked(losses.offline(room))
    return room
