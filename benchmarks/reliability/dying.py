"""Processes that die: workers, drivers, and those whom a person stops."""

from __future__ import annotations

import re
import time
from collections import Counter

from reliability import losses
from reliability.faults import Finding, fault
from reliability.stage import NAME, ONE_BY_ONE, Driver, Missed, Room, Stage, kill, workers
from reliability.traces import Trace

FINAL_STAGE, PUBLISHING = "racing the best: 0/", re.compile(r"confirming the choice: ([1-9][\d,]*)/\1 ")


@fault("worker killed", "kill -9 of a worker in the middle of an iteration")
def worker_killed(stage: Stage, found: Finding) -> Room:
    """The trial is tried again by the sweep itself."""
    room = stage.room("worker", SHOP_PACE="0.05")
    driver = room.sweep()
    kill(driver.until(lambda: Trace.of(room.folder).iterations >= 4 and workers(room)[:1], "four iterations"))
    code = driver.wait()
    causes = [attempt["cause"] for attempt in Trace.of(room.folder).attempts]
    found.told = f"{len(causes)} attempt broke off ({', '.join(causes)})"
    found.require(code == 0, f"the sweep ended with {code}: {driver.err[-300:]}")
    found.require(causes == ["worker killed"], f"noted as {causes}")
    found.lost += losses.of_results(room, stage.reference())
    found.checked(losses.offline(room))
    return room


@fault("driver killed", "kill -9 of the driver during the search, then resume")
def driver_killed(stage: Stage, found: Finding) -> Room:
    """Once."""
    room = stage.room("driver")
    driver = room.sweep()
    driver.until(lambda: Trace.of(room.folder).ends, "the end of a trial")
    driver.kill()
    before = Trace.of(room.folder)
    found.left_over += room.left_over()
    resumed = room.resume()
    found.told = f"after {len(before.ends)} of 5 trials"
    found.require_done(resumed, "resume")
    found.lost += losses.of_records(room, before, only_ended=True) + losses.of_results(room, stage.reference())
    found.checked(losses.offline(room))
    return room


@fault("driver killed ten times", "kill -9 of the driver in search, final stage and publishing, 10 times at random")
def driver_killed_ten_times(stage: Stage, found: Finding) -> Room:
    """One sweep, eleven sessions."""
    room = stage.room("killed")
    phases: Counter[str] = Counter()
    kept = None
    for phase in ["search"] * 4 + ["final stage"] * 3 + ["publishing"] * 3:
        driver = room.start("resume", NAME) if room.folder.is_dir() else room.sweep()
        already = Trace.of(room.folder).iterations
        _reach(driver, room, phase, already + stage.random.randint(1, 4))
        time.sleep(stage.random.uniform(0.0, 0.15))  # a moment that nobody has chosen
        if driver.ended or (room.folder / "selection.json").exists():
            raise Missed(f"the sweep had ended before the {sum(phases.values()) + 1}th kill, in the phase {phase}")
        driver.kill()
        phases[phase] += 1
        if kept:
            found.lost += losses.of_records(room, kept, only_ended=True)
        kept = Trace.of(room.folder)
        found.left_over += [f"after a kill in the {phase}: {process}" for process in room.left_over()]
    resumed = room.resume()
    found.told = ", ".join(f"{phase} {count}" for phase, count in phases.items())
    found.require_done(resumed, "resume")
    found.lost += losses.of_results(room, stage.reference())
    found.checked(losses.offline(room))
    return room


def _reach(driver: Driver, room: Room, phase: str, iterations: int) -> None:
    if phase == "search":
        driver.until(lambda: Trace.of(room.folder).iterations >= iterations, f"iteration {iterations}")
    else:
        said = PUBLISHING if phase == "publishing" else re.compile(FINAL_STAGE)
        driver.until(lambda: said.search(driver.out), phase)


def _interrupted(room: Room, driver: Driver, found: Finding) -> None:
    code = driver.wait()
    found.require(code == 130, f"exit code {code}, not 130: {driver.err[-300:]}")
    found.require(f"gaelp-ray resume {room.shown}" in driver.err, f"it did not say how to go on: {driver.err[-300:]}")
    found.left_over += room.left_over()


@fault("Ctrl-C once", "SIGINT to the driver's process group, then resume")
def interrupted_once(stage: Stage, found: Finding) -> Room:
    """What runs ends with its batch and a checkpoint, from which it goes on."""
    room = stage.room("interrupted")
    driver = room.sweep()
    driver.until(lambda: Trace.of(room.folder).iterations >= 6, "six iterations")
    begun = {name for name, rows in Trace.of(room.folder).rows.items() if rows}
    driver.interrupt()
    _interrupted(room, driver, found)
    before = Trace.of(room.folder)
    found.checked(losses.offline(room))
    found.require(not before.attempts, f"noted as a failure: {before.attempts}")
    resumed = room.resume()
    found.require_done(resumed, "resume")
    found.lost += losses.of_results(room, stage.reference())
    after = Trace.of(room.folder)
    again = {name: len(rows) for name, rows in before.rows.items() if after.rows[name][: len(rows)] != rows}
    found.told = f"after {before.iterations} iterations, of which {sum(again.values())} were flown again"
    lost = {name: count for name, count in again.items() if name in begun}
    found.require(not lost, f"{lost} iterations were flown again, without their checkpoints")
    found.checked(losses.offline(room))
    return room


@fault("Ctrl-C twice", "SIGINT twice to the driver's process group, then resume")
def interrupted_twice(stage: Stage, found: Finding) -> Room:
    """It ends at once: within the batches that are being flown nothing is waited for."""
    room = stage.room("twice", SHOP_PACE="3")
    driver = room.sweep()
    driver.until(lambda: Trace.of(room.folder).iterations >= 2 and workers(room), "two iterations")
    driver.interrupt()
    time.sleep(0.5)  # as quick as a person
    driver.interrupt()
    start = time.monotonic()
    _interrupted(room, driver, found)
    found.told = f"ended {time.monotonic() - start:.0f} s later, in batches of 24 s"
    before = Trace.of(room.folder)
    resumed = room.resume(SHOP_PACE="0.02")
    found.require_done(resumed, "resume")
    found.lost += losses.of_records(room, before, only_ended=True) + losses.of_results(room, stage.reference())
    found.checked(losses.offline(room))
    return room


@fault("resumed twice", "two resumes in a row of a sweep whose driver was killed in the final stage")
def resumed_twice(stage: Stage, found: Finding) -> Room:
    """The second finds nothing to do, and changes nothing."""
    room = stage.room("again", ONE_BY_ONE)
    driver = room.sweep()
    driver.until(lambda: FINAL_STAGE in driver.out, "the final stage")
    driver.kill()
    first = room.resume()
    found.require(first.process.returncode == 0, f"resume ended with {first.process.returncode}: {first.err[-300:]}")
    before = _contents(room)
    second = room.resume()
    found.require("nothing is left to do" in second.out, f"the second resume said {second.out[-300:]}")
    found.require(before == _contents(room), "the second resume has changed the folder")
    found.told = "the second had nothing to do"
    found.lost += losses.of_results(room, stage.reference())
    found.checked(losses.offline(room))
    return room


def _contents(room: Room) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in room.folder.rglob("*") if path.is_file()}
