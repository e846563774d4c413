"""The end of a cluster: its workers first, which Ray's launcher leaves to themselves where they are one's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from gaelp_ray.cluster.file import ClusterFile
from gaelp_ray.cluster.ssh import Login, last_line, require_ssh, said_by

SECONDS, AT_ONCE = 60.0, 16
STOP = "bash -lic 'ray stop'"
"""Where the file has no command that stops Ray."""

UNSURE = "Exception occurred when stopping the cluster Ray runtime"
"""What `ray down` says, and ends with 0, where it has not stopped the head, or knows of none."""


def bring_down(file: ClusterFile, say: Callable[[str], object]) -> list[str]:
    """Stop Ray on all machines, and end those of a cloud; `say` gets what is being done.

    Returns one line for each thing that did not work; the rest is down.
    """
    problems = []
    if workers := file.hosts[1]:
        require_ssh()
        say(f"stopping Ray on {len(workers)} worker{'s' * (len(workers) > 1)}")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            said = pool.map(lambda address: _stop(file, address, "worker_start_ray_commands"), workers)
            problems = [f"{address} (worker): {what}" for address, what in zip(workers, said, strict=True) if what]
    say(f"ray down -y {file.where}")
    problems += _down(file)
    return [f"{file.where}: {problem}" for problem in problems]


def _stop(file: ClusterFile, address: str, commands: str) -> str:
    """Why Ray may still run on a machine; empty where it does not. `commands`: the key of those that start it there."""
    command = next((text for _, text in file.commands(commands) if "ray stop" in text), STOP)
    script = f"({command}) >/dev/null 2>&1 && echo stopped"
    said, problem = said_by(Login.of(file.mapping("auth")), address, script, SECONDS)
    return problem or ("" if "stopped" in said else f"`{command}` has failed there")


def _down(file: ClusterFile) -> list[str]:
    words = [sys.executable, "-m", "ray.scripts.scripts", "down", "-y", file.where]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        return [f"`ray down` has failed: {last_line(done.stderr or done.stdout)}"]
    if file.provider == "local" and UNSURE in done.stdout + done.stderr:  # machines of a cloud are gone all the same
        head = file.string("provider", "external_head_ip") or file.hosts[0]
        problem = _stop(file, head, "head_start_ray_commands")
        return [f"{head} (head): {problem}"] if problem else []
    return []
