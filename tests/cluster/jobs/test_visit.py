"""A sweep through Ray Client: what runs on the head, without Ray; all of it on a real head, from another process."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import yaml
from far_head import SWEEP, until
from own_ray import free_ports, kill_all

from gaelp_ray.cluster.jobs import visit
from gaelp_ray.cluster.jobs.visit import LOST, Guide, Visit, ctrl_c
from gaelp_ray.errors import ClusterError

FINISHED = ("--job", "small-1", "--sweep", "small")


def package(**files: str) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return written.getvalue()


def jobs(home: Path) -> list[str]:
    return sorted(path.name for path in (home / ".gaelp/jobs").iterdir())


def test_the_driver_runs_in_the_files_that_were_sent_and_leaves_results_alone(desk, storage):
    words = (*FINISHED, "--storage", str(storage), "--", "resume", "small", "--storage", str(storage))
    guide = Guide("small-1", package(note="here"), words)
    until(lambda: guide.look(0)[1] is not None)
    text, code = guide.look(0)
    assert code == 0 and b"small has finished: nothing is left to do" in text
    assert guide.look(10)[0] == text[10:]
    with tarfile.open(fileobj=io.BytesIO(guide.results())) as archive:
        assert "best/model.json" in archive.getnames()
    assert jobs(desk.home) == ["small-1.tar"]
    guide.stop()  # nothing is there any more


@pytest.fixture
def serving(desk, monkeypatch):
    """A driver that runs until it is told to end; a web server in the place of ours."""
    monkeypatch.setattr(visit, "DRIVER", "http.server")
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    guide = Guide("long-1", package(note="here"), ("--bind", "127.0.0.1", "0"))
    until(lambda: b"Serving" in guide.look(0)[0])
    yield guide
    guide.stop()


def groups_below() -> set[int]:
    """Of all processes that this one has started, directly or not."""
    found = set()
    for child in psutil.Process().children(recursive=True):
        with suppress(ProcessLookupError):
            found.add(os.getpgid(child.pid))
    return found


def test_it_is_no_child_of_who_started_it_and_ends_when_it_is_told_to(desk, serving):
    assert serving._group not in groups_below()
    assert (desk.home / ".gaelp/jobs/long-1.files/note").read_text() == "here"
    assert serving.look(0)[1] is None
    serving.stop()
    until(lambda: serving.look(0)[1] is not None)
    assert serving.look(0)[1] == 128 + signal.SIGTERM
    assert serving.results() is None
    assert jobs(desk.home) == []


def test_a_driver_that_was_killed_has_an_exit_code_too(serving):
    os.killpg(serving._group, signal.SIGKILL)
    until(lambda: serving.look(0)[1] is not None)
    assert serving.look(0)[1] == LOST


class Leaving:
    """Somebody presses Ctrl-C while its end is told to the head: Python drops what is raised there."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_is_heard_in_the_middle_of_ray_client(monkeypatch):
    asked = []

    def ask(*words):
        if not asked:
            Leaving()
        asked.append(words)
        return b"", None

    stranger = Visit("ray://127.0.0.1:1")
    monkeypatch.setattr(stranger, "_guide", SimpleNamespace(look=None))
    monkeypatch.setattr(stranger, "_ask", ask)
    with ctrl_c() as told:
        assert stranger.follow(len, told) is None
        assert len(asked) == 1
        with pytest.raises(KeyboardInterrupt):  # the next one before that was looked at
            signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def connecting(monkeypatch, *raised):
    """A visit whose connections raise these, then nothing."""
    left = list(raised)

    def init(*_, **__):
        if left:
            raise ConnectionAbortedError(left.pop(0))

    monkeypatch.setattr(visit, "cluster_at", lambda _: None)
    monkeypatch.setattr(visit.ray, "init", init)
    monkeypatch.setattr(visit.ray, "shutdown", lambda: None)
    return Visit("ray://h:1")


STILLBORN = "Initialization failure from server:\nRuntimeError: Starting Ray client server failed. See x"


