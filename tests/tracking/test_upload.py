"""The server gets what it lacks of a run, once, and a server that is away is told in one line."""

import math
import time
from dataclasses import replace

import psutil
import pytest
import wandb
from wandb_server import KEY

from gaelp_ray.errors import TrackingError
from gaelp_ray.tracking import process
from gaelp_ray.tracking.mirror import complete_offline
from gaelp_ray.tracking.process import SERVICE
from gaelp_ray.tracking.records import RunRecord
from gaelp_ray.tracking.runs import Row, RunIdentity
from gaelp_ray.tracking.server import Server
from gaelp_ray.tracking.upload import Uploaded, upload

CONFIG = {"seed": 3, "ppo": {"lr": 0.1, "none": None}, "empty": {}, "lost": math.nan}


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """Nobody waits for rows that do not come, and a process that no server has let down."""
    monkeypatch.setattr("gaelp_ray.tracking.upload.SETTLE_SECONDS", 0.3)
    yield
    SERVICE.__init__()


def rows(*steps: int) -> list[Row]:
    return [Row(step, 1_600_000_000.0 + step, {"roas": step / 4, "lost": math.nan}) for step in steps]


def record(id: str, *steps: int, **changes) -> RunRecord:
    identity = RunIdentity(id, f"name of {id}", "demo", "g", "trial", "online", tags=("one",))
    summary = {"status": "finished", "score": 7.5}
    return replace(RunRecord(identity, CONFIG, rows(*(steps or range(1, 6))), summary, 0), **changes)


def steps_of(server, id: str) -> list[int]:
    return [row["_step"] for row in server.run(f"demo/{id}").history]


def starts(server) -> int:
    return len(server.requests("graphql", "UpsertBucket"))


def test_run_that_the_server_does_not_know_is_made(wandb_server, tmp_path):
    failed = record("b", exit_code=1, summary={"status": "failed", "reason": "ValueError: x"})
    assert list(upload([record("a"), failed])) == [Uploaded("a", 5), Uploaded("b", 5)]
    run = wandb_server.run("demo/a")
    assert (run.display_name, run.group, run.job_type, run.tags) == ("name of a", "g", "trial", ["one"])
    assert [(row["_step"], row["roas"], row["_timestamp"]) for row in run.history] == [
        (row.step, row.values["roas"], row.time) for row in rows(*range(1, 6))
    ]
    assert (run.config["ppo"]["lr"], run.summary["status"], run.summary["score"]) == (0.1, "finished", 7.5)
    assert (run.exit_code, run.state) == (0, "finished")
    other = wandb_server.run("demo/b")
    assert (other.exit_code, other.state, other.summary["reason"]) == (1, "failed", "ValueError: x")
    assert not (tmp_path / "wandb").exists()  # what wandb writes on the way is nobody's business


def test_run_that_is_there_as_recorded_costs_one_question(wandb_server):
    list(upload([record("a"), record("none", rows=[])]))
    before = starts(wandb_server), len(wandb_server.requests())
    assert list(upload([record("a"), record("none", rows=[])])) == [Uploaded("a", 0), Uploaded("none", 0)]
    assert (starts(wandb_server), len(wandb_server.requests())) == (before[0], before[1] + 3)


def test_only_what_is_missing_is_sent(wandb_server):
    list(upload([record("a", 1, 2, 3, exit_code=130, summary={"status": "interrupted", "reason": "Ctrl-C"})]))
    assert list(upload([record("a", 1, 2, 3, 4, 5)])) == [Uploaded("a", 2)]
    run = wandb_server.run("demo/a")
    assert [row["_step"] for row in run.history] == [row["_step"] for row in run.received] == [1, 2, 3, 4, 5]
    assert (run.summary["status"], run.summary["reason"], run.exit_code) == ("finished", "", 0)
    assert run.state == "finished"


