"""Runs of commands that judge models: whatever W&B does, it is told in a line and nothing is raised."""

import math
import shlex
from pathlib import Path

import numpy as np
import pytest

from gaelp_ray.evidence.decline import Card, watch
from gaelp_ray.evidence.observed import ObservedFlights
from gaelp_ray.tracking import process
from gaelp_ray.tracking.offline import offline_runs
from gaelp_ray.tracking.process import SERVICE
from gaelp_ray.tracking.report import Destination, Report
from gaelp_ray.tracking.watched import ROWS, _looks, in_words, log_watch

CARD = Card(10.0, 9.5, 10.5, 0.95, 512, 0.99)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder of its own, and a process that no server has let down."""
    monkeypatch.chdir(tmp_path)
    yield
    SERVICE.__init__()


def look(flights: int, roas: float = 6.0):
    cost = np.full(flights, 100.0)
    return watch(ObservedFlights(cost, roas * cost, cost / 0.9), CARD, 0.01)


def test_a_report_has_its_labels_table_rows_and_summary(wandb_server):
    report = Report.begin(Destination("demo", "team", "june"), "compare", "c1", {"episodes": 3})
    report.tabulate("models", ["a", "b"], [[1, "x"], [2, None]])
    report.log({"observed/roas": 5.0}, step=7)
    report.summarise({"best": "A"})
    report.close()
    run = wandb_server.run("demo/c1")
    assert (run.display_name, run.job_type, run.group, run.config) == ("june", "compare", None, {"episodes": 3})
    assert [row["models"]["nrows"] for row in run.history if "models" in row] == [2]
    assert (run.history[-1]["_step"], run.summary["best"], run.state) == (7, "A", "finished")
    assert report.where == f"W&B: {wandb_server.url}/team/demo/runs/c1"


def test_a_server_that_dies_meanwhile_leaves_a_run_to_upload(wandb_server, tmp_path, monkeypatch):
    report = Report.begin(Destination("demo"), "compare", "c1", {})
    wandb_server.down()
    monkeypatch.setattr(process, "FINISH_SECONDS", 1.0)
    report.log({"roas": 5.0}, step=1)
    report.close()
    assert report.where.startswith(
        "W&B: the server did not take all of it; upload it with `wandb sync --include-online"
    )
    folder = Path(report.where.split()[-1].rstrip("`"))
    assert (tmp_path / folder).is_dir() and list((tmp_path / folder).glob("run-c1.wandb"))


def test_the_command_for_a_folder_with_a_space_can_be_pasted(tmp_path, monkeypatch):
    (tmp_path / "my work").mkdir()
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "my work"))
    report = Report.begin(Destination("demo"), "compare", "c1", {})
    report.close()
    *_, folder = shlex.split(report.where.split("`")[1])
    assert (tmp_path / folder / "run-c1.wandb").is_file()


def test_disabled_there_is_no_run_and_nothing_to_wait_for(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    where = log_watch(Destination(), "m1", look(200), "mine")
    assert where == "W&B: no run (WANDB_MODE says so)" and list(tmp_path.iterdir()) == []


def test_a_name_that_wandb_refuses_is_no_error(tmp_path):
    where = log_watch(Destination("a/b"), "m1", look(20), "mine")
    assert where.startswith("W&B: no run") and offline_runs(tmp_path / "wandb") == []


def test_looks_without_an_interval_have_none_in_their_rows(tmp_path):
    log_watch(Destination(), "m1", look(20, roas=10.0), "mine")
    (run,) = offline_runs(tmp_path / "wandb")
    every = {"observed/roas", "observed/low", "observed/high", "card/expected", "card/low"}
    names = [set(row) & every for row in run.history]
    assert names == [every - {"observed/low", "observed/high"}] * 7 + [every] * 13
    assert (run.summary["flights"], run.summary["degraded"], run.summary["alerted"]) == (20, False, False)
    assert run.summary["delivery"] == pytest.approx(0.9)
    assert (run.summary["budget_control"], run.summary["expected_roas"]) == ("no_curve", pytest.approx(10.0))


@pytest.mark.parametrize("flights", [1, 499, 500, 501, 12_345])
def test_looks_are_few_and_the_last_is_one_of_them(flights):
    looks = _looks(flights)
    assert looks[-1] == flights and looks == sorted(set(looks)) and len(looks) <= ROWS + 1
    assert len(looks) == flights or len(looks) >= ROWS / 2


def test_words_of_an_alert_are_of_the_look_that_raised_it():
    found = look(200)
    after = found.noticed_after
    assert after < 200 and math.isfinite(found.high[after - 1])
    assert in_words(found).startswith(
        f"noticed after {after} flights: ROAS 6.000, at most {found.high[after - 1]:.3f} with all looks accounted for, "
        "below 9.500"
    )