def test_a_server_that_died_at_its_birth_is_asked_for_again(monkeypatch):
    with connecting(monkeypatch, *3 * [STILLBORN]) as connected:
        assert connected.address == "ray://h:1"


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        (5 * [STILLBORN], "RuntimeError: Starting Ray client server failed. See x"),
        (["Initialization failure from server:\nit is full"], "it is full"),
    ],
)
def test_where_trying_again_does_not_help_it_is_one_line(raised, line, monkeypatch):
    with pytest.raises(ClusterError) as told, connecting(monkeypatch, *raised):
        pass
    assert str(told.value) == f"ray://h:1: Ray does not connect: {line}"


START = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--num-cpus=2", "--block"]
START += ["--include-dashboard=false", "--object-store-memory=83886080"]
LONG = ("--set", "trial.num_episodes=200000")


@dataclass
class Outside:
    """A machine that is no node: a folder, an environment, and the head's address. `base` is what both machines see."""

    base: Path
    env: dict[str, str]
    address: str = ""

    def start(self, *words: str) -> subprocess.Popen[str]:
        """The sweep, from here."""
        storage = ("--storage", str(self.base / "results"))
        command = [sys.executable, "-m", "gaelp_ray", "sweep", "small.yaml", "--address", self.address, *storage]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [*command, *words], cwd=self.base / "work", env=self.env, stdout=pipe, stderr=pipe, text=True
        )

    def record(self, name: str) -> Path:
        """Of a trial, which has one once it flies."""
        return self.base / "results" / name / "trials" / f"{name}-00/record.jsonl"


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    pytest.importorskip("grpc", reason="Ray Client needs grpcio", exc_type=ImportError)
    base = Path(tempfile.mkdtemp(prefix="gr-visit-"))
    for name in ("home", "work"):
        (base / name).mkdir()
    (base / "work/small.yaml").write_text(yaml.safe_dump(SWEEP | {"select": {"episodes": 256}}), encoding="utf-8")
    env = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "WANDB_API_KEY")}
    env |= {"HOME": str(base / "home"), "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
    env |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    env |= {"GRPC_ENABLE_FORK_SUPPORT": "0"}  # as the guide advises
    port, client = free_ports(2)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*START, f"--port={port}", f"--ray-client-server-port={client}"], env=env, **quiet) as head:
        until(lambda: socket.socket().connect_ex(("127.0.0.1", client)) == 0, 200)
        yield Outside(base, env, f"ray://127.0.0.1:{client}")
        kill_all(head)
    shutil.rmtree(base)


@pytest.mark.slow
def test_a_sweep_from_outside_brings_back_what_it_has_come_to(outside):
    out, err = (process := outside.start("--json")).communicate()
    assert process.returncode == 0, err
    record = json.loads(out)
    brought = outside.base / "work/submitted/small"
    assert record["leaderboard"] and json.loads((brought / "selection.json").read_text()) == record
    assert (brought / "best/model.npz").read_bytes() == (outside.base / "results/small/best/model.npz").read_bytes()
    assert "[3/3] small-" in err and f"the whole sweep lies in {outside.base / 'results'}" in err
    again = outside.start("--json")
    out, err = again.communicate()
    assert again.returncode == 2 and "the sweep 'small' exists already" in err
    assert out == ""  # and not what was brought before


@pytest.mark.slow
def test_ctrl_c_ends_it_there_so_that_it_can_go_on(outside):
    process = outside.start("--name", "ended", *LONG)
    until(outside.record("ended").is_file, 200)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130, err
    assert "Go on with `gaelp-ray resume" in out
    assert (outside.base / "work/submitted/ended/journal.jsonl").is_file()


@pytest.mark.slow
def test_it_goes_on_when_nobody_is_connected_any_more(outside):
    process = outside.start("--name", "alone")
    until((outside.base / "results/alone/journal.jsonl").is_file, 200)
    process.kill()
    process.communicate()
    until((outside.base / "results/alone/best/model.npz").is_file, 300)
    until(lambda: list((outside.base / "home/.gaelp/jobs").glob("alone-*.code")), 100)
    (code,) = (outside.base / "home/.gaelp/jobs").glob("alone-*.code")
    assert code.read_text() == "0\n"
