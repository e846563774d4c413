"""A tracker logs what was handed over under the documented names, and neither W&B nor a wrong value stops it."""

import json
import logging
import math
import os
import re
import socket
import subprocess
import sys
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import wandb

import gaelp_ray
from gaelp_ray import GAELPExperimentConfig, GAELPWandbTracker, create_experiment_tracker
from gaelp_ray.records import EpisodeMetrics
from gaelp_ray.tracking import single
from gaelp_ray.tracking.offline import OfflineRun, offline_runs
from gaelp_ray.tracking.single import SingleRun

GUIDE = Path(__file__).parents[2] / "docs/guide-tracking.md"
KEY = "0123456789abcdef0123456789abcdef01234567"
EPISODE = {
    "total_reward": 100.0,
    "steps": 50,
    "roas": 2.5,
    "ctr": 0.03,
    "conversion_rate": 0.06,
    "total_cost": 1000,
    "total_revenue": 2500,
}
BATCH = [{"episode": n, "total_reward": 2.0 * n, "final_roas": 10.0 - n, "steps": 168} for n in range(1, 11)]


@pytest.fixture(scope="module", autouse=True)
def surroundings(tmp_path_factory):
    """A person without an account; wandb's own files in a folder of this module."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        for name, value in {"HOME": home, "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}.items():
            patch.setenv(name, str(value))
        patch.setenv("NETRC", str(home / "none"))
        patch.setenv("NO_PROXY", "*")
        yield
        wandb.teardown()


@pytest.fixture
def here(tmp_path, monkeypatch):
    wandb.teardown()  # wandb reads the environment once in a process
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def off(here, monkeypatch):
    """A folder in which nothing of W&B is started."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return here


def said(caplog) -> list[str]:
    """What the user reads; wandb's own log is its own."""
    ours = [record for record in caplog.records if record.name.startswith("gaelp_ray")]
    return [record.getMessage() for record in ours if record.levelno >= logging.WARNING]


