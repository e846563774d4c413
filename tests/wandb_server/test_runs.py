"""A run of the real client arrives whole, ends as it ended, and goes on where it stopped."""

from __future__ import annotations

from typing import Literal

import pytest
import wandb

from wandb_server import StandIn
from wandb_server.runs import upsert
from wandb_server.store import Store


def test_everything_of_a_run_arrives(wandb_server: StandIn) -> None:
    config = {"lr": 0.1, "market": {"cap": 3}}
    with wandb.init(
        project="demo", id="r1", name="one", group="g", job_type="trial", tags=["a", "b"], config=config
    ) as run:
        for episode in range(10):
            run.log({"roas": episode / 10})
        run.summary["note"] = "done"
        run.config.update({"later": 1})
    seen = wandb_server.run("demo/r1")
    assert (seen.display_name, seen.group, seen.job_type, seen.tags) == ("one", "g", "trial", ["a", "b"])
    assert seen.config == {**config, "later": 1}
    assert [(row["_step"], row["roas"]) for row in seen.rows] == [(n, n / 10) for n in range(10)]
    assert seen.steps == list(range(10))
    assert (seen.summary["roas"], seen.summary["note"]) == (0.9, "done")
    assert (seen.state, seen.exit_code) == ("finished", 0)
    assert wandb_server.state().operations["UpsertBucket"] >= 1


def test_a_run_that_has_not_ended_is_running_and_shows_its_rows(wandb_server: StandIn) -> None:
    run = wandb.init(project="demo", id="r1")
    for episode in range(3):
        run.log({"roas": episode})
    arrived = wandb_server.wait_for(lambda state: state.runs["team/demo/r1"].steps == [0, 1, 2])
    assert arrived.runs["team/demo/r1"].state == "running"


def test_an_exit_code_makes_a_run_failed(wandb_server: StandIn) -> None:
    run = wandb.init(project="demo", id="bad")
    run.log({"roas": 1.0})
    run.finish(exit_code=7)
    seen = wandb_server.run("demo/bad")
    assert (seen.state, seen.exit_code, seen.steps) == ("failed", 7, [0])


def test_a_resumed_run_goes_on_after_its_last_step(wandb_server: StandIn) -> None:
    started = []
    choices: list[Literal["allow", "must"]] = ["allow", "allow", "must"]
    for part, resume in enumerate(choices):
        with wandb.init(project="demo", id="same", resume=resume, config={"part": part}) as run:
            started.append((run.resumed, run.starting_step, run.summary.get("roas")))
            for episode in range(3):
                run.log({"roas": 10 * part + episode})
    assert started == [(False, 0, None), (True, 3, 2), (True, 6, 12)]
    seen = wandb_server.run("demo/same")
    assert seen.steps == [row["_step"] for row in seen.rows] == list(range(9))
    assert seen.config == {"part": 2}


def test_a_run_that_is_there_is_not_started_anew(wandb_server: StandIn) -> None:
    wandb.init(project="demo", id="same").finish()
    with pytest.raises(wandb.errors.UsageError, match="already exists"):
        wandb.init(project="demo", id="same", resume="never")
    with pytest.raises(wandb.errors.UsageError, match="not"):
        wandb.init(project="demo", id="other", resume="must")


def test_an_alert_arrives(wandb_server: StandIn) -> None:
    with wandb.init(project="demo", id="r1") as run:
        run.alert("ROAS fell", "below 1.0", level="WARN")
    (alert,) = wandb_server.run("demo/r1").alerts
    assert (alert.title, alert.text, alert.level) == ("ROAS fell", "below 1.0", "WARN")


@pytest.mark.parametrize(("patience", "state"), [(300.0, "running"), (0.0, "crashed")])
def test_a_run_without_heartbeats_has_crashed(patience: float, state: str) -> None:
    store = Store("http://nowhere.invalid", crashed_after=patience)
    upsert(store, {"modelName": "demo", "name": "r1"})
    assert store.snapshot().runs["team/demo/r1"].state == state
