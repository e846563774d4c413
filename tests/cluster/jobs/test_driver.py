"""The job's process: real, but that the machine is this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from far_head import until

DRIVER = [sys.executable, "-m", "gaelp_ray.cluster.jobs.driver"]


@pytest.fixture
def drive(tmp_path, storage, monkeypatch):
    """Starts a job's process on the sweep `small` of `storage`."""
    home = tmp_path / "home-of-head"
    home.mkdir()

    def start(*command):
        words = [*DRIVER, "--job", "small-1", "--sweep", "small", "--storage", str(storage), "--", *command]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(words, env={**os.environ, "HOME": str(home)}, cwd=tmp_path, **pipes)

    start.packed = home / ".gaelp/jobs/small-1.tar"
    return start


def test_the_exit_code_is_the_commands_and_the_results_are_packed_after_a_failure_too(drive, storage):
    selection = {"winner": None, "leaderboard": [], "reason": "nobody took part"}
    (storage / "small/selection.json").write_text(json.dumps(selection))
    job = drive("resume", "small", "--storage", str(storage))
    said, _ = job.communicate(timeout=60)
    assert job.returncode == 1, said
    assert drive.packed.is_file()


def test_sigterm_ends_the_command_and_not_the_packing(drive, storage, tmp_path):
    """As Ray stops a job: a signal for each of its processes."""
    slow = tmp_path / "slow.py"
    slow.write_text("import time\nprint('begun', flush=True)\ntime.sleep(60)\n")
    code = (
        "import sys; from gaelp_ray.cluster.jobs import driver; "
        f"driver.sys.executable = {str(tmp_path / 'python')!r}; sys.exit(driver.main())"
    )
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!/bin/sh\nexec {sys.executable} {slow}\n")
    stand_in.chmod(0o755)
    words = ["--job", "small-1", "--sweep", "small", "--storage", str(storage), "--", "sweep"]
    environment = {**os.environ, "HOME": str(drive.packed.parents[2])}
    job = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert job.stdout.readline() == "begun\n"
    from psutil import Process

    [sweep] = Process(job.pid).children()
    os.kill(job.pid, signal.SIGTERM)
    os.kill(sweep.pid, signal.SIGTERM)
    assert job.wait(30) == 128 + signal.SIGTERM
    assert "the sweep's process was ended by SIGTERM" in job.stdout.read()
    until(drive.packed.is_file)
