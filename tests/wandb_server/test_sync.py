"""`wandb sync` brings what was logged without a server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import wandb

from wandb_server import StandIn

pytestmark = pytest.mark.slow


def sync(*words: object) -> str:
    command = [sys.executable, "-m", "wandb", "sync", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def folder(home: Path, pattern: str) -> Path:
    (found,) = (home / "wandb").glob(pattern)
    return found


def test_an_offline_run_and_its_artifact(wandb_server: StandIn, tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text("offline", encoding="utf-8")
    with wandb.init(project="demo", id="off", group="g", mode="offline", config={"lr": 3}) as run:
        for episode in range(5):
            run.log({"roas": episode})
        model = wandb.Artifact("model", type="model")
        model.add_file(str(tmp_path / "model.txt"))
        run.log_artifact(model, aliases=["best"])
    assert wandb_server.requests() == []
    sync(folder(tmp_path, "offline-run-*"))
    seen = wandb_server.run("demo/off")
    assert (seen.state, seen.exit_code, seen.group, seen.config) == ("finished", 0, "g", {"lr": 3})
    assert (seen.steps, seen.summary["roas"]) == ([0, 1, 2, 3, 4], 4)
    assert seen.logged == ["team/demo/model:v0"]
    got = wandb.Api().artifact("demo/model:best").download(root=str(tmp_path / "got"))
    assert (Path(got) / "model.txt").read_text(encoding="utf-8") == "offline"


@pytest.mark.parametrize("arrived", [False, True], ids=["no row arrived", "all rows arrived"])
def test_an_online_run_that_broke_off(
    wandb_server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrived: bool
) -> None:
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "2")
    run = wandb.init(project="demo", id="r1")
    if not arrived:
        wandb_server.wait_for(lambda state: state.operations["filestream"] > 0)  # it has said that it lives
        wandb_server.down()
    for episode in range(6):
        run.log({"roas": episode})
    if arrived:
        wandb_server.wait_for(lambda state: len(state.runs["team/demo/r1"].steps) == 6)
        wandb_server.down()
    run.finish()  # gives up after 2 s
    wandb_server.up()
    left = wandb_server.run("demo/r1")
    assert (left.state, left.steps) == ("running", list(range(6)) if arrived else [])
    where = folder(tmp_path, "run-*")
    sync(where)
    assert wandb_server.run("demo/r1").state == "running"  # online runs have to be asked for
    sync("--include-online", where)
    seen = wandb_server.run("demo/r1")
    assert (seen.state, seen.exit_code) == ("finished", 0)
    assert seen.steps == left.steps + list(range(6))  # what had arrived is sent again, after what is there
    assert [row["_step"] for row in seen.rows] == seen.steps
