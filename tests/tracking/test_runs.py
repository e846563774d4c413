"""One run of the real client: what is logged, how it ends, and that W&B never stops a training."""

import logging
import os

import pytest
import wandb

from gaelp_ray.tracking.offline import OfflineRun, offline_runs
from gaelp_ray.tracking.runs import RunIdentity, RunLog, describe


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory):
    """Everything of W&B in one folder, without a server."""
    home = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        for name, value in {"HOME": home, "WANDB_DIR": home, "WANDB_MODE": "offline", "WANDB_SILENT": "true"}.items():
            patch.setenv(name, str(value))
        patch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
        yield home
        wandb.teardown()


def identity(id: str, mode: str = "offline") -> RunIdentity:
    return RunIdentity(
        id=id, name=f"name of {id}", project="p", group="g", job_type="trial", mode=mode, tags=("one", "two")
    )


def start(trial_id: str, trial_name: str, **keywords):
    """wandb.init as Ray's setup_wandb calls it."""
    return wandb.init(id=trial_id, name=trial_name, **keywords)


def refuse(**_):
    raise wandb.errors.CommError("no answer")


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
    assert run.summary["error"] == "ValueError: the first line"
    assert len(run.history) == 1


def test_block_without_failure_leaves_the_run_open(offline):
    log = RunLog.open(start, identity("open"), {})
    with log.closing_on_failure():
        log.log({"roas": 1.0}, step=1)
    log.log({"roas": 2.0}, step=2)
    log.close()
    run = read(offline, "open")
    assert (len(run.history), run.exit_code) == (2, 0)
    assert "error" not in run.summary


def test_interrupted_run_ends_with_its_exit_code_and_ends_once(offline):
    log = RunLog.open(start, identity("interrupted"), {})
    log.close(exit_code=130)
    log.close()
    assert read(offline, "interrupted").exit_code == 130


def test_run_that_wandb_refuses_goes_on_offline(offline, caplog):
    with caplog.at_level(logging.WARNING):
        log = RunLog.open(refuse, identity("refused", mode="online"), {"seed": 3})
    log.log({"roas": 1.0}, step=1)
    log.close()
    run = read(offline, "refused")
    assert (run.name, run.config, len(run.history), run.exit_code) == ("name of refused", {"seed": 3}, 1, 0)
    assert "no answer" in caplog.text


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


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "ValueError: one"),
        (KeyError("x"), "KeyError: 'x'"),
        (RuntimeError(), "RuntimeError"),
        (RuntimeError("  \n"), "RuntimeError"),
        (RuntimeError("\n first\nsecond"), "RuntimeError: first"),
    ],
)
def test_exception_in_one_line(error, line):
    assert describe(error) == line
