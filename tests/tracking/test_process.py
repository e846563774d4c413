"""The first run of a process costs no more than it must, and keeps what W&B's launcher was told."""

import os
import subprocess
import sys

import pytest
import wandb

from gaelp_ray.tracking import process
from gaelp_ray.tracking.process import LOOKS_FOR_INPUTS, launcher_left_out

FIRST_RUN = """
import sys, wandb
from gaelp_ray.tracking.process import SERVICE
before = wandb.Run._detect_and_apply_job_inputs
SERVICE.start(lambda: wandb.init(id="one", project="p")).finish()
assert wandb.Run._detect_and_apply_job_inputs is before
print(*(name for name in ("wandb.sdk.launch", "wandb.apis.public") if name in sys.modules))
"""


def looks():
    return vars(wandb.Run)[LOOKS_FOR_INPUTS]


def test_first_run_does_not_import_the_launcher(tmp_path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment = {**kept, "WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "WANDB_SILENT": "true"}
    done = subprocess.run(
        [sys.executable, "-c", FIRST_RUN], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout.split(), done.stderr) == ([], "")
    assert len(list((tmp_path / "wandb").glob("offline-run-*-one"))) == 1


def test_what_was_staged_for_the_launcher_is_looked_for(monkeypatch):
    monkeypatch.delitem(sys.modules, process.LAUNCHER, raising=False)
    given = looks()
    with launcher_left_out():
        assert looks() is not given
    assert looks() is given
    monkeypatch.setitem(sys.modules, process.LAUNCHER, object())
    with launcher_left_out():
        assert looks() is given


def test_it_is_back_after_a_run_that_does_not_start(monkeypatch):
    monkeypatch.delitem(sys.modules, process.LAUNCHER, raising=False)
    given = looks()
    with pytest.raises(OSError, match="full"), launcher_left_out():
        raise OSError("full")
    assert looks() is given


def test_another_wandb_does_as_it_likes(monkeypatch):
    monkeypatch.delattr(wandb.Run, LOOKS_FOR_INPUTS)
    with launcher_left_out():
        assert LOOKS_FOR_INPUTS not in vars(wandb.Run)
    assert LOOKS_FOR_INPUTS not in vars(wandb.Run)
