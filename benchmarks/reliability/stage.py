"""Where sweeps run: a folder of its own with everything that they write, and processes that can be found again."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import psutil
import yaml

SEEN_SECONDS, END_SECONDS = 600.0, 1200.0
"""How long an event and the end of a command are waited for; they take a fortieth of that on an idle machine."""
LOOK_SECONDS, LOOK_SHARE = 0.02, 0.05
"""How often an event is looked for at most, and the share of a core that looking may take beside what it waits for."""
GONE_SECONDS = 300.0
"""How long processes may take to notice that the one who started them is dead. Ray's agents then first report it to a
server that may be dead, too, and try for a minute."""
MARK = "GAELP_RELIABILITY"
NAME = "shop"

KEYS: Mapping[str, Any] = {
    "name": NAME,
    "method": "random",
    "run_cap": 4,
    "metric": {"name": "delivered_roas", "goal": "maximize"},
    "trial": {
        "env": "shop:Shop",
        "agent_type": "PPO",
        "ppo.reference": "none",
        "num_episodes": 96,
        "batch_size": 8,
    },
    "parameters": {
        "learning_rate": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2},
        "ppo.initial_std": {"min": 0.2, "max": 0.8},
    },
    "select": {"top_k": 2, "episodes": 64, "min_delivery": 0.1},
    "tracking": {"mode": "offline"},
}
"""Five trainings of 12 iterations, about two seconds each."""
ONE_BY_ONE: Mapping[str, Any] = {**KEYS, "max_concurrent": 1}
"""The same numbers of one worker, for faults that do not care how many there are: each costs seconds to start."""


T = TypeVar("T")


class Missed(Exception):
    """Something that should have been seen was not."""


class Skipped(Exception):
    """A fault that cannot be injected on this machine."""


def until(condition: Callable[[], object], what: str, seconds: float = SEEN_SECONDS) -> None:
    """Wait for a condition. Raises Missed."""
    end, before = time.monotonic() + seconds, time.thread_time()
    while not condition():
        if time.monotonic() > end:
            raise Missed(f"not within {seconds:.0f} s: {what}")
        time.sleep(max(LOOK_SECONDS, (time.thread_time() - before) / LOOK_SHARE))
        before = time.thread_time()


class Driver:
    """A command of gaelp-ray in a process, and a session, of its own."""

    def __init__(self, words: tuple[str, ...], env: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.with_suffix(".out").open("wb") as out, log.with_suffix(".err").open("wb") as err:
            command = [sys.executable, "-m", "gaelp_ray", *words]
            self.process = subprocess.Popen(
                command, cwd=env["PWD"], env=env, stdout=out, stderr=err, start_new_session=True
            )

    @property
    def out(self) -> str:
        """What it has printed so far."""
        return self._log.with_suffix(".out").read_text(encoding="utf-8", errors="replace")

    @property
    def err(self) -> str:
        """What it has complained about so far."""
        return self._log.with_suffix(".err").read_text(encoding="utf-8", errors="replace")

    @property
    def ended(self) -> bool:
        """Whether its process is gone."""
        return self.process.poll() is not None

    def until(self, condition: Callable[[], T], what: str, seconds: float = SEEN_SECONDS) -> T:
        """Wait for a condition while the command runs; returns what it was then. Raises Missed."""
        found: list[T] = []

        def look() -> bool:
            found[:] = [condition()]
            return bool(found[0]) or self.ended

        until(look, what, seconds)
        if not (last := found[0] or condition()):
            raise Missed(f"ended with {self.process.returncode} before {what}: {self.err[-500:]}")
        return last

    def wait(self, seconds: float = END_SECONDS) -> int:
        """Its exit code. Raises Missed where it does not end."""
        until(lambda: self.ended, f"the end of the command; it said {self.out[-300:]} {self.err[-300:]}", seconds)
        return int(self.process.returncode)

    def kill(self) -> None:
        """What nobody can catch."""
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> None:
        """Ctrl-C, as a terminal sends it: to all processes of its group."""
        os.killpg(self.process.pid, signal.SIGINT)


class Room:
    """One sweep: a file, its storage, commands about it."""

    def __init__(self, stage: Stage, name: str, keys: Mapping[str, Any], env: Mapping[str, str]) -> None:
        self.home = stage.home / "rooms" / name
        self.home.mkdir(parents=True)
        self.storage = self.home / "results"
        self.env = {**stage.env, MARK: str(self.home), **env}
        self.file = self.home / f"{NAME}.yaml"
        self.file.write_text(yaml.safe_dump(dict(keys)), encoding="utf-8")
        self._commands = 0

    @property
    def folder(self) -> Path:
        """The sweep's."""
        return self.storage / NAME

    @property
    def shown(self) -> str:
        """The sweep's folder, as a command calls it that runs in the stage's."""
        return str(self.folder.relative_to(self.env["PWD"]))

    def start(self, *words: str, **env: str) -> Driver:
        """Start a command."""
        self._commands += 1
        log = self.home / f"{self._commands:02d}-{words[0]}"
        return Driver((*words, "--storage", str(self.storage)), {**self.env, **env}, log)

    def sweep(self, **env: str) -> Driver:
        """Start the sweep."""
        return self.start("sweep", str(self.file), **env)

    def resume(self, *words: str, **env: str) -> Driver:
        """Go on with it, to the end of the command."""
        driver = self.start("resume", NAME, *words, **env)
        driver.wait()
        return driver

    def processes(self) -> list[psutil.Process]:
        """Everything that was started from here, directly or not, and still runs."""
        return marked(str(self.home))

    def left_over(self) -> list[str]:
        """Processes that stay although all commands have ended."""
        try:
            until(lambda: not self.processes(), "", GONE_SECONDS)
        except Missed:
            left = self.processes()
            text = [f"{process.pid} of {_parent(process)} {_shown(process)}" for process in left]
            kill(left)
            return text
        return []


