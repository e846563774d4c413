"""A bucket, machines that share it, and sweeps through the command line."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from reliability.stage import MARK, NAME, ONE_BY_ONE, Driver, Stage
from s3_server.server import BUCKET, StandIn

from gaelp_ray.cli.main import main
from gaelp_ray.sweep.remote.address import Address

STORAGE = f"s3://{BUCKET}/ours"
CLOCKS = ("time", "seconds", "cpu_seconds", "memory")


@pytest.fixture
def server():
    """S3, as a process must find it by itself."""
    with StandIn() as server:
        yield server


@pytest.fixture
def bucket(server, monkeypatch, tmp_path):
    """S3, for this process, on a machine without a working copy."""
    for name, value in {**server.env, "HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return server


@pytest.fixture(scope="session")
def stage():
    """Where sweeps of real processes run; the uninterrupted one that they are compared with runs once."""
    with Stage() as stage:
        yield stage


class Machine:
    """A person's machine: a home of its own, and nothing but the bucket in common with others."""

    def __init__(self, stage: Stage, server: StandIn, name: str) -> None:
        self.home = stage.home / f"{name}-{server.port}"
        shutil.rmtree(self.home, ignore_errors=True)  # a port comes again
        self.home.mkdir()
        self.env = {**stage.env, **server.env, "HOME": str(self.home), MARK: str(self.home)}
        self._commands = 0

    def start(self, *words: str, storage: str = STORAGE) -> Driver:
        """Start a command."""
        self._commands += 1
        return Driver((*words, "--storage", storage), self.env, self.home / f"{self._commands:02d}")

    def run(self, *words: str, code: int = 0, storage: str = STORAGE) -> Driver:
        """Run a command to its end."""
        driver = self.start(*words, storage=storage)
        assert driver.wait() == code, driver.err
        return driver

    def here(self, *words: str, code: int = 0, storage: str = STORAGE) -> tuple[str, str]:
        """Run a command that flies nothing as this machine would, in the test's own process: what it printed."""
        with (
            pytest.MonkeyPatch.context() as patched,
            redirect_stdout(StringIO()) as out,
            redirect_stderr(StringIO()) as err,
        ):
            for name in {name for name in os.environ if name.startswith(("AWS_", "XDG_"))} - self.env.keys():
                patched.delenv(name)
            for name, value in self.env.items():
                patched.setenv(name, value)
            patched.chdir(self.env["PWD"])
            patched.setattr(sys, "path", [self.env["PWD"], *sys.path])
            patched.setattr(sys, "argv", ["gaelp-ray", *words, "--storage", storage])
            with pytest.raises(SystemExit) as ended:
                main()
        assert (ended.value.code or 0) == code, err.getvalue()
        return out.getvalue(), err.getvalue()

    def file(self) -> str:
        """A sweep file; no test here asks for two workers, which cost seconds to start."""
        path = self.home / f"{NAME}.yaml"
        path.write_text(yaml.safe_dump(dict(ONE_BY_ONE)), encoding="utf-8")
        return str(path)

    def working_copy(self, server: StandIn) -> Path:
        """Of the sweep."""
        place = Address.parse(STORAGE).child(NAME)
        return self.home / ".cache/gaelp_ray/storage" / f"{place.bucket}@{server.host.replace(':', '_')}" / place.path


@pytest.fixture
def machine(stage, server):
    """Another machine."""

    def made(name: str) -> Machine:
        return Machine(stage, server, name)

    return made


def numbers(leaderboard: list[Mapping[str, Any]]) -> str:
    """All of a leaderboard that must come out the same."""
    return json.dumps([{k: v for k, v in row.items() if k not in CLOCKS} for row in leaderboard])


@pytest.fixture
def uninterrupted(stage):
    """The leaderboard of the same sweep in a folder, without an interruption."""
    record = json.loads((stage.reference() / "selection.json").read_text(encoding="utf-8"))
    return numbers(record["leaderboard"])
