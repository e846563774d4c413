"""Faults reach the real client, which gets over those that end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import wandb
from wandb.errors import CommError

from wandb_server import StandIn

pytestmark = pytest.mark.slow


def one_row() -> None:
    with wandb.init(project="demo", id="r1") as run:
        run.log({"roas": 1.0})


@pytest.mark.parametrize(
    ("kind", "details", "seen"),
    [
        ("status", {"status": 503}, 503),
        ("cut", {}, None),
        ("hang", {"seconds": 0.2}, None),
        ("slow", {"seconds": 0.5}, 200),
    ],
)
def test_a_run_gets_over_a_fault(
    wandb_server: StandIn, monkeypatch: pytest.MonkeyPatch, kind: Any, details: dict[str, Any], seen: int | None
) -> None:
    monkeypatch.setenv("WANDB__FILE_STREAM_RETRY_WAIT_MIN_SECONDS", "1")
    fault = wandb_server.fault("filestream", kind, times=1, **details)
    one_row()
    first, *later = wandb_server.requests("filestream")
    assert (first.status, fault.hits) == (seen, 1)
    assert {one.status for one in later} == {200}
    if kind == "slow":
        assert later[0].at - first.at >= 0.5
    assert (wandb_server.run("demo/r1").steps, wandb_server.run("demo/r1").state) == ([0], "finished")


@pytest.mark.parametrize(("where", "operation"), [("graphql", "UpsertBucket"), ("filestream", "filestream")])
def test_the_client_waits_as_long_as_retry_after_says(wandb_server: StandIn, where: Any, operation: str) -> None:
    wandb_server.fault(where, status=429, retry_after=3, times=1)
    one_row()
    refused, again, *_ = wandb_server.requests(where, operation)
    assert (refused.status, again.status) == (429, 200)
    assert 2.9 <= again.at - refused.at < 15
    assert wandb_server.run("demo/r1").state == "finished"


def test_a_run_survives_a_short_outage(wandb_server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "60")
    run = wandb.init(project="demo", id="r1")
    for episode in range(12):
        if episode == 4:
            wandb_server.wait_for(lambda state: state.runs["team/demo/r1"].steps != [])
            wandb_server.down()
        run.log({"roas": episode})
        time.sleep(0.2)
    wandb_server.up()
    run.finish()
    assert wandb_server.run("demo/r1").steps == list(range(12))
    assert wandb_server.run("demo/r1").state == "finished"


def test_an_artifact_whose_bytes_do_not_arrive_stays_pending(
    wandb_server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "2")
    fault = wandb_server.fault("storage", operation="PUT storage")
    (tmp_path / "model.txt").write_text("lost", encoding="utf-8")
    with wandb.init(project="demo", id="r1") as run:
        model = wandb.Artifact("model", type="model")
        model.add_file(str(tmp_path / "model.txt"))
        run.log_artifact(model, aliases=["best"])
        wandb_server.wait_for(lambda _: fault.hits > 0)
    left = wandb_server.state().artifacts["team/demo/model:v0"]
    assert (left.state, left.aliases) == ("PENDING", [])
    wandb_server.clear()
    assert not wandb.Api().artifact_exists("demo/model:best")


@pytest.mark.parametrize("how", ["down", "hang"])
def test_init_gives_up_without_a_server(wandb_server: StandIn, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "2")
    if how == "down":
        wandb_server.down()
    else:
        wandb_server.fault("graphql", "hang")
    began = time.monotonic()
    with pytest.raises(CommError, match="Timed out"):
        wandb.init(project="demo", id="r1")
    assert 1.9 < time.monotonic() - began < 20
