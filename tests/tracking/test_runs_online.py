"""Runs on a server that answers, dies, hangs or is busy: rows arrive once, and nobody waits for long."""

import logging
import os
import time
from pathlib import Path

import psutil
import pytest
import wandb
from ray.air.integrations.wandb import setup_wandb
from wandb_server import KEY

from gaelp_ray.tracking import process
from gaelp_ray.tracking.offline import offline_runs, read_run
from gaelp_ray.tracking.process import SERVICE
from gaelp_ray.tracking.runs import Row, RunIdentity, RunLog


@pytest.fixture(autouse=True)
def trusting():
    """A process that no server has let down."""
    yield
    SERVICE.__init__()


def identity(id: str) -> RunIdentity:
    return RunIdentity(id, f"name of {id}", "demo", "g", "trial", "online", tags=("one", "two"), reinit="create_new")


def open_run(id: str) -> RunLog:
    return RunLog.open(setup_wandb, identity(id), {"seed": 3})


def rows(*steps: int) -> list[Row]:
    return [Row(step, 1_600_000_000.0 + step, {"roas": step / 4}) for step in steps]


def held(server, id: str) -> list[tuple[int, float]]:
    return [(row["_step"], row["roas"]) for row in server.run(f"demo/{id}").history]


def expected(*steps: int) -> list[tuple[int, float]]:
    return [(step, step / 4) for step in steps]


def cores() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if child.name() == "wandb-core"]


def test_run_is_whole_on_the_server(wandb_server):
    log = open_run("whole")
    log.catch_up(rows(1, 2))
    log.end("stopped", "by the scheduler at iteration 2")
    run = wandb_server.run("demo/whole")
    assert (run.display_name, run.group, run.job_type, sorted(run.tags)) == (
        "name of whole",
        "g",
        "trial",
        ["one", "two"],
    )
    assert run.config == {"seed": 3}
    assert held(wandb_server, "whole") == expected(1, 2)
    assert [row["_timestamp"] for row in run.history] == [1_600_000_001.0, 1_600_000_002.0]
    assert (run.summary["status"], run.summary["reason"]) == ("stopped", "by the scheduler at iteration 2")
    assert (run.exit_code, run.state) == (0, "finished")


def test_resumed_run_is_not_sent_a_row_twice_and_gets_those_it_lacks(wandb_server):
    log = open_run("resumed")
    log.catch_up(rows(1, 2, 3))
    log.end("failed", "ValueError: once", exit_code=1)
    log = open_run("resumed")
    assert log.next_step == 4
    for row in rows(2, 3):  # a trial that goes on from its last checkpoint flies these again
        log.log(row.values, row.step)
    assert log.catch_up(rows(1, 2, 3, 4, 5)) == 2
    log.log({"roas": 1.5}, step=6)
    log.end("finished")
    run = wandb_server.run("demo/resumed")
    assert held(wandb_server, "resumed") == expected(1, 2, 3, 4, 5, 6)
    assert [row["_step"] for row in run.received] == [1, 2, 3, 4, 5, 6]
    assert (run.summary["status"], run.summary["reason"], run.exit_code) == ("finished", "", 0)


def test_seeds_side_by_side_share_one_helper_process(wandb_server):
    logs = [open_run(f"seed-{number}") for number in range(3)]
    for log in logs:
        log.catch_up(rows(1))
    assert len(cores()) == 1
    for log in logs:
        log.close()
    assert [held(wandb_server, f"seed-{number}") for number in range(3)] == [expected(1)] * 3


@pytest.mark.parametrize("kind", ["down", "hang", "key", "busy"])
def test_server_that_is_away_costs_a_look_and_the_run_goes_on_offline(
    wandb_server, tmp_path, monkeypatch, caplog, kind
):
    log = open_run("before")
    if kind == "down":
        wandb_server.down()
    elif kind == "hang":
        wandb_server.fault("any", "hang", seconds=60)
    elif kind == "busy":
        SERVICE.lost = True  # of a server that has let us down before, trouble is no answer
        wandb_server.fault("graphql", status=500)
    else:
        os.environ["WANDB_API_KEY"] = "f" * 40
    monkeypatch.setattr(process, "INIT_SECONDS", 30.0)
    for id in ("first", "second"):
        started = time.monotonic()
        away = open_run(id)
        assert time.monotonic() - started < 15  # a look, of which there is one at most, and no start of a run
        away.catch_up(rows(1, 2))
        away.end("finished")
    os.environ["WANDB_API_KEY"] = KEY
    wandb_server.clear()
    wandb_server.up()
    log.close()
    wandb.teardown()
    found = {run.id: run for run in offline_runs(tmp_path / "wandb")}
    assert set(found) == {"first", "second"}
    assert [row["_step"] for row in found["second"].history] == [1, 2]
    assert (found["first"].config, found["first"].exit_code) == ({"seed": 3}, 0)
    assert caplog.text.count("going on offline") == 2
    assert KEY not in caplog.text and "f" * 40 not in caplog.text


