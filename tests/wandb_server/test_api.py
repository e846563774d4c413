"""`wandb.Api()` finds runs and reads them."""

from __future__ import annotations

from typing import Any

import pytest
import wandb

from wandb_server import StandIn
from wandb_server.runs import upsert
from wandb_server.store import Store

pytestmark = pytest.mark.slow

ROAS = (2.0, 5.0, None, 3.0)


@pytest.fixture
def four(wandb_server: StandIn) -> StandIn:
    """Four runs, of which the third has no ROAS and the last is of another group and failed."""
    for number, roas in enumerate(ROAS):
        group = "a" if number < 3 else "b"
        run = wandb.init(
            project="demo", id=f"r{number}", group=group, config={"n": number, "m": {"k": number}}, tags=[group]
        )
        run.log({"loss": 1.0} if roas is None else {"roas": roas})
        run.finish(exit_code=number // 3)
    return wandb_server


def test_runs_by_filter_and_order(four: StandIn) -> None:
    def found(filters: Any = None, order: str = "+created_at", **paging: int) -> list[str]:
        return [run.id for run in wandb.Api().runs("demo", filters=filters, order=order, **paging)]

    best_first = "-summary_metrics.roas"
    assert found({"group": "a"}) == ["r0", "r1", "r2"]
    assert found({"group": "a"}, best_first) == ["r1", "r0", "r2"]
    assert found(None, best_first, per_page=1) == ["r1", "r3", "r0", "r2"]
    assert found({"summary_metrics.roas": {"$gt": 2.5}}) == ["r1", "r3"]
    assert found({"config.n": 1}) == found({"config.n.value": 1}) == ["r1"]
    assert found({"config.m.k": {"$in": [0, 3]}}) == ["r0", "r3"]
    assert found({"$or": [{"group": "b"}, {"config.n": 0}]}) == ["r0", "r3"]
    assert found({"state": "finished"}) == ["r0", "r1", "r2"]
    assert found({"state": "failed", "tags": "b"}) == ["r3"]
    assert found({"state": "running"}) == []


def test_runs_are_counted_without_being_read(four: StandIn) -> None:
    assert len(wandb.Api().runs("demo", filters={"group": "a"})) == 3


def test_what_a_run_holds(wandb_server: StandIn) -> None:
    with wandb.init(project="demo", id="r1", config={"lr": 0.1}) as run:
        for episode in range(20):
            run.log({"roas": episode, "loss": -episode} if episode % 2 else {"roas": episode})
    read = wandb.Api().run("demo/r1")
    assert (read.state, read.config, read.summary["roas"], read.lastHistoryStep) == ("finished", {"lr": 0.1}, 19, 19)
    assert [row["roas"] for row in read.scan_history()] == list(range(20))
    assert [row["loss"] for row in read.scan_history(keys=["loss"], min_step=5)] == [*range(-5, -20, -2)]
    assert len(read.history(samples=5)) == 5
    assert [row["loss"] for row in read.history(keys=["loss"], pandas=False)] == [*range(-1, -20, -2)]


def test_a_run_that_is_not_there(wandb_server: StandIn) -> None:
    wandb.init(project="demo", id="r1").finish()
    with pytest.raises((wandb.errors.CommError, ValueError), match="r2"):
        wandb.Api().run("demo/r2")


def test_a_run_file_is_downloaded(wandb_server: StandIn, tmp_path: Any) -> None:
    (tmp_path / "notes.txt").write_text("careful", encoding="utf-8")
    with wandb.init(project="demo", id="r1") as run:
        run.save(str(tmp_path / "notes.txt"), base_path=str(tmp_path), policy="now")
    with wandb.Api().run("demo/r1").file("notes.txt").download(root=str(tmp_path / "got")) as file:
        assert file.read() == "careful"


def test_snapshots_do_not_change() -> None:
    store = Store("http://nowhere.invalid", 300.0)
    upsert(store, {"modelName": "demo", "name": "r1"})
    before = store.snapshot()
    upsert(store, {"modelName": "demo", "name": "r1", "tags": ["late"]})
    assert before.runs["team/demo/r1"].tags == []