class Stage:
    """A folder below the system's temporary one, removed at the end with all that runs there.

    `kept`: a folder for what several faults begin with or compare with; stages in other processes may use the same one.
    """

    def __init__(self, kept: Path | None = None) -> None:
        self.home = short_folder("gr-").resolve()
        self.random = random.Random()
        self._kept = kept or self.home / "kept"
        self._kept.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(__file__).with_name("shop.py"), self.home / "shop.py")
        for name in ("person", "tmp", "ray"):
            (self.home / name).mkdir()
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "VIRTUAL_ENV") if name in os.environ}
        self.env = {
            **kept,
            "HOME": str(self.home / "person"),
            "PWD": str(self.home),
            "TMPDIR": str(self.home / "tmp"),
            "RAY_TMPDIR": str(self.home / "ray"),
            "OMP_NUM_THREADS": "1",
            "WANDB_ERROR_REPORTING": "false",
            "NO_PROXY": "*",
        }

    def room(self, name: str, keys: Mapping[str, Any] = KEYS, **env: str) -> Room:
        """A new place for one sweep."""
        taken = len(list((self.home / "rooms").glob(f"{name}*")))
        return Room(self, f"{name}-{taken}", keys, env)

    def kept(self, name: str, run: Callable[[], Room]) -> Path:
        """The folder of a sweep that is run once for all who ask for this name; the others wait for it."""
        folder = self._kept / name
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                shutil.move(run().folder, folder)
        return folder

    def reference(self, keys: Mapping[str, Any] = KEYS) -> Path:
        """The folder of the same sweep, uninterrupted; run once for each file."""

        def run() -> Room:
            room = self.room("reference", keys)
            code = (driver := room.sweep()).wait()
            if code != 0:
                raise Missed(f"the uninterrupted sweep ended with {code}: {driver.err[-500:]}")
            return room

        return self.kept(f"reference-{hashlib.sha256(yaml.safe_dump(dict(keys)).encode()).hexdigest()[:8]}", run)

    def clear(self) -> None:
        """Kill all that runs here."""
        kill(marked(str(self.home)))

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
        shutil.rmtree(self.home, ignore_errors=True)


def short_folder(prefix: str) -> Path:
    """A new one below which Ray's sockets have room: of their paths, Linux takes 107 characters."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp" if os.access("/tmp", os.W_OK) else None))


def kill(processes: Iterable[psutil.Process]) -> None:
    """Of which any may have just ended."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def marked(home: str) -> list[psutil.Process]:
    """Processes that carry the mark of a folder, or of one below it, in their environment; the dead do not count."""
    found = []
    for process in psutil.process_iter():
        try:
            place = process.environ().get(MARK, "")
            if (place == home or place.startswith(f"{home}/")) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def workers(room: Room) -> list[psutil.Process]:
    """Ray's workers that are training now."""
    return [
        process for process in room.processes() if _shown(process).startswith("ray::") and ".train" in _shown(process)
    ]


def _shown(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:120]
    except psutil.Error:
        return "?"


def _parent(process: psutil.Process) -> str:
    try:
        return str(process.ppid())
    except psutil.Error:
        return "?"
