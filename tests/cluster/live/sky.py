"""What is seen from above while machines work: who flies which trial, all commands, and where a secret lies."""

from __future__ import annotations

import re
import stat
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from ssh_hosts import inits
from ssh_hosts.hosts import Process, SshHosts

SECONDS = 0.2
"""Between two looks, which take a tenth of that."""

RECORD = re.compile(r"/(?P<storage>[^/]+)/[^/]+/trials/(?P<trial>[^/]+)/record\.jsonl$")
RAY = re.compile(r"^ray::|/ray/|/bin/ray |\bray(let)?\b|gcs_server")


class Sky:
    """Looks down while the block runs.

    flown: storage -> trial -> the hosts whose Ray had its record open, in that order. commands: (machine, command) of
    every process that was ever seen.
    """

    def __init__(self, hosts: SshHosts) -> None:
        self.flown: dict[str, dict[str, list[str]]] = {}
        self.commands: set[tuple[str, str]] = set()
        self._hosts = hosts
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._over.wait(SECONDS):
            for process in self._hosts.processes():
                self.commands.add((process.machine, process.command))
                if process.command.startswith("ray::"):
                    self._note(process)

    def _note(self, process: Process) -> None:
        for file in process.files():
            if found := RECORD.search(file):
                places = self.flown.setdefault(found["storage"], {}).setdefault(found["trial"], [])
                if places[-1:] != [process.machine]:
                    places.append(process.machine)

    def on(self, storage: str, host: str) -> list[str]:
        """Trials that a host has flown."""
        return [trial for trial, places in self.flown.get(storage, {}).copy().items() if host in places]

    def __enter__(self) -> Sky:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()


def of_ray(command: str) -> bool:
    """Whether a command is one of Ray's, or of what Ray started; a host's first process is not."""
    return bool(RAY.search(command)) and inits.__file__ not in command


def holders(folders: Iterable[Path], secrets: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """(a secret's name, path, mode) of every file below the folders with a secret in it."""
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            try:
                if path.is_symlink() or not path.is_file():
                    continue
                content, mode = path.read_bytes(), oct(stat.S_IMODE(path.stat().st_mode))
            except FileNotFoundError:  # of what still runs
                continue
            found += [(name, str(path), mode) for name, secret in secrets.items() if secret.encode() in content]
    return sorted(found)
