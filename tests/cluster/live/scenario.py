"""What a person does with machines of one's own, from `prepare` to `ray down`: a laptop and three SSH hosts.

It is played once; what came of it is asserted in test_live.py. All is real but three things. The hosts are namespaces
of one machine. The folder that all share is a folder of it, and not NFS. Only the head installs: the workers'
~/.gaelp/venv is the head's, in which install.sh finds what it would have installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml
from cluster.live.sky import Sky, holders, of_ray
from reliability.stage import KEYS, NAME, Missed, until
from reliability.traces import rows_of
from ssh_hosts.hosts import HEAD, LAPTOP, ROOT, WORKERS, SshHosts

from gaelp_ray.cluster.prepare import SOURCES

KEY = "5e1f-a-sentinel-and-no-key-0b7a"
"""In the place of W&B's. Nothing is sent: there is no internet, and the mode is offline."""

LOST = WORKERS[-1]
"""The worker that is killed."""

SECONDS = 500.0
"""For a step, and for what is waited for; on two idle cores none takes a fifth of it."""

ALIVE = f"""
import ray, time
ray.init("auto", logging_level="ERROR", log_to_driver=False)
end = time.monotonic() + {SECONDS}
while sum(node["Alive"] for node in ray.nodes()) < 3 and time.monotonic() < end:
    time.sleep(0.2)
print(*sorted(node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]))
"""

