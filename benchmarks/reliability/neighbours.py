"""Others on the same machine: a second driver, another sweep, a Ray cluster that somebody else has started."""

from __future__ import annotations

import socket
import subprocess
import sys

import psutil

from reliability import losses
from reliability.faults import Finding, fault
from reliability.stage import KEYS, MARK, NAME, ONE_BY_ONE, Room, Stage, kill, marked, workers
from reliability.traces import Trace

OTHER = {**KEYS, "seed": 1}
"""The same sweep with other numbers."""

HEAD = ("-m", "ray.scripts.scripts", "start", "--head", "--port=0", "--num-cpus=2", "--include-dashboard=false")


@fault("second driver", "the same sweep started and resumed while it runs")
def second_driver(stage: Stage, found: Finding) -> Room:
    """Both are refused with the pid of the first, which does not notice."""
    room = stage.room("second", ONE_BY_ONE, SHOP_PACE="0.04")  # long enough for two commands
    driver = room.sweep()
    driver.until(lambda: Trace.of(room.folder).iterations >= 1, "an iteration")
    for words in (("sweep", str(room.file), "--overwrite"), ("resume", NAME)):
        other = room.start(*words)
        code = other.wait()
        found.require(not driver.ended, "the first had ended before the second was refused")
        found.require(code == 2, f"{words[0]} ended with {code}")
        found.require(f"process {driver.process.pid}" in other.err, f"{words[0]} said {other.err[-300:]}")
    found.require(driver.wait() == 0, f"the first ended with {driver.process.returncode}")
    found.told = "refused with the first one's pid"
    found.lost += losses.of_results(room, stage.reference())
    found.checked(losses.offline(room))
    return room


@fault("two sweeps at once", "another sweep beside it on the same machine, killed with kill -9 and resumed meanwhile")
def two_at_once(stage: Stage, found: Finding) -> Room:
    """Neither notices the other, nor its end."""
    references = [stage.reference(keys) for keys in (OTHER, KEYS)]
    beside, room = stage.room("beside", OTHER), stage.room("here")
    other, driver = beside.sweep(), room.sweep()
    for one, place in ((other, beside), (driver, room)):
        one.until(lambda place=place: Trace.of(place.folder).iterations >= 4, "four iterations")
    other.kill()
    found.require(not driver.ended, "the other had ended before the kill")
    resumed = beside.resume()
    found.require_done(resumed, "resume")
    driver.wait()
    found.require_done(driver, "the other sweep")
    for place, reference in zip((beside, room), references, strict=True):
        found.lost += losses.of_results(place, reference)
        found.checked(losses.offline(place))
    found.left_over += beside.left_over()
    return room


@fault("somebody's Ray", "a sweep, started and killed and resumed beside a running Ray cluster that RAY_ADDRESS names")
def somebodys_ray(stage: Stage, found: Finding) -> Room:
    """The sweep has a Ray of its own, and the other one runs on as if nothing had happened."""
    home = stage.home / "somebody"
    home.mkdir()
    env = {**stage.env, "RAY_TMPDIR": str(home), "RAY_AUTH_MODE": "disabled", MARK: str(home)}
    with socket.socket() as free:  # of Ray Client's server, for whose usual port heads would fight
        free.bind(("", 0))
        port = f"--ray-client-server-port={free.getsockname()[1]}"
    subprocess.run([sys.executable, *HEAD, port], env=env, capture_output=True, check=True, start_new_session=True)
    address = (home / "ray" / "ray_current_cluster").read_text(encoding="utf-8").strip()
    cluster = {process.pid for process in marked(str(home)) if process.name() in ("gcs_server", "raylet")}
    found.require(len(cluster) == 2, "somebody's Ray has not started")
    room = stage.room("guest", RAY_ADDRESS=address, RAY_TMPDIR=str(home))  # where Ray would look for one that runs
    driver = room.sweep()
    driver.until(lambda: Trace.of(room.folder).ends and workers(room), "the end of a trial")
    driver.kill()
    resumed = room.resume()
    found.require_done(resumed, "resume")
    found.lost += losses.of_results(room, stage.reference())
    found.checked(losses.offline(room))
    left = {pid for pid in cluster if psutil.pid_exists(pid)}
    found.require(left == cluster, f"of somebody's Ray only {len(left)} of {len(cluster)} processes are left")
    asked = room.start("plan", str(room.file), "--address", address, "--name", "another", RAY_AUTH_MODE="disabled")
    found.require(asked.wait() == 0, f"somebody's Ray does not answer any more: {asked.err[-300:]}")
    found.told = f"all {len(left)} processes of it left, and it answers"
    kill(marked(str(home)))
    return room
