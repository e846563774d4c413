"""What a Ray session of our own tells its workers: settings, and no secret."""

import os
import shutil
import time
from pathlib import Path

import pytest
import ray
from reliability.stage import short_folder

from gaelp_ray.sweep.planning.machine import machine
from gaelp_ray.sweep.session import ray_session, session_cpus
from gaelp_ray.tracking.modes import TrackingMode, environment

pytestmark = pytest.mark.slow

KEY = "5ec2e7" * 6 + "5ec2"


@ray.remote
def told() -> tuple[str, str | None, str | None]:
    """Of a worker: its runtime_env, its W&B mode and its key."""
    described = ray.get_runtime_context().get_runtime_env_string()
    return described, os.environ.get("WANDB_MODE"), os.environ.get("WANDB_API_KEY")


@pytest.fixture
def short():
    """A folder whose path is short enough for Ray's sockets."""
    folder = short_folder("gr-")
    yield folder
    shutil.rmtree(folder)


@ray.remote(max_retries=1)
def dies_once(folder: Path) -> str:
    """Takes its worker with it, the first time."""
    if not (folder / "died").exists():
        (folder / "died").touch()
        os._exit(1)
    return "lives"


def test_what_ray_says_of_another_attempt_is_not_among_results(tmp_path, capsys):
    with ray_session({}):
        assert ray.get(dies_once.remote(tmp_path)) == "lives"
        said = ""
        deadline = time.monotonic() + 20
        while "dies_once failed" not in said and time.monotonic() < deadline:
            printed = capsys.readouterr()
            said += printed.err
            assert printed.out == ""
            time.sleep(0.1)
    assert "dies_once failed" in said
    assert capsys.readouterr().out == ""


def test_a_session_has_the_cores_that_a_sweep_is_planned_with():
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    try:
        with ray_session({}):
            assert session_cpus() == machine().cpus == 1
    finally:
        os.sched_setaffinity(0, mine)


def test_workers_have_the_key_and_no_runtime_env_has_it(short, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    with ray_session(environment(TrackingMode("online", "a key is set"), tmp_path / "sweep")):
        described, mode, key = ray.get(told.remote())
        own = ray.get_runtime_context().get_runtime_env_string()
    assert (mode, key) == ("online", KEY)
    assert "WANDB_MODE" in described and "WANDB_MODE" in own
    assert KEY not in described + own
    logs = [file for file in short.rglob("*") if file.is_file()]
    assert any(file.name == "runtime_env_agent.log" for file in logs)
    assert [file for file in logs if KEY.encode() in file.read_bytes()] == []
