"""Names, defaults and local results; a wrong value is one warning, and all others arrive."""

import json
import math
import os
import re
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from trainings import EPISODE, said

from gaelp_ray import GAELPExperimentConfig, GAELPWandbTracker, create_experiment_tracker
from gaelp_ray.records import EpisodeMetrics


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
    unknown_to_the_tracker = {"delivered_roas", "expected_roas", "expected_delivered_roas"}
    missing = {name for name in logged if not name.startswith("safety/")} - set(row)
    assert missing == {f"performance/{name}" for name in unknown_to_the_tracker}


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
