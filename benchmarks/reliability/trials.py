"""Trials that fail: NaN, memory, silence, exceptions at random and always."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import psutil
from ray._private.utils import get_cgroup_mem_stats

from reliability import losses
from reliability.faults import Finding, fault
from reliability.stage import KEYS, NAME, ONE_BY_ONE, Room, Stage
from reliability.traces import Trace, ended

LONG = f"{KEYS['name']}-02"
"""The third of a grid, and the only one that gets to the ninth iteration."""
MEGABYTES, MANY_SECONDS = 200.0, 1800.0


def _grid(env: str, *episodes: int, **changes: Any) -> dict[str, Any]:
    """Trials of so many episodes, in an environment that misbehaves from the 65th on; the control arm has 64."""
    trial = {**KEYS["trial"], "env": f"shop:{env}", "num_episodes": 64}
    parameters = {"num_episodes": {"values": list(episodes)}}
    keys = {name: value for name, value in ONE_BY_ONE.items() if name != "run_cap"}
    return {**keys, "method": "grid", "parameters": parameters, "trial": trial, **changes}


def _one_fails(stage: Stage, found: Finding, keys: Mapping[str, Any], cause: str, **env: str) -> Room:
    """A sweep of which the longest trial must fail, and no other."""
    room = stage.room("trial", keys, **env)
    driver = room.sweep()
    driver.wait()
    found.require_done(driver, "the sweep")
    trace = Trace.of(room.folder)
    states = {name: (end["status"], end["cause"]) for name, end in trace.ends.items()}
    wanted = {name: ("failed", cause) if name == LONG else ("completed", "") for name in trace.plans}
    found.require(states == wanted, f"ended as {states}")
    found.told = trace.ends.get(LONG, {}).get("reason", "")
    found.require(len(trace.rows[LONG]) >= 8, f"only {len(trace.rows[LONG])} of its iterations are recorded")
    found.lost += losses.of_counting(room)
    found.checked(losses.offline(room))
    return room


@fault("NaN in the environment", "the cost of a trial's flights turns NaN")
def poisoned(stage: Stage, found: Finding) -> Room:
    """It fails at once; what it had flown stays."""
    return _one_fails(stage, found, _grid("Poisoned", 48, 56, 96), "exception")


@fault("NaN metric", "the metric of a trial's validation flights is NaN")
def not_a_number(stage: Stage, found: Finding) -> Room:
    """It is trained to its end, and has failed."""
    metric = {"name": "ctr", "goal": "maximize"}
    return _one_fails(stage, found, _grid("Unseen", 48, 56, 96, metric=metric), "metric")


@fault("memory leak", "a trial that takes 400 MB more in each iteration, until Ray's memory monitor kills its worker")
def hungry(stage: Stage, found: Finding) -> Room:
    """It is tried once more, as its neighbours might have had the memory."""
    used, total = _memory()
    # Room for what else may start on this machine meanwhile, other sweeps' Rays among them; but no more than a third.
    threshold = (used + min(5.5 * 2**30, (total - used) / 3)) / total
    env = {
        "RAY_memory_usage_threshold": f"{threshold:.4f}",
        "RAY_memory_monitor_refresh_ms": "100",
        "SHOP_PACE": "0.05",
    }
    keys = _grid("Hungry", 48, 56, 800)  # 36 GB, if it were let
    room = _one_fails(stage, found, keys, "out of memory", **env)
    attempts = [attempt["cause"] for attempt in Trace.of(room.folder).attempts]
    found.require(attempts == ["out of memory"] * 2, f"it broke off because of {attempts}")
    return room


def _memory() -> tuple[int, int]:
    """Bytes in use and in all, as Ray's monitor counts them: of the control group, where that has a limit."""
    whole = psutil.virtual_memory()
    group = get_cgroup_mem_stats()
    return group if group and group[1] < whole.total else (whole.total - whole.available, whole.total)


@fault("hanging trial", "an environment that never answers; stop.trial_time is 40 s")
def stuck(stage: Stage, found: Finding) -> Room:
    """Its worker is killed."""
    return _one_fails(stage, found, _grid("Stuck", 48, 56, 96, stop={"trial_time": 40}), "stuck")


@fault("always the same error", "every trial but the control arm raises the same; stop.failures is 3")
def broken(stage: Stage, found: Finding) -> Room:
    """The sweep ends after three of eight, and what it had is judged."""
    episodes = range(96, 160, 8)
    room = stage.room("broken", _grid("Broken", *episodes, stop={"failures": 3}))
    driver = room.sweep()
    driver.wait()
    found.require_done(driver, "the sweep")
    trace = Trace.of(room.folder)
    states = Counter(end["status"] for end in trace.ends.values())
    found.require(states["failed"] == 3 and states["completed"] == 1, f"ended as {dict(states)}")
    found.told = f"{states['failed']} failed, the others were not begun"
    begun = [name for name, rows in trace.rows.items() if rows]
    found.require(len(begun) == 4, f"{begun} have begun")
    found.checked(losses.offline(room))
    return room


@fault(
    "200 trials, 30 % crash", "trials that raise at random, and kill -9 of the driver after 100 of them, then resume"
)
def unlucky(stage: Stage, found: Finding) -> Room:
    """Each has one end, and the folder stays small."""
    trial = {**KEYS["trial"], "env": "shop:Unlucky", "num_episodes": 8, "batch_size": 4}
    room = stage.room("many", {**KEYS, "run_cap": 200, "trial": trial}, SHOP_PACE="0")
    driver = room.sweep()
    driver.until(lambda: ended(room.folder) >= 100, "the end of 100 trials", MANY_SECONDS)
    driver.kill()
    before = Trace.of(room.folder)
    # One at a time: Tune renews the other worker, too, where a trial crashes, and each costs seconds.
    resumed = room.start("resume", NAME, "--set", "max_concurrent=1")
    resumed.wait(MANY_SECONDS)
    found.require_done(resumed, "resume")
    states = Counter(end["status"] for end in Trace.of(room.folder).ends.values())
    found.require(sum(states.values()) == 201, f"{sum(states.values())} ends of 201 trials")
    found.require(40 <= states["failed"] <= 80, f"{states['failed']} of 201 have failed")
    size = sum(path.lstat().st_size for path in room.folder.rglob("*")) / 1e6
    found.require(size < MEGABYTES, f"the folder has {size:.0f} MB")
    found.told = f"{states['completed']} completed, {states['failed']} failed; the folder has {size:.0f} MB"
    found.lost += losses.of_records(room, before, only_ended=True) + losses.of_counting(room)
    found.checked(losses.offline(room))
    return room
