"""One run of the real client: what is logged, how it ends, and that W&B never stops a training."""

import logging
from types import SimpleNamespace

import pytest
import wandb
from no_account import no_account

from gaelp_ray.tracking.offline import OfflineRun, offline_runs
from gaelp_ray.tracking.runs import Row, RunIdentity, RunLog


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory):
    """Everything of W&B in one folder, without a server."""
    home = tmp_path_factory.mktemp("runs")
    with no_account(home, WANDB_DIR=home, WANDB_MODE="offline", WANDB_BASE_URL="http://127.0.0.1:9"):
        yield home


def identity(id: str, mode: str = "offline") -> RunIdentity:
    return RunIdentity(
        id=id, name=f"name of {id}", project="p", group="g", job_type="trial", mode=mode, tags=("one", "two")
    )


def start(trial_id: str, trial_name: str, **keywords):
    """wandb.init as Ray's setup_wandb calls it."""
    return wandb.init(id=trial_id, name=trial_name, **keywords)


def never(**_):
    raise AssertionError("W&B was asked")


def read(home, id: str) -> OfflineRun:
    wandb.teardown()  # finish() returns a moment before the file is whole; this waits for the writer
    (run,) = [run for run in offline_runs(home / "wandb") if run.id == id]
    return run


def test_run_of_a_trial_is_whole(offline):
    log = RunLog.open(start, identity("whole"), {"learning_rate": 0.1, "ppo": {"epochs": 2}})
    log.log({"performance/roas": 1.5}, step=1)
    log.log({"performance/roas": 2.5}, step=2)
    log.summarise({"score": 7.0})
    log.close()
    run = read(offline, "whole")
    assert (run.name, run.project, run.group, run.job_type) == ("name of whole", "p", "g", "trial")
    assert sorted(run.tags) == ["one", "two"]
    assert run.config == {"learning_rate": 0.1, "ppo": {"epochs": 2}}
    assert [(row["_step"], row["performance/roas"]) for row in run.history] == [(1, 1.5), (2, 2.5)]
    assert (run.summary["score"], run.exit_code) == (7.0, 0)


def test_failure_is_written_and_goes_on(offline):
    log = RunLog.open(start, identity("failure"), {})
    with pytest.raises(ValueError, match="the first line"), log.closing_on_failure():
        log.log({"roas": 1.0}, step=1)
        raise ValueError("the first line\nthe second")
    run = read(offline, "failure")
    assert run.exit_code == 1
    assert (run.summary["status"], run.summary["reason"]) == ("failed", "ValueError: the first line")
    assert len(run.history) == 1


def test_block_without_failure_leaves_the_run_open(offline):
    log = RunLog.open(start, identity("open"), {})
    with log.closing_on_failure():
        log.log({"roas": 1.0}, step=1)
    log.log({"roas": 2.0}, step=2)
    log.close()
    run = read(offline, "open")
    assert (len(run.history), run.exit_code) == (2, 0)
    assert "status" not in run.summary


def test_interrupted_run_ends_with_its_exit_code_and_ends_once(offline):
    log = RunLog.open(start, identity("interrupted"), {})
    log.close(exit_code=130)
    log.close()
    assert read(offline, "interrupted").exit_code == 130


def test_end_is_told_with_its_reason(offline):
    log = RunLog.open(start, identity("told"), {})
    log.end("stopped", "by the scheduler at iteration 3")
    run = read(offline, "told")
    assert (run.summary["status"], run.summary["reason"]) == ("stopped", "by the scheduler at iteration 3")
    assert run.exit_code == 0


def test_ctrl_c_is_an_interruption_and_no_failure(offline):
    log = RunLog.open(start, identity("ctrl-c"), {})
    with pytest.raises(KeyboardInterrupt), log.closing_on_failure():
        raise KeyboardInterrupt
    run = read(offline, "ctrl-c")
    assert (run.summary["status"], run.exit_code) == ("interrupted", 130)


def test_row_keeps_its_own_time(offline):
    log = RunLog.open(start, identity("time"), {})
    log.log({"roas": 1.0}, step=1, at=1_600_000_000.5)
    log.close()
    assert read(offline, "time").history[0]["_timestamp"] == 1_600_000_000.5


def test_rows_of_one_step_become_one_and_an_earlier_step_is_dropped(offline):
    log = RunLog.open(start, identity("steps"), {})
    assert log.next_step == 0
    for step, name in [(3, "a"), (3, "b"), (2, "c"), (4, "d")]:
        log.log({name: 1.0}, step=step)
    assert log.next_step == 5
    log.close()
    rows = [{name for name in row if not name.startswith("_")} for row in read(offline, "steps").history]
    assert rows == [{"a", "b"}, {"d"}]


def test_what_the_server_holds_is_not_even_handed_to_wandb():
    logged = []
    log = RunLog(SimpleNamespace(starting_step=4, log=lambda row, step: logged.append(step)))
    assert log.next_step == 4
    for step in (2, 3, 4, 4, 5, 4):
        log.log({"roas": 1.0}, step=step)
    assert logged == [4, 4, 5]


def test_rows_recorded_before_a_restart_are_caught_up_with(offline):
    log = RunLog.open(start, identity("again"), {})
    assert log.catch_up(Row(step, 1000.0 + step, {"roas": step / 2}) for step in (1, 2, 3)) == 3
    assert log.catch_up([Row(3, 0.0, {"roas": 9.0})]) == 0
    log.log({"roas": 2.0}, step=4)
    log.close()
    history = read(offline, "again").history
    assert [(row["_step"], row["roas"]) for row in history] == [(1, 0.5), (2, 1.0), (3, 1.5), (4, 2.0)]
    assert history[1]["_timestamp"] == 1002.0


def test_error_of_wandb_becomes_a_warning(offline, caplog):
    run = start("finished", "finished", mode="offline", settings=wandb.Settings(silent=True))
    run.finish()
    log = RunLog(run)
    with caplog.at_level(logging.WARNING):
        log.log({"roas": 1.0}, step=1)
        log.summarise({"score": 1.0})
    assert caplog.text.count("is finished") == 2


def test_disabled_run_does_nothing_and_asks_nobody(offline):
    wandb.teardown()
    before = sorted(offline.rglob("*"))
    log = RunLog.open(never, identity("disabled", mode="disabled"), {})
    log.log({"roas": 1.0}, step=1)
    log.summarise({"score": 1.0})
    with pytest.raises(ValueError, match="mine"), log.closing_on_failure():
        raise ValueError("mine")
    log.close()
    assert sorted(offline.rglob("*")) == before
