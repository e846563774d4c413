"""What was handed over is in the run under the documented names."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from trainings import EPISODE, by_name

from gaelp_ray import GAELPExperimentConfig, GAELPWandbTracker, create_experiment_tracker

BATCH = [{"episode": n, "total_reward": 2.0 * n, "final_roas": 10.0 - n, "steps": 168} for n in range(1, 11)]


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
    return by_name(folder)


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