def read(folder: Path) -> dict[str, OfflineRun]:
    wandb.teardown()  # finish() returns a moment before the file is whole; this waits for the writer
    return {run.name: run for run in offline_runs(folder / "wandb")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The runs of two trackers that logged in turns, read back."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        config = GAELPExperimentConfig(num_episodes=20, team="search")
        tracker = create_experiment_tracker("first", config, ["GAELP", "RL"])
        other = GAELPWandbTracker("elsewhere", "second", {"x": np.float64(2.0), "nan": math.nan, "at": Path("a/b")})
        log_everything(tracker, other, folder)
        tracker.finish()
        other.finish()
        other.finish()
    return read(folder)


def log_everything(tracker: GAELPWandbTracker, other: GAELPWandbTracker, folder: Path) -> None:
    tracker.log_training_config({"market": "kag-social"})
    tracker.log_hyperparameters({"lr": 0.1})
    tracker.log_hyperparameters({"lr": 0.2})
    tracker.log_environment_calibration({"ctr": 0.02, "source": "a table", "channels": {"search": {"cpc": 1.5}}})
    measured = {"impressions": 4000, "clicks": 200, "conversions": 8, "delivery": 0.9, "optimality": np.float32(0.5)}
    tracker.log_episode_metrics(1, **EPISODE, avg_cpc=5.0, additional_metrics=measured)
    other.log_episode_metrics(1, **EPISODE | {"roas": 77.0})
    for number in range(2, 11):
        tracker.log_episode_metrics(number, **EPISODE | {"total_reward": 100.0 + number})
    tracker.log_batch_metrics(BATCH)
    tracker.log_evaluation_metrics({"mae": 0.5, "floor": {"mae": 0.4}, "rmse": None})
    tracker.log_episode_metrics(10, **EPISODE | {"total_reward": -1.0})
    tracker.log_episode_metrics(3, **EPISODE | {"total_reward": -2.0})
    tracker.log_batch_metrics([{"total_reward": 31.0, "episode": 11}, {"total_reward": 35.0, "episode": 12}])
    model = folder / "model"
    model.mkdir()
    (model / "model.json").write_text("{}", encoding="utf-8")
    tracker.log_model_artifacts(str(model))
    tracker.log_model_artifacts(model / "model.json", "my model")
    tracker.log_learning_curve({"BayesDual": 3.5})


def test_two_trackers_do_not_mix(whole):
    assert {name: run.project for name, run in whole.items()} == {"first": "gaelp-rl-training", "second": "elsewhere"}
    (row,) = whole["second"].history
    assert (row["performance/roas"], row["episode/number"]) == (77.0, 1)
    assert 77.0 not in [row.get("performance/roas") for row in whole["first"].history]
    assert "training" not in whole["second"].config
    assert [run.exit_code for run in whole.values()] == [0, 0]


def test_config_is_that_of_the_experiment_with_the_system(whole):
    config = whole["first"].config
    assert (config["agent_type"], config["team"], config["ppo"]["epochs"]) == ("PPO", "search", 4)
    assert config["training"] == {"market": "kag-social"}
    assert config["hyperparameters"] == {"lr": 0.2}
    assert config["system/python_version"] == sys.version.split()[0]
    other = whole["second"].config
    assert (other["x"], other["nan"], other["at"]) == (2.0, None, "a/b")
    assert sorted(whole["first"].tags) == ["GAELP", "RL"]


def test_every_metric_of_an_episode_has_its_documented_name(whole):
    calibration, row = whole["first"].history[:2]
    assert {"calibration/ctr": 0.02, "calibration/source": "a table"}.items() <= calibration.items()
    assert calibration["calibration/channels/search/cpc"] == 1.5
    expected = {
        "episode/number": 1,
        "episode/total_reward": 100.0,
        "episode/steps": 50,
        "episode/reward_per_step": 2.0,
        "performance/roas": 2.5,
        "performance/ctr": 0.03,
        "performance/conversion_rate": 0.06,
        "performance/total_cost": 1000,
        "performance/total_revenue": 2500,
        "performance/profit": 1500,
        "performance/avg_cpc": 5.0,
        "efficiency/cost_per_conversion": 125.0,
        "efficiency/revenue_per_step": 50.0,
        "custom/impressions": 4000,
        "custom/clicks": 200,
        "custom/conversions": 8,
        "custom/delivery": 0.9,
        "custom/optimality": 0.5,
    }
    assert {name: value for name, value in row.items() if not name.startswith("_")} == pytest.approx(expected)
    assert row["_step"] == 1


def test_batches_have_their_documented_names_at_the_last_episode(whole):
    row = next(row for row in whole["first"].history if "batch/avg_reward_10ep" in row)
    expected = {
        "batch/avg_reward_10ep": 11.0,
        "batch/std_reward_10ep": math.sqrt(33.0),
        "batch/avg_roas_10ep": 4.5,
        "batch/std_roas_10ep": math.sqrt(8.25),
        "batch/avg_steps_10ep": 168.0,
        "batch/reward_trend": 2.0,
        "batch/reward_progression": 0.0,
        "batch/roas_progression": 0.0,
        "batch/episodes": 10.0,
        "batch/progress": 0.5,
    }
    assert {name: value for name, value in row.items() if name.startswith("batch/")} == pytest.approx(expected)
    assert (row["_step"], row["episode/number"]) == (10, 10)


def test_later_batch_tells_how_far_the_training_has_come_and_needs_not_every_key(whole):
    row = [row for row in whole["first"].history if "batch/avg_reward_10ep" in row][-1]
    found = {name.partition("/")[2]: value for name, value in row.items() if name.startswith("batch/")}
    assert found == {
        "avg_reward_10ep": 33.0,
        "std_reward_10ep": 2.0,
        "reward_trend": 4.0,
        "reward_progression": 22.0,
        "episodes": 2,
        "progress": 0.6,
    }


def test_evaluation_has_its_documented_names_and_nothing_for_what_was_not_measured(whole):
    row = next(row for row in whole["first"].history if "evaluation/mae" in row)
    found = {name: value for name, value in row.items() if name.startswith("evaluation/")}
    assert found == {"evaluation/mae": 0.5, "evaluation/floor/mae": 0.4}


def test_an_episode_logged_again_replaces_nothing(whole):
    rows = [row for row in whole["first"].history if "episode/total_reward" in row]
    assert [row["episode/total_reward"] for row in rows if row["episode/number"] in (3, 10)] == [103, 110, -1, -2]
    steps = [row["_step"] for row in whole["first"].history]
    assert steps == sorted(set(steps))


def test_models_are_logged_as_artifacts(whole):
    models = {art["name"]: art for art in whole["first"].artifacts if art["type"] == "model"}
    assert {name: art["files"] for name, art in models.items()} == {
        "gaelp_agent_first": ["model.json"],
        "my-model_first": ["model.json"],
    }


def test_learning_curve_is_a_chart_of_reward_and_of_roas(whole):
    charts = [row for row in whole["first"].history if "learning_curve/roas_table.nrows" in row]
    assert len(charts) == 1  # asked for, and shows all episodes: not drawn again at the end
    # 12 episodes, the mean of three (10), and the two ends of the reference line.
    assert charts[0]["learning_curve/roas_table.nrows"] == 12 + 10 + 2
    assert charts[0]["learning_curve/reward_table.nrows"] == 22
    assert charts[0]["learning_curve/picture.format"] == "png"
    (drawn_at_the_end,) = (row for row in whole["second"].history if "learning_curve/roas_table.nrows" in row)
    assert drawn_at_the_end["learning_curve/roas_table.nrows"] == 2  # one episode and its mean


def test_names_are_those_of_a_sweeps_trial(off):
    pooled = EpisodeMetrics(1, 168, 4e3, 200.0, 1e3, 8.0, 2500.0, 1e3, 2400.0, 3e3)
    tracker = GAELPWandbTracker()
    tracker.log_episode_metrics(
        1, 1.0, 168, pooled.roas, pooled.ctr, pooled.conversion_rate, pooled.cost, pooled.revenue, pooled.cpc,
        {"impressions": 4e3, "clicks": 200.0, "conversions": 8.0, "delivery": 1.0, "optimality": 0.8},
    )  # fmt: skip
    (row,) = tracker.episode_metrics
    logged = pooled.as_logged()
    assert {name: value for name, value in row.items() if not name.startswith("episode/")} == pytest.approx(
        {name: logged[name] for name in row if not name.startswith("episode/")}
    )
    assert {name for name in logged if not name.startswith("safety/")} - set(row) == {"performance/delivered_roas"}


def test_cost_per_conversion_is_that_of_the_conversions_or_absent(off):
    tracker = GAELPWandbTracker()
    tracker.log_episode_metrics(1, **EPISODE)
    tracker.log_episode_metrics(2, **EPISODE, avg_cpc=2.0)
    tracker.log_episode_metrics(3, **EPISODE, additional_metrics={"clicks": 100})
    tracker.log_episode_metrics(4, **EPISODE, additional_metrics={"conversions": 0})
    name = "efficiency/cost_per_conversion"
    found = [row.get(name) for row in tracker.episode_metrics]
    assert found == [None, pytest.approx(1000 / 30), pytest.approx(1000 / 6), None]
    assert tracker.episode_metrics[2]["performance/avg_cpc"] == 10.0


@pytest.mark.parametrize(
    ("wrong", "name", "why"),
    [
        ({"roas": math.nan}, "performance/roas", "nan is no finite number"),
        ({"ctr": "high"}, "performance/ctr", "'high' is no number"),
        ({"total_cost": math.inf}, "performance/total_cost", "inf is no finite number"),
        ({"steps": [1]}, "episode/steps", "[1] is no number"),
        ({"avg_cpc": 2j}, "performance/avg_cpc", "2j is no number"),
        ({"total_reward": 10**400}, "episode/total_reward", "no finite number"),
        ({"additional_metrics": {"mood": "good"}}, "custom/mood", "'good' is no number"),
        ({"additional_metrics": {"deep": {"er": math.nan}}}, "custom/deep/er", "nan is no finite number"),
        ({"episode": "one"}, "episode/number", "'one' is no number"),
    ],
)
def test_a_wrong_value_is_one_warning_and_the_others_arrive(off, caplog, wrong, name, why):
    tracker = GAELPWandbTracker()
    sound = {"additional_metrics": {"kept": 1.0}, "avg_cpc": 1.0, "episode": 1}
    for _ in range(3):
        tracker.log_episode_metrics(**EPISODE | sound | wrong)
    (line,) = said(caplog)
    assert name in line and why in line
    row = tracker.episode_metrics[-1]
    assert name not in row
    assert all(math.isfinite(value) for value in row.values())
    # The metric itself, and what would have followed from it, but nothing else.
    assert len(row) >= 9


def test_what_was_not_measured_is_no_warning(off, caplog):
    tracker = GAELPWandbTracker()
    tracker.log_episode_metrics(1, **EPISODE | {"roas": None, "ctr": None}, additional_metrics={"delivery": None})
    tracker.log_batch_metrics([{"total_reward": 1.0, "final_roas": None}, {}])
    tracker.log_batch_metrics([])
    assert not said(caplog)
    assert "performance/roas" not in tracker.episode_metrics[0]


def test_a_wrong_value_in_a_batch_is_named(off, caplog):
    GAELPWandbTracker().log_batch_metrics([{"total_reward": "x", "episode": None}, {"total_reward": 1.0}])
    assert "batch/total_reward was not logged" in caplog.text


def test_attributes_and_defaults(off):
    tracker = GAELPWandbTracker()
    found = (tracker.project_name, tracker.config, tracker.tags, tracker.anonymous, tracker.episode_metrics)
    assert found == ("gaelp-rl-training", {}, [], True, [])
    assert tracker.run is None
    assert re.fullmatch(r"gaelp_training_\d{8}_\d{6}_[0-9a-f]{6}", tracker.experiment_name)
    assert tracker.experiment_name != create_experiment_tracker().experiment_name


def test_disabled_writes_nothing_but_the_local_results(off, caplog):
    tracker = create_experiment_tracker("quiet")
    tracker.log_episode_metrics(1, **EPISODE)
    tracker.log_model_artifacts(__file__)
    tracker.save_local_results([])
    tracker.finish()
    assert [path.name for path in off.iterdir()] == ["gaelp_results_quiet.json"]
    assert not said(caplog)


def test_local_results_are_strict_json(off):
    tracker = create_experiment_tracker("trip/one", GAELPExperimentConfig(num_episodes=2))
    results = [
        {"total_reward": 1.0, "final_roas": math.nan, "total_cost": 10.0, "total_revenue": 20.0},
        {
            "total_reward": np.float32(2.0),
            "final_roas": 4.0,
            "total_cost": 30.0,
            "total_revenue": 120.0,
            "at": Path("x"),
        },
    ]
    path = tracker.save_local_results(results)
    assert path == Path("gaelp_results_trip-one.json")
    found = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert (found["experiment_name"], found["project_name"]) == ("trip/one", "gaelp-rl-training")
    assert found["config"]["num_episodes"] == 2
    assert [row["final_roas"] for row in found["results"]] == [None, 4.0]
    assert found["results"][1]["at"] == "x"
    assert datetime.fromisoformat(found["timestamp"]).tzinfo
    summary = {"total_episodes": 2, "avg_reward": 1.5, "max_reward": 2, "avg_roas": 4, "max_roas": 4}
    assert found["summary"] == summary | {"final_10_avg_reward": 1.5, "final_10_avg_roas": 4, "pooled_roas": 3.5}


def test_local_results_go_where_they_are_told_and_replace_an_older_file(off):
    tracker = create_experiment_tracker()
    assert tracker.save_local_results([{"total_reward": 1.0}], "mine.json") == Path("mine.json")
    tracker.save_local_results([], "mine.json")
    assert json.loads(Path("mine.json").read_text())["results"] == []
    assert [path.name for path in off.iterdir()] == ["mine.json"]


@pytest.mark.parametrize("number", [28, 13])  # no space left; permission denied
def test_results_that_cannot_be_written_are_one_warning(off, caplog, monkeypatch, number):
    def refuse(path, *_, **__):
        path.touch()
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_text", refuse)
    assert create_experiment_tracker().save_local_results([], "mine.json") is None
    assert list(off.iterdir()) == []
    (line,) = said(caplog)
    assert f"not written to mine.json: {os.strerror(number)}" in line


def test_results_in_a_folder_that_is_not_there_are_one_warning(off, caplog):
    assert create_experiment_tracker().save_local_results([], "nowhere/mine.json") is None
    assert "nowhere/mine.json" in caplog.text


def test_a_model_that_is_not_there_is_one_warning(off, caplog):
    create_experiment_tracker().log_model_artifacts("nowhere.npz")
    assert "nowhere.npz is not there" in caplog.text


@pytest.mark.parametrize("anonymous", [True, False])
def test_without_a_key_the_run_is_offline_and_the_warning_says_how_to_upload(here, caplog, anonymous):
    tracker = GAELPWandbTracker(anonymous=anonymous)
    tracker.finish()
    (line,) = said(caplog)
    assert "no W&B key is set" in line
    (command,) = re.findall(r"`wandb sync (wandb/offline-run-\S+)`", line)
    assert (here / command).is_dir()
    assert tracker.run.settings.mode == "offline"


def test_who_asks_for_offline_needs_no_warning(here, caplog, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    GAELPWandbTracker().finish()
    assert not said(caplog)
    assert list(here.glob("wandb/offline-run-*"))


def test_a_run_lies_in_the_working_directory_of_its_start(here, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    (here / "later").mkdir()
    for name, folder in (("one", here), ("two", here / "later")):
        monkeypatch.chdir(folder)
        GAELPWandbTracker(experiment_name=name).finish()
    assert (list(read(here)), list(read(here / "later"))) == (["one"], ["two"])


def test_an_unreachable_server_is_an_offline_run(here, caplog, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        tracker = GAELPWandbTracker(experiment_name="unreachable")
    tracker.log_episode_metrics(1, **EPISODE)
    tracker.finish()
    (line,) = said(caplog)
    assert "does not answer" in line and "wandb sync wandb/offline-run" in line
    assert len(read(here)["unreachable"].history) == 1


class Refusing(BaseHTTPRequestHandler):
    """A server that answers, and lets nobody in."""

    def do_GET(self):
        self.send_error(401)

    do_POST = do_GET

    def log_message(self, *_):
        """Say nothing."""


def test_a_key_that_the_server_refuses_is_an_offline_run_and_other_runs_go_on(here, caplog, monkeypatch):
    first = GAELPWandbTracker(experiment_name="before")
    monkeypatch.setattr(single, "INIT_SECONDS", 2.0)
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        caplog.clear()
        tracker = GAELPWandbTracker(experiment_name="refused")
        server.shutdown()
        thread.join()
    for each in (first, tracker):
        each.log_episode_metrics(1, **EPISODE)
        each.finish()
    (line,) = said(caplog)
    assert "wandb sync wandb/offline-run" in line and KEY not in line
    assert {name: len(run.history) for name, run in read(here).items()} == {"before": 1, "refused": 1}


def test_a_variable_that_makes_no_sense_stops_no_training(here, caplog, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "localhost:8080")
    tracker = GAELPWandbTracker()
    tracker.log_episode_metrics(1, **EPISODE)
    tracker.finish()
    assert tracker.run is None
    (line,) = said(caplog)
    assert "W&B is off" in line and "WANDB_" in line


def test_a_run_that_wandb_refuses_at_all_stops_no_training(here, caplog):
    tracker = GAELPWandbTracker(project_name="no/such:name", tags=["t" * 100])
    tracker.log_episode_metrics(1, **EPISODE)
    tracker.finish()
    (line,) = said(caplog)
    assert "W&B is off" in line
    assert len(tracker.episode_metrics) == 1


class Dying:
    """A run whose server has died: everything that waits for it fails."""

    dir = "wandb/run-x/files"

    def __init__(self):
        self.settings = SimpleNamespace(mode="online")
        self.published = self.finished = 0

    def log(self, *_, **__):
        raise wandb.errors.CommError("no answer")

    def log_artifact(self, _):
        self.published += 1

    def finish(self, **_):
        self.finished += 1
        raise TimeoutError("Timed out finishing run.")


def test_a_server_that_dies_is_one_warning_and_gets_no_more_files(off, caplog):
    tracker = GAELPWandbTracker()
    tracker.run = run = Dying()
    tracker._log_of_run = SingleRun(run)
    for number in range(3):
        tracker.log_episode_metrics(number, **EPISODE)
    tracker.log_model_artifacts(__file__)
    tracker.finish()
    tracker.finish()
    line, about_the_model = said(caplog)
    assert "CommError: no answer" in line
    assert f"the model {__file__}: keep it" in about_the_model
    assert "`wandb sync --include-online wandb/run-x`" in line
    assert (run.published, run.finished, len(tracker.episode_metrics)) == (0, 1, 3)


def test_no_file_is_sent_to_a_server_that_does_not_answer(here, caplog, monkeypatch):
    run = Dying()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        SingleRun(run).publish("model", Path(__file__))
    assert run.published == 0
    assert "does not answer" in caplog.text


def test_what_wandb_may_wait_for_is_bounded():
    settings = single._bounded_settings()
    limits = (settings.init_timeout, settings.finish_timeout, settings.finish_timeout_raises)
    assert limits == (single.INIT_SECONDS, single.FINISH_SECONDS, True)
    assert 2 * 3 + single.INIT_SECONDS + single.FINISH_SECONDS < 30


def test_importing_the_package_imports_no_wandb():
    code = "import gaelp_ray, sys; assert 'wandb' not in sys.modules; gaelp_ray.create_experiment_tracker"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {"GAELPWandbTracker", "create_experiment_tracker"} <= set(gaelp_ray.__all__)


def test_the_guide_runs_as_it_stands(here, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    code = "\n".join(re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (here / "gaelp_results_my_experiment.json").is_file()
    run = read(here)["my_experiment"]
    assert run.history[0]["performance/roas"] == 2.5
    assert sorted(run.tags) == ["GAELP", "RL", "advertising"]