SWEEP = {**KEYS, "run_cap": 5, "resources": {"cpu": max(1, (os.cpu_count() or 1) // 2)}}
"""Six trials: two for each host, whatever this machine has, which each host takes for its own."""

PACE = 0.2
"""Seconds of a flight. A trial is 88 of them: long enough that no host has ended its trials before all have theirs."""


class Unprepared(Exception):
    """`prepare --wheels` has failed: there is no package index here."""


@dataclass(frozen=True)
class Step:
    """How a command has ended, and what it said on both of its outputs."""

    code: int
    text: str


class Story:
    """The machines, and what has become of them.

    steps: by name, of those that were come to; broken: why there are no more of them. left: commands of Ray that still
    run on any host at the end. secrets: (whose, file, mode) of each file anywhere that has one in it.
    """

    def __init__(self, base: Path) -> None:
        self.base, self.shared = base, base / "shared"
        for folder in (self.shared, base / "said"):
            folder.mkdir()
        self.hosts = SshHosts(base, {"/mnt": self.shared, "/root/.head": base / HEAD / "root/.gaelp"})
        self.sky = Sky(self.hosts)
        self.home = self.hosts.disk(LAPTOP, "/root")
        self.clone, self.project = self.home / "gaelp", self.home / "mine"
        self.steps: dict[str, Step] = {}
        self.broken = ""
        self.left: list[str] = []
        self.secrets: list[tuple[str, str, str]] = []

    def step(self, name: str) -> Step:
        """A step, which was come to."""
        assert name in self.steps, self.broken or f"no step {name}"
        return self.steps[name]

    def prepare(self) -> None:
        """A clone on the laptop, with what nodes are sent, and a folder of one's own. Raises Unprepared."""
        for folder in (self.clone, self.project):
            folder.mkdir()
        for name in (*SOURCES, "constraints.txt", "deploy"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, self.clone / name)
        (self.clone / "mine.yaml").write_text(self._filled_in(), encoding="utf-8")
        shutil.copy(ROOT / "benchmarks/reliability/shop.py", self.project)
        (self.project / f"{NAME}.yaml").write_text(yaml.safe_dump(SWEEP), encoding="utf-8")
        # Not on the laptop, which sees no index; but in its home, with the settings that pip has here.
        person = Path.home()
        places = (f"HOME={self.home}", f"XDG_CONFIG_HOME={person}/.config", f"XDG_CACHE_HOME={person}/.cache")
        words = [sys.executable, "-m", "gaelp_ray", "cluster", "prepare", "--wheels"]
        done = self.run("prepare", ["env", "-C", str(self.clone), *places, *words])
        if done.code:
            raise Unprepared(done.text.strip())
        with (self.home / ".gaelp.env").open("a", encoding="utf-8") as file:
            file.write(f"WANDB_API_KEY={KEY}\nWANDB_MODE=offline\nSHOP_PACE={PACE}\n")
        self._furnish()

    def _furnish(self) -> None:
        """Hosts to which one installation is enough."""
        for host in (HEAD, *WORKERS):
            self.hosts.disk(host, "/root/.gaelp").mkdir()
            if host != HEAD:
                self.hosts.disk(host, "/root/.gaelp/venv").symlink_to("/root/.head/venv")

    def _filled_in(self) -> str:
        text = (ROOT / "cluster.yaml").read_text(encoding="utf-8")
        head, *workers = self.hosts.addresses.values()
        for old, new in {
            "head_ip: CHANGE-ME": f"head_ip: {head}",
            "[CHANGE-ME, CHANGE-ME]": f"[{', '.join(workers)}]",
            "ssh_user: CHANGE-ME": "ssh_user: root",
            "install.sh python3": f"install.sh {os.path.realpath(sys.executable)}",  # that of the wheels
        }.items():
            assert old in text, old
            text = text.replace(old, new)
        return text

    def play(self) -> None:
        """All of the story, in a machine's time."""
        with self.hosts, self.sky:
            try:
                self._up()
                self._sweep("refused", "/root/results")
                self._sweep("whole", "/mnt/whole")
                self._model()
                self._sweep("lost", "/mnt/lost", self._kill_one)
            except (Missed, subprocess.TimeoutExpired) as error:
                self.broken = str(error)
            self._search(self.hosts.memories())
            self._down()
        self._search([self.base])

    def _up(self) -> None:
        """Head and workers, each with a raylet, and all of them in the cluster."""
        self.run("check", self._here("gaelp-ray", "cluster", "check", "mine.yaml", "--ssh", "--storage", "/mnt/whole"))
        if self.run("up", self._here("ray", "up", "-y", "mine.yaml")).code:
            raise Missed(f"ray up has failed: {self.steps['up'].text[-2000:]}")
        begun = time.monotonic()
        script = f"RAY_AUTH_MODE=token ~/.gaelp/venv/bin/python -c '{ALIVE}'"
        self.run("alive", self.hosts.ssh(HEAD, script))
        print(f"workers: {time.monotonic() - begun:.1f} s after the head", flush=True)

    def _sweep(self, name: str, storage: str, meanwhile: Callable[[], None] | None = None) -> None:
        """The sweep, as a step of that name."""
        words = ("submit", f"{NAME}.yaml", "--cluster", "../gaelp/mine.yaml", "--storage", storage)
        self.run(name, self._here("gaelp-ray", *words, folder="/root/mine"), meanwhile)

    def _kill_one(self) -> None:
        """A worker, once a trial on it has a recorded iteration to lose."""
        folder = self.shared / "lost" / NAME

        def flown() -> bool:
            return any(rows_of(folder, trial) for trial in self.sky.on("lost", LOST))

        until(flown, f"a trial on {LOST}", SECONDS)
        self.hosts.kill(LOST)

    def _model(self) -> None:
        best = ("gaelp-ray", "best", NAME, "--storage", "/mnt/whole", "-o", "model")
        self.run("best", self._here(*best, folder="/root/mine"))
        evaluate = ("gaelp-ray", "evaluate", "model", "--episodes", "64", "--json")
        self.run("evaluate", self._here(*evaluate, folder="/root/mine"))

    def _down(self) -> None:
        self.run("down", self._here("gaelp-ray", "cluster", "down", "mine.yaml"))
        try:
            until(lambda: not self._rays(), "the end of Ray", 150)
        except Missed:
            self.left = [f"{host}: {command}" for host, command in self._rays()]

    def _rays(self) -> list[tuple[str, str]]:
        """(host, command) of Ray's processes on the hosts."""
        found = ((each.machine, each.command) for each in self.hosts.processes() if each.machine != LAPTOP)
        return [(host, command) for host, command in found if of_ray(command)]

    def _search(self, folders: list[Path]) -> None:
        token = (self.home / ".ray/auth_token").read_text(encoding="utf-8").strip()
        self.secrets += holders(folders, {"W&B's key": KEY, "Ray's token": token})

    def run(self, name: str, words: list[str], meanwhile: Callable[[], None] | None = None) -> Step:
        """Run a command to its end, as a step, and do something else meanwhile."""
        log, begun = self.base / "said" / name, time.monotonic()
        with log.open("wb") as file:  # no pipe: ssh leaves a master behind, which would keep it open
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
        try:
            if meanwhile:
                meanwhile()
            process.wait(SECONDS)
        finally:
            process.kill()
            self.steps[name] = Step(process.wait(), log.read_text(encoding="utf-8", errors="replace"))
            print(f"{name}: {time.monotonic() - begun:.1f} s, exit code {self.steps[name].code}", flush=True)
        return self.steps[name]

    def _here(self, *words: str, folder: str = "/root/gaelp") -> list[str]:
        """On the laptop, in the clone or in another folder."""
        return self.hosts.words(*words, folder=folder, env={"RAY_USAGE_STATS_ENABLED": "0"})