@pytest.mark.parametrize(
    "changes",
    [
        {"exit_code": 1},
        {"summary": {"status": "stopped", "reason": "by the scheduler"}},
        {"config": CONFIG | {"seed": 4}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_else_is_wrong_is_mended_without_a_row(wandb_server, changes):
    list(upload([record("a")]))
    assert list(upload([record("a", **changes)])) == [Uploaded("a", 0)]
    run = wandb_server.run("demo/a")
    assert len(run.received) == 5
    wanted = record("a", **changes)
    assert (run.exit_code, run.config["seed"], run.summary["status"]) == (
        wanted.exit_code,
        wanted.config["seed"],
        wanted.summary["status"],
    )


def test_run_of_a_killed_worker_is_ended(wandb_server):
    identity = record("a").identity
    run = wandb.init(id="a", name=identity.name, config=CONFIG, **identity.as_init())
    run.log({"roas": 0.25}, step=1)
    run.log({"roas": 0.5}, step=2)
    wandb_server.wait_for(lambda state: state.runs["team/demo/a"].steps != [])
    assert wandb_server.run("demo/a").state == "running"
    for process_of_it in psutil.Process().children(recursive=True):
        process_of_it.kill()
        process_of_it.wait()
    (uploaded,) = upload([record("a")])
    assert not uploaded.problem and uploaded.rows in (3, 4, 5)
    assert steps_of(wandb_server, "a") == [1, 2, 3, 4, 5]
    assert wandb_server.run("demo/a").state == "finished"


def test_rows_that_cannot_be_mended_are_told_and_the_others_go_on(wandb_server):
    list(upload([record("a", 1, 2, 4, 5), record("b", 1, 2)]))
    told = list(upload([record("a", 1, 2, 3, 4, 5), record("b", 1, 2, 3)]))
    assert told[0].problem == (
        "the server has 4 rows up to step 5 of the 5 rows up to step 5, and can add none before its last"
    )
    assert told[1] == Uploaded("b", 1)


def test_server_that_is_away_is_one_line(wandb_server):
    wandb_server.down()
    with pytest.raises(TrackingError, match="does not answer"):
        next(upload([record("a")]))


def test_server_that_dies_midway_keeps_what_it_got_and_gets_the_rest_later(wandb_server):
    uploads = upload([record("a"), record("b"), record("c")])
    assert next(uploads) == Uploaded("a", 5)
    wandb_server.down()
    started = time.monotonic()
    with pytest.raises(TrackingError, match="does not answer"):
        next(uploads)
    assert time.monotonic() - started < 20
    wandb_server.up()
    assert [one.rows for one in upload([record("a"), record("b"), record("c")])] == [0, 5, 5]


@pytest.mark.parametrize(
    ("where", "operation", "bound"),
    [("graphql", "UpsertBucket", "INIT_SECONDS"), ("filestream", None, "FINISH_SECONDS")],
)
def test_upload_that_fails_is_bounded_and_told(wandb_server, monkeypatch, where, operation, bound):
    wandb_server.fault(where, "hang", seconds=60, operation=operation)
    started = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(process, bound, 1.5)
        (uploaded,) = upload([record("a")])
    assert time.monotonic() - started < 20
    assert "CommError" in uploaded.problem or "TimeoutError" in uploaded.problem
    wandb_server.clear()
    (again,) = upload([record("a")])
    assert not again.problem
    assert steps_of(wandb_server, "a") == [1, 2, 3, 4, 5]


def test_too_many_requests_are_waited_for(wandb_server):
    fault = wandb_server.fault("any", status=429, retry_after=1.5, times=2)
    assert list(upload([record("a")])) == [Uploaded("a", 5)]
    assert fault.hits == 2
    assert steps_of(wandb_server, "a") == [1, 2, 3, 4, 5]


def test_bad_key_is_one_line_without_it(wandb_server, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    with pytest.raises(TrackingError, match="refuses the W&B key") as refused:
        next(upload([record("a")]))
    assert "f" * 40 not in str(refused.value)
    monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(TrackingError, match="no W&B key is set"):
        next(upload([record("a")]))


def test_offline_directories_of_what_was_uploaded_are_marked(wandb_server, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")  # what a sweep's processes had
    home = tmp_path / "wandb"
    complete_offline([record("a"), record("b")], home)
    assert list(upload([record("a")], home)) == [Uploaded("a", 5)]
    marked = [file.name for file in home.rglob("*.synced")]
    assert marked == ["run-a.wandb.synced"]


def test_no_helper_process_and_no_key_is_left_behind(wandb_server, tmp_path, caplog):
    list(upload([record("a")]))
    children = psutil.Process().children(recursive=True)
    assert [child.name() for child in children if child.name() == "wandb-core"] == []
    assert [file for file in tmp_path.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()] == []
    assert KEY not in caplog.text
    assert KEY not in repr(Server.configured())
