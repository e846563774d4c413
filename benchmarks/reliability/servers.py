"""A W&B server that is away, fails, is busy or hangs; and a wrong key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from wandb_server import StandIn

from reliability import losses
from reliability.faults import Finding, Inflict, fault
from reliability.stage import KEYS, NAME, ONE_BY_ONE, Driver, Room, Stage
from reliability.traces import Trace

AUTO = {**ONE_BY_ONE, "tracking": {"mode": "auto"}}
ONLINE = {**ONE_BY_ONE, "tracking": {"mode": "online"}}
BOUND_SECONDS = 60.0
"""What a dead server may cost a sweep at most, over the 30 s of each of two ends of runs."""


def _at_work(stage: Stage, server: StandIn, name: str, keys: Mapping[str, Any] = ONLINE) -> tuple[Room, Driver]:
    """An online sweep that has begun."""
    room = stage.room(name, keys, **server.env())
    driver = room.sweep(SHOP_PACE="0.05")
    driver.until(lambda: Trace.of(room.folder).iterations >= 6, "six iterations")
    return room, driver


def _synced(room: Room, server: StandIn, found: Finding) -> None:
    """Bring what is missing to the server, twice: the second time there is nothing left."""
    for session in ("first", "second"):
        sync = room.start("sync", NAME)
        found.require(sync.wait() == 0, f"the {session} sync ended with {sync.process.returncode}: {sync.err[-400:]}")
    found.require(" 0 rows were new" in sync.out, f"the second sync said {sync.out[-300:]}")
    found.checked(losses.online(room, server.state()))


def _through(name: str, injected: str, harm: Callable[[StandIn], Any], mend: Callable[[StandIn], Any]) -> Inflict:
    """A fault that begins in the middle of a sweep and lasts beyond its end; then sync."""

    @fault(name, f"{injected} from the middle of a sweep to its end, then gaelp-ray sync")
    def inflict(stage: Stage, found: Finding) -> Room:
        with StandIn() as server:
            room, driver = _at_work(stage, server, "server")
            harm(server)
            code = driver.wait()
            found.require(code == 0, f"the sweep ended with {code}: {driver.err[-400:]}")
            found.lost += losses.of_results(room, stage.reference(ONLINE_AS_OFFLINE))
            mend(server)
            _synced(room, server, found)
        return room

    return inflict


ONLINE_AS_OFFLINE = KEYS
"""The uninterrupted sweep needs no server: tracking changes no number."""

server_dies = _through("server dies", "connections refused", StandIn.down, StandIn.up)
server_in_trouble = _through(
    "server in trouble", "HTTP 500 to every request", lambda server: server.fault(status=500), StandIn.clear
)
server_hangs = _through(
    "server hangs", "no answer to any request", lambda server: server.fault(kind="hang", seconds=60.0), StandIn.clear
)


@fault("server away", "no server when the sweep starts (tracking.mode auto), then gaelp-ray sync")
def server_away(stage: Stage, found: Finding) -> Room:
    """It goes offline."""
    with StandIn() as server:
        server.down()
        room = stage.room("away", AUTO, **server.env())
        driver = room.sweep()
        driver.wait()
        found.require_done(driver, "the sweep")
        found.require("W&B: offline" in driver.out, f"it said {driver.out[-400:]}")
        found.lost += losses.of_results(room, stage.reference())
        found.checked(losses.offline(room))
        server.up()
        _synced(room, server, found)
    return room


@fault("server busy", "HTTP 429 with Retry-After: 1 to 20 requests in the middle of a sweep")
def server_busy(stage: Stage, found: Finding) -> Room:
    """It is waited for, and nothing has to be brought later."""
    with StandIn() as server:
        room, driver = _at_work(stage, server, "busy")
        injected = server.fault(status=429, retry_after=1.0, times=20)
        driver.wait()
        found.require_done(driver, "the sweep")
        found.told = f"{injected.hits} requests refused"
        found.lost += losses.of_results(room, stage.reference())
        found.checked(losses.online(room, server.state()))
    return room


@fault("server comes back", "connections refused for a while in the middle of a sweep")
def server_comes_back(stage: Stage, found: Finding) -> Room:
    """Nothing has to be brought later."""
    with StandIn() as server:
        room, driver = _at_work(stage, server, "back")
        server.down()
        ended = len(Trace.of(room.folder).ends)
        driver.until(lambda: len(Trace.of(room.folder).ends) > ended, "the end of a trial without a server")
        server.up()
        driver.wait()
        found.require_done(driver, "the sweep")
        found.lost += losses.of_results(room, stage.reference())
        found.checked(losses.online(room, server.state()))
    return room


@fault("driver killed online", "kill -9 of the driver of an online sweep, then resume")
def driver_killed_online(stage: Stage, found: Finding) -> Room:
    """No step is sent twice."""
    with StandIn() as server:
        room, driver = _at_work(stage, server, "online", {**KEYS, "tracking": ONLINE["tracking"]})
        driver.until(lambda: Trace.of(room.folder).ends, "the end of a trial")
        driver.kill()
        found.left_over += room.left_over()
        resumed = room.resume()
        found.require_done(resumed, "resume")
        found.lost += losses.of_results(room, stage.reference())
        found.checked(losses.online(room, server.state()))
    return room


@fault("wrong key", "a key that the server refuses: tracking.mode online, then auto")
def wrong_key(stage: Stage, found: Finding) -> Room:
    """Online is refused before anything starts, auto goes offline."""
    with StandIn() as server:
        wrong = {**server.env(), "WANDB_API_KEY": "f" * 40}
        refused = stage.room("key", ONLINE, **wrong)
        driver = refused.sweep()
        found.require(driver.wait() == 2, f"online ended with {driver.process.returncode}")
        found.require("refuses the W&B key" in driver.err, f"online said {driver.err[-400:]}")
        found.require(not refused.folder.exists(), "online has begun a sweep")
        room = stage.room("key", AUTO, **wrong)
        driver = room.sweep()
        found.require(driver.wait() == 0, f"auto ended with {driver.process.returncode}: {driver.err[-400:]}")
        found.lost += losses.of_results(room, stage.reference())
        found.checked(losses.offline(room))
        found.require(not server.state().runs, "the server has runs of a wrong key")
    return room
