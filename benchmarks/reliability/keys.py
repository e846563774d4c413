"""Whether the key of W&B gets anywhere: everything that an online sweep writes, says and shows is searched for it."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from wandb_server import StandIn

from reliability import losses
from reliability.faults import Finding, fault
from reliability.servers import ONLINE
from reliability.stage import LOOK_SECONDS, NAME, Driver, Room, Stage


@fault(
    "key searched for", "an online sweep with a key, its files, output, command lines and Ray's logs searched for it"
)
def searched(stage: Stage, found: Finding) -> Room:
    """Also what a wrong key, a resume and a sync leave behind."""
    key = f"{stage.random.getrandbits(160):040x}"
    with StandIn(key) as server:
        room = stage.room("secret", ONLINE, **server.env())
        shown = _shown_while(room.sweep(), room, found)
        server.down()
        shown |= _shown_while(room.start("sync", NAME), room, found, ends_with=1)
        server.up()
        for words in (("sync", NAME), ("show", NAME, "--json"), ("plan", str(room.file))):
            shown |= _shown_while(room.start(*words), room, found)
        found.checked(losses.online(room, server.state()))
    secrets = [key.encode(), base64.b64encode(f"api:{key}".encode())]
    files = list(_files(stage.home))
    found.lost += [f"{path} has the key" for path in files if any(secret in _content(path) for secret in secrets)]
    found.lost += [f"a command line has the key: {line.replace(key, '*')}" for line in shown if key in line]
    found.require(any("raylet" in line for line in shown), "no process of Ray was seen")
    found.require(any("session_" in str(path) and path.suffix == ".log" for path in files), "no log of Ray was found")
    found.told = f"not in {len(files)} files and {len(shown)} command lines"
    return room


def _shown_while(driver: Driver, room: Room, found: Finding, ends_with: int = 0) -> set[str]:
    """The command lines of all its processes while a command runs."""
    shown: set[str] = set()
    while not driver.ended:
        for process in room.processes():
            try:
                shown.add(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        time.sleep(LOOK_SECONDS)
    if driver.wait() != ends_with:
        found.lost.append(f"{driver.process.args} ended with {driver.process.returncode}: {driver.err[-300:]}")
    return shown


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # somebody has removed it since it was listed
        return b""


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