def test_start_that_fails_midway_goes_on_offline_with_the_same_id(wandb_server, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(process, "INIT_SECONDS", 3.0)
    fault = wandb_server.fault("graphql", status=500, operation="UpsertBucket")
    started = time.monotonic()
    log = open_run("midway")
    assert time.monotonic() - started < 20
    tried = fault.hits
    assert tried > 0
    log.catch_up(rows(1))
    log.close()
    open_run("next").close()  # which does not try the same again
    assert fault.hits == tried
    wandb.teardown()
    whole = [read_run(file.parent) for file in sorted((tmp_path / "wandb").glob("offline-run-*/*.wandb"))]
    assert [(run.id, len(run.history), run.exit_code) for run in whole] == [
        ("midway", 1, 0),
        ("next", 0, 0),
    ]
    assert "CommError" in caplog.text


def test_start_that_fails_does_not_end_the_runs_beside_it(wandb_server, monkeypatch, caplog):
    beside = open_run("beside")
    beside.catch_up(rows(1))
    wandb_server.fault("graphql", status=500, operation="UpsertBucket")
    with monkeypatch.context() as patch:
        patch.setattr(process, "INIT_SECONDS", 1.5)
        without = open_run("without")
    without.catch_up(rows(1, 2))
    wandb_server.clear()
    assert "going on without it" in caplog.text
    without.close()
    beside.catch_up(rows(1, 2))
    beside.close()
    SERVICE.avoided_until = 0.0
    again = open_run("without")  # nothing holds on to its id for ever
    again.catch_up(rows(1, 2))
    again.close()
    assert held(wandb_server, "beside") == held(wandb_server, "without") == expected(1, 2)


def test_ends_of_several_runs_are_waited_for_together(wandb_server, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(process, "FINISH_SECONDS", 5.0)
    logs = [open_run(f"end-{number}") for number in range(4)]
    for log in logs:
        log.catch_up(rows(1, 2))
    wandb_server.fault("any", "hang", seconds=60)
    started = time.monotonic()
    for log in logs:
        log.end("failed", "ValueError: mine", exit_code=1)
    assert 5.0 <= time.monotonic() - started < 15.0  # FINISH_SECONDS once, not four times
    assert caplog.text.count("TimeoutError") == 4
    started = time.monotonic()
    wandb.teardown()
    assert time.monotonic() - started < 20
    local = [read_run(directory) for directory in (tmp_path / "wandb").glob("run-*")]
    assert [(len(run.history), run.summary["status"]) for run in local] == [(2, "failed")] * 4


def test_server_that_came_back_is_trusted_again(wandb_server, monkeypatch):
    log = open_run("lost")
    wandb_server.down()
    with monkeypatch.context() as patch:
        patch.setattr(process, "FINISH_SECONDS", 1.5)
        log.close()
    assert SERVICE.lost
    wandb_server.up()
    open_run("back").close()
    assert not SERVICE.lost


@pytest.mark.parametrize(
    "fault",
    [
        {"where": "filestream", "status": 429, "retry_after": 3, "times": 1},
        {"where": "filestream", "status": 500, "times": 1},
        {"where": "filestream", "kind": "cut", "times": 1},
        {"where": "graphql", "status": 429, "retry_after": 1, "times": 2, "operation": "UpsertBucket"},
    ],
    ids=lambda fault: f"{fault.get('status', fault.get('kind'))}-{fault['where']}",
)
def test_moment_of_trouble_loses_nothing_and_doubles_nothing(wandb_server, fault):
    set_fault = wandb_server.fault(**fault)
    log = open_run("trouble")
    for row in rows(*range(1, 21)):
        started = time.monotonic()
        log.log(row.values, row.step, row.time)
        assert time.monotonic() - started < 2.5  # nobody waits for the server meanwhile
    log.end("finished")
    assert set_fault.hits == fault["times"]
    assert held(wandb_server, "trouble") == expected(*range(1, 21))
    assert wandb_server.run("demo/trouble").state == "finished"


def test_helper_process_that_is_killed_stops_nothing(wandb_server, caplog):
    log = open_run("killed")
    log.catch_up(rows(1))
    for core in cores():
        core.kill()
        core.wait()
    time.sleep(0.2)
    log.catch_up(rows(1, 2))
    log.end("finished")
    assert "W&B: " in caplog.text
    again = open_run("again")
    again.catch_up(rows(1, 2))
    again.close()
    assert held(wandb_server, "again") == expected(1, 2)


def test_key_is_in_no_file_and_no_message(wandb_server, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    log = open_run("secret")
    log.catch_up(rows(1, 2))
    log.end("finished")
    wandb.teardown()
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any(file.suffix == ".wandb" for file in files)
    assert [file for file in files if KEY.encode() in file.read_bytes()] == []
    assert KEY not in "".join([caplog.text, *capfd.readouterr()])
    assert KEY not in Path(f"/proc/{os.getpid()}/cmdline").read_text(encoding="utf-8")
