"""One training as documented: what it returns, and what its run and its files say."""

import ast
import asyncio
import json
import math
import types

import numpy as np
import pytest
from stepped import Stepped
from trainings import MARKET, by_name, episode_rows, own, runs

from gaelp_ray import GAELPExperimentConfig
from gaelp_ray.checkpoint import load_model
from gaelp_ray.market.headline import headline
from gaelp_ray.simulator import AdCampaignVectorEnv
from gaelp_ray.training import fly, make_untrained, train

SNIPPET = """\
from gaelp_ray import create_experiment_tracker, GAELPExperimentConfig, IntegratedGAELPTrainer

config = GAELPExperimentConfig(agent_type="PPO", learning_rate=0.001, num_episodes=100)
tracker = create_experiment_tracker(experiment_name="my_experiment", config=config, tags=["GAELP", "RL", "advertising"])
tracker.log_episode_metrics(episode=1, total_reward=100.0, steps=50, roas=2.5, ctr=0.03,
                            conversion_rate=0.06, total_cost=1000, total_revenue=2500)

trainer = IntegratedGAELPTrainer(experiment_name="gaelp_training_v1", enable_wandb=True)
results = await trainer.train(num_episodes=50)
eval_metrics = trainer.evaluate_on_real_data()
trainer.finish_training(results)
"""
DOCUMENTED = (
    "episode total_reward steps final_roas total_cost total_revenue ctr conversion_rate avg_cpc total_impressions "
    "total_clicks total_conversions"
).split()


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    """What the documented snippet leaves behind as a notebook's cell: its names, its run, and what it was told of.

    A notebook's loop is running already, and other tasks of it want their turn.
    """
    folder = tmp_path_factory.mktemp("notebook")
    names: dict = {}
    turns: list[int] = []

    async def others() -> None:
        while True:
            turns.append(len(names["trainer"].results) if "trainer" in names else 0)
            await asyncio.sleep(0)

    async def notebook() -> None:
        task = asyncio.create_task(others())
        await eval(compile(SNIPPET, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
        task.cancel()

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        asyncio.run(notebook())
        names["trainer"].tracker.log_evaluation_metrics({"after": "the end"})
        names["tracker"].finish()
    run = by_name(folder)["gaelp_training_v1"]
    return types.SimpleNamespace(**names, run=run, folder=folder, turns=turns)


@pytest.fixture(scope="module")
def iterations():
    """The snippet's training by the loop alone."""
    config = GAELPExperimentConfig(batch_size=10, num_episodes=50)
    return list(train(*make_untrained(config), config))


def test_the_snippet_runs_as_a_script_and_returns_the_same(cell, here):
    script = SNIPPET.replace("await trainer.train(num_episodes=50)", "asyncio.run(trainer.train(num_episodes=50))")
    names: dict = {"asyncio": asyncio}
    exec(script, names)
    names["tracker"].finish()
    assert names["results"] == cell.results
    assert names["eval_metrics"] == cell.eval_metrics
    assert {run.name: run.exit_code for run in runs(here)} == {"my_experiment": 0, "gaelp_training_v1": 0}


def test_other_tasks_of_the_loop_get_their_turn_after_every_batch(cell):
    assert {10, 20, 30, 40, 50} <= set(cell.turns)


def test_one_dict_per_episode_with_the_documented_keys(cell):
    assert [episode["episode"] for episode in cell.results] == list(range(1, 51))
    assert all(list(episode)[: len(DOCUMENTED)] == DOCUMENTED for episode in cell.results)
    numbers = [value for episode in cell.results for value in episode.values()]
    assert all(type(value) in (int, float) and math.isfinite(value) for value in numbers)


def test_the_episodes_are_the_flights_of_the_one_loop(cell, iterations):
    sums = {"total_cost": "cost", "total_revenue": "revenue", "budget": "budget", "oracle_revenue": "oracle_revenue"}
    sums |= {f"total_{name}": name for name in ("impressions", "clicks", "conversions")}
    for ours, theirs in sums.items():
        expected = np.concatenate([getattr(iteration.totals, theirs) for iteration in iterations])
        assert [episode[ours] for episode in cell.results] == expected.tolist()
    rewards = np.concatenate([iteration.rewards for iteration in iterations])
    assert [episode["total_reward"] for episode in cell.results] == rewards.tolist()
    for episode in cell.results:
        assert episode["steps"] == 168
        assert episode["final_roas"] == episode["total_revenue"] / episode["total_cost"]
        assert episode["ctr"] == episode["total_clicks"] / episode["total_impressions"]
        assert episode["conversion_rate"] == episode["total_conversions"] / episode["total_clicks"]
        assert episode["avg_cpc"] == episode["total_cost"] / episode["total_clicks"]


def test_every_episode_is_in_the_run_under_the_documented_names(cell):
    rows = episode_rows(cell.run)
    for episode, row in zip(cell.results, rows, strict=True):
        cost, revenue = episode["total_cost"], episode["total_revenue"]
        expected = {
            "episode/number": episode["episode"],
            "episode/total_reward": episode["total_reward"],
            "episode/steps": 168,
            "episode/reward_per_step": episode["total_reward"] / 168,
            "performance/roas": episode["final_roas"],
            "performance/ctr": episode["ctr"],
            "performance/conversion_rate": episode["conversion_rate"],
            "performance/total_cost": cost,
            "performance/total_revenue": revenue,
            "performance/profit": revenue - cost,
            "performance/avg_cpc": episode["avg_cpc"],
            "efficiency/cost_per_conversion": cost / episode["total_conversions"],
            "efficiency/revenue_per_step": revenue / 168,
            "custom/impressions": episode["total_impressions"],
            "custom/clicks": episode["total_clicks"],
            "custom/conversions": episode["total_conversions"],
            "custom/delivery": cost / episode["budget"],
            "custom/optimality": episode["expected_revenue"] / episode["oracle_revenue"],
        }
        assert own(row, "episode", "performance", "efficiency", "custom") == pytest.approx(expected, rel=1e-12)
        assert row["_step"] == episode["episode"]


def pooled_roas(episodes):
    return sum(e["total_revenue"] for e in episodes) / sum(e["total_cost"] for e in episodes)


def test_every_ten_episodes_are_in_the_run_under_the_documented_names(cell):
    rows = [row for row in cell.run.history if "batch/avg_reward_10ep" in row]
    assert [row["episode/number"] for row in rows] == [10, 20, 30, 40, 50]
    columns = {name: np.array([e[name] for e in cell.results]) for name in ("total_reward", "final_roas", "steps")}
    reward, roas, _ = (column.reshape(5, 10) for column in columns.values())
    theirs = cell.trainer.reference_episodes()
    assert [e["budget"] for e in theirs] == [e["budget"] for e in cell.results]  # the same flights
    for n, row in enumerate(rows):
        ours, reference = (pooled_roas(flights[10 * n : 10 * n + 10]) for flights in (cell.results, theirs))
        assert 0.0 < row.pop("batch/roas_vs_bayesdual_se") < 3.0
        expected = {
            "roas_vs_bayesdual": ours - reference,
            "avg_reward_10ep": reward[n].mean(),
            "std_reward_10ep": reward[n].std(),
            "avg_roas_10ep": roas[n].mean(),
            "std_roas_10ep": roas[n].std(),
            "avg_steps_10ep": 168,
            "reward_trend": np.polyfit(np.arange(10), reward[n], 1)[0],
            "reward_progression": reward[n].mean() - reward[0].mean(),
            "roas_progression": roas[n].mean() - roas[0].mean(),
            "progress": (n + 1) / 5,
            "episodes": 10,
        }
        assert own(row, "batch") == pytest.approx({f"batch/{k}": v for k, v in expected.items()}, rel=1e-9, abs=1e-12)


def test_what_the_learner_said_is_at_the_last_episode_of_its_batch(cell, iterations):
    rows = {row["episode/number"]: own(row, "learning") for row in cell.run.history if own(row, "learning")}
    assert rows == {10 * iteration.number: iteration.learning for iteration in iterations}
    assert "learning/value_loss" in rows[10]


def test_the_market_is_in_the_run(cell):
    (row,) = [row for row in cell.run.history if own(row, "calibration")]
    facts = {"market": "airfrance-search", "hash": MARKET.hash} | headline(MARKET)
    assert own(row, "calibration") == {f"calibration/{name}": value for name, value in facts.items()}
    assert {"calibration/roas", "calibration/ctr", "calibration/cpc", "calibration/conversion_rate"} < row.keys()


def test_errors_on_real_data_are_in_the_run_each_beside_its_noise_floor(cell):
    for name in ("mae", "rmse", "correlation", "accuracy_within_1x"):
        assert math.isfinite(cell.eval_metrics[f"roas_{name}"])
        assert f"roas_{name}_noise_floor" in cell.eval_metrics
    (row,) = [row for row in cell.run.history if own(row, "evaluation")]
    measured = {name: value for name, value in cell.eval_metrics.items() if value is not None}
    assert own(row, "evaluation") == {f"evaluation/{name}": value for name, value in measured.items()}


def test_the_system_and_the_configuration_are_in_the_run(cell):
    config = cell.run.config
    facts = ("platform", "python_version", "cpu_count", "memory_gb", "memory_available_gb", "load_1min")
    assert {f"system/{name}" for name in facts} < config.keys()
    assert config["system/version/numpy"] == np.__version__
    assert (config["agent_type"], config["market"], config["batch_size"]) == ("PPO", "airfrance-search", 10)
    assert sorted(cell.run.tags) == ["GAELP", "PPO"]
    assert cell.run.exit_code == 0


def test_the_learning_curve_is_in_the_run_with_the_reference_bidder(cell):
    (row,) = [row for row in cell.run.history if "learning_curve/picture" in {name.partition(".")[0] for name in row}]
    # 50 episodes, their moving average of ten, and that of the reference bidder.
    tables = [row[f"learning_curve/{name}_table.nrows"] for name in ("reward", "roas", "optimality")]
    assert tables == [50 + 41 + 41] * 3
    (picture,) = cell.folder.glob(f"wandb/offline-run-*/files/{row['learning_curve/picture.path']}")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_model_is_an_artifact_of_the_run(cell):
    (model,) = [artifact for artifact in cell.run.artifacts if artifact["type"] == "model"]
    assert model["name"] == "gaelp_agent_gaelp_training_v1"
    assert {"model.json", "model.npz"} <= set(model["files"])


def test_backup_and_picture_lie_in_the_working_directory(cell):
    assert sorted(path.name for path in cell.folder.iterdir()) == [
        "gaelp_checkpoints",
        "gaelp_learning_curve_gaelp_training_v1.png",
        "gaelp_results_gaelp_training_v1.json",
        "wandb",
    ]
    text = (cell.folder / "gaelp_results_gaelp_training_v1.json").read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=pytest.fail)
    assert found["results"] == cell.results
    assert (found["experiment_name"], found["config"]["num_episodes"]) == ("gaelp_training_v1", 50)
    assert found["summary"]["total_episodes"] == 50
    assert (cell.folder / cell.trainer.picture).read_bytes().startswith(b"\x89PNG")


def test_the_one_checkpoint_is_the_agent_as_it_is_now(cell):
    (folder,) = (cell.folder / "gaelp_checkpoints" / "gaelp_training_v1").iterdir()
    model = load_model(folder)
    assert model.about == {"experiment": "gaelp_training_v1", "episodes": 50}
    flights = [fly(AdCampaignVectorEnv(3, MARKET), Stepped(agent), ([1, 2], [1, 3]), explore=False)
               for agent in (model.agent, cell.trainer.agent)]  # fmt: skip
    np.testing.assert_array_equal(flights[0].actions, flights[1].actions)
    untrained = fly(
        AdCampaignVectorEnv(3, MARKET), Stepped(make_untrained(model.config)[1]), ([1, 2], [1, 3]), explore=False
    )
    assert not np.array_equal(untrained.actions, flights[0].actions)
