"""A Ray that a test starts by itself: ports that nobody takes before it does, and the end of all its processes."""

from __future__ import annotations

import random
import socket
import subprocess
from contextlib import suppress

import psutil

NOBODYS = range(20001, 32001)
"""Ports that neither the kernel gives to whoever asks for any, nor Ray to its workers."""


def free_ports(number: int) -> list[int]:
    """Some that are free now, and in all likelihood when Ray binds them."""
    found: set[int] = set()
    while len(found) < number:
        port = random.choice(NOBODYS)
        with suppress(OSError), socket.socket() as tried:
            tried.bind(("", port))
            found.add(port)
    return list(found)


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it has started, of which some may just be ending."""
    first = psutil.Process(process.pid)
    for each in [first, *first.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            each.kill()
