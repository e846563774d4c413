"""The first process of a machine, in namespaces that unshare(1) has made for it: mounts, network, sshd, and then init.

It is told by one line of JSON on its standard input what to be, and answers with one line. Only the standard library:
on a host there is no other, nor this file, once its mounts are done.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NAMESPACES = ("--net", "--pid", "--mount", "--ipc", "--uts", "--fork", "--kill-child=KILL", "--mount-proc")
"""For unshare: what a machine has for itself; whatever it has started ends with it."""

GATEWAY = "10.213.77.1"
"""The laptop. Nobody else knows this network: it begins and ends with the laptop's namespace."""

Told = Mapping[str, Any]


def run(*words: str) -> None:
    """Run a program. Raises CalledProcessError."""
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def tell(pipe: Any, words: object) -> None:
    """One line for who waits at the pipe's other end."""
    pipe.write(json.dumps(words) + "\n")
    pipe.flush()


def heard(pipe: Any) -> Any:
    """The other one's next line. Raises EOFError where it has ended without."""
    line = pipe.readline()
    if not line:
        raise EOFError("the other process has ended")
    return json.loads(line)


def host(told: Told) -> None:
    """A machine with sshd, once it has its end of a cable."""
    socket.sethostname(told["name"])
    furnish(told["mounts"])
    tell(sys.stdout, "ready")
    heard(sys.stdin)
    run("ip", "link", "set", "lo", "up")
    run("ip", "addr", "add", f"{told['address']}/24", "dev", "eth0")
    run("ip", "link", "set", "eth0", "up")
    # It leads nowhere; Ray finds its own address by asking which one a way out would leave from.
    run("ip", "route", "add", "default", "via", GATEWAY)
    run("ip", "route", "add", "unreachable", "169.254.0.0/16")  # where clouds have what Ray looks for
    Path("/run/sshd").mkdir()
    sshd = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", told["sshd"]])
    while not listens(told["address"]):
        if sshd.poll() is not None:
            sys.exit("sshd has ended")
        time.sleep(0.02)
    tell(sys.stdout, os.readlink("/proc/self/ns/pid"))
    reap(sshd.pid)


def listens(address: str) -> bool:
    """Whether somebody answers at SSH's port."""
    try:
        socket.create_connection((address, 22)).close()
    except OSError:
        return False
    return True


def laptop(told: Told) -> None:
    """The machine whose network all others are plugged into, and whose end is theirs."""
    socket.sethostname(told["name"])
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
    run("ip", "addr", "add", f"{GATEWAY}/24", "dev", "br0")
    run("ip", "link", "set", "br0", "up")
    spaces = {about["name"]: plugged_in(number, about) for number, about in enumerate(told["hosts"])}
    furnish(told["mounts"])  # hosts have copied the mounts of before
    tell(sys.stdout, {told["name"]: os.readlink("/proc/self/ns/pid"), **spaces})
    threading.Thread(target=end_with_stdin, daemon=True).start()
    reap()


def plugged_in(number: int, about: Told) -> str:
    """Start a host; returns the name of its namespace of processes."""
    pipe, words = subprocess.PIPE, [sys.executable, __file__, "host"]
    process = subprocess.Popen(["unshare", *NAMESPACES, *words], stdin=pipe, stdout=pipe, text=True)
    tell(process.stdin, about)
    heard(process.stdout)
    cable = f"cable{number}"
    run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(process.pid))
    run("ip", "link", "set", cable, "master", "br0", "up")
    tell(process.stdin, "plugged in")
    return str(heard(process.stdout))


def furnish(mounts: Sequence[Sequence[str]]) -> None:
    """Mount what the machine has of its own; nobody outside sees it."""
    run("mount", "--make-rprivate", "/")
    for words in mounts:
        run("mount", *words)
    os.chdir("/")


def reap(until: int = 0) -> None:
    """What the first process does: daemons end up with it. Returns when one child has ended, or when all have."""
    while True:
        try:
            pid, _ = os.wait()
        except ChildProcessError:
            if not until:
                threading.Event().wait(0.2)  # the laptop has none while its hosts are dead
                continue
            return
        if pid == until:
            return


def end_with_stdin() -> None:
    """Whoever has started this closes it, or is dead."""
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    {"host": host, "laptop": laptop}[sys.argv[1]](heard(sys.stdin))
