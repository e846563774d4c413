"""One training as documented: what it returns, what its run and its files say, and how it goes on after an end."""

import ast
import asyncio
import json
import logging
import math
import types
from pathlib import Path

import numpy as np
import pytest
import wandb
import yaml

from gaelp_ray import GAELPExperimentConfig, IntegratedGAELPTrainer, load_market
from gaelp_ray import trainer as module
from gaelp_ray.agents import reference_bidder
from gaelp_ray.checkpoint import load_model
from gaelp_ray.errors import ConfigError, MarketError, ModelError, StorageError
from gaelp_ray.market.headline import headline
from gaelp_ray.market.market import PRESETS
from gaelp_ray.simulator import AdCampaignVectorEnv
from gaelp_ray.tracking.offline import OfflineRun, offline_runs
from gaelp_ray.training import Stream, evaluate, fly, make_untrained, train

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
SMALL = GAELPExperimentConfig(batch_size=4, num_episodes=12, seed=3, ppo={"hidden_size": 8})
FIXED = GAELPExperimentConfig(agent_type="constant", batch_size=4, num_episodes=8)
SHOP = GAELPExperimentConfig(env="shop:Shop", batch_size=4, num_episodes=8, ppo={"reference": "none", "minibatches": 2})
MARKET = load_market("airfrance-search")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def off(here, monkeypatch):
    """A folder in which nothing of W&B is started."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return here


def flown(config: GAELPExperimentConfig, name: str = "trip", episodes: int | None = None) -> IntegratedGAELPTrainer:
    trainer = IntegratedGAELPTrainer(name, False, config)
    asyncio.run(trainer.train(episodes))
    return trainer


def runs(folder: Path) -> list[OfflineRun]:
    wandb.teardown()  # finish() returns a moment before the file is whole; this waits for the writer
    return offline_runs(folder / "wandb")


def said(caplog) -> list[str]:
    ours = [record for record in caplog.records if record.name.startswith("gaelp_ray")]
    return [record.getMessage() for record in ours if record.levelno >= logging.WARNING]


def state_of(agent) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in agent.state_dict().items()}


def episode_rows(run: OfflineRun) -> list[dict]:
    return [row for row in run.history if "episode/total_reward" in row]


def own(row: dict, *rooms: str) -> dict:
    return {name: value for name, value in row.items() if name.partition("/")[0] in rooms}


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
    run = {run.name: run for run in runs(folder)}["gaelp_training_v1"]
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


def test_every_ten_episodes_are_in_the_run_under_the_documented_names(cell):
    rows = [row for row in cell.run.history if "batch/avg_reward_10ep" in row]
    assert [row["episode/number"] for row in rows] == [10, 20, 30, 40, 50]
    columns = {name: np.array([e[name] for e in cell.results]) for name in ("total_reward", "final_roas", "steps")}
    reward, roas, _ = (column.reshape(5, 10) for column in columns.values())
    for n, row in enumerate(rows):
        expected = {
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
    flights = [fly(AdCampaignVectorEnv(3, MARKET), agent, ([1, 2], [1, 3]), explore=False)
               for agent in (model.agent, cell.trainer.agent)]  # fmt: skip
    np.testing.assert_array_equal(flights[0].actions, flights[1].actions)
    untrained = fly(AdCampaignVectorEnv(3, MARKET), make_untrained(model.config)[1], ([1, 2], [1, 3]), explore=False)
    assert not np.array_equal(untrained.actions, flights[0].actions)


def test_without_a_configuration_it_is_ppo_in_batches_of_ten_under_a_new_name(off):
    first, second = IntegratedGAELPTrainer(), IntegratedGAELPTrainer()
    assert (first.config.agent_type, first.config.batch_size, first.world.name) == ("PPO", 10, "airfrance-search")
    assert first.experiment_name != second.experiment_name


def test_episodes_are_rounded_up_to_full_batches(off):
    assert len(flown(FIXED, episodes=9).results) == 12
    assert len(flown(FIXED, name="other").results) == 8


def test_what_was_not_measured_is_none_and_no_warning(shop, caplog):
    shop()
    trainer = IntegratedGAELPTrainer("shop", config=SHOP)
    results = asyncio.run(trainer.train())
    trainer.finish_training()
    for episode in results:
        unknown = {name for name, value in episode.items() if value is None}
        assert {"ctr", "conversion_rate", "avg_cpc", "optimality"} <= unknown
        assert 2 <= episode["steps"] <= 5
        assert episode["final_roas"] == episode["total_revenue"] / episode["total_cost"]
        assert episode["total_reward"] == pytest.approx(episode["total_revenue"] / 50.0)
    assert len({episode["steps"] for episode in results}) > 1
    (run,) = runs(Path())
    for episode, row in zip(results, episode_rows(run), strict=True):
        assert row["episode/steps"] == episode["steps"]
        assert row["efficiency/revenue_per_step"] == pytest.approx(episode["total_revenue"] / episode["steps"])
        assert not {"performance/ctr", "performance/avg_cpc", "custom/optimality"} & row.keys()
    assert not any(own(row, "calibration") for row in run.history)
    backup = Path("gaelp_results_shop.json").read_text(encoding="utf-8")
    assert json.loads(backup, parse_constant=pytest.fail)["results"] == results
    assert not said(caplog)


def stopped(trainer: IntegratedGAELPTrainer, after: int) -> None:
    """Train, and cancel the task once so many episodes have been flown."""

    async def start() -> None:
        task = asyncio.create_task(trainer.train())
        while len(trainer.results) < after:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(start())


@pytest.mark.parametrize(
    "changes",
    [{}, {"agent_type": "CEM", "cem": {"population": 4}}],
    ids=["PPO", "CEM"],
)
def test_stopped_and_continued_it_repeats_an_uninterrupted_one_bit_for_bit(off, changes):
    config = SMALL.replace(changes)
    whole = flown(config, "whole")
    stopped(IntegratedGAELPTrainer("trip", False, config), after=8)
    again = IntegratedGAELPTrainer("trip", False, config)
    assert again.results == whole.results[:8]
    assert asyncio.run(again.train()) == whole.results
    assert state_of(again.agent) == state_of(whole.agent)
    assert [path.name for path in again.checkpoints.folder.iterdir()] == ["iteration-000003"]


def test_the_run_of_a_continued_training_shows_all_episodes(here):
    config = FIXED.replace({"num_episodes": 20})
    first = IntegratedGAELPTrainer("trip", config=config)
    stopped(first, after=12)
    first.tracker.finish(exit_code=130)
    again = IntegratedGAELPTrainer("trip", config=config)
    results = asyncio.run(again.train())
    again.finish_training()
    broken, whole = sorted(runs(here), key=lambda run: run.exit_code, reverse=True)
    assert (broken.exit_code, whole.exit_code) == (130, 0)
    assert [row["episode/total_reward"] for row in episode_rows(whole)] == [e["total_reward"] for e in results]
    assert episode_rows(broken)[-1]["episode/number"] == 12
    assert [row["episode/number"] for row in whole.history if "batch/reward_trend" in row] == [10, 20]


def test_more_episodes_go_on_from_where_it_ended(off):
    first = flown(FIXED, episodes=8)
    before = list(first.results)
    assert asyncio.run(first.train(12))[:8] == before
    later = flown(FIXED, episodes=20)
    assert later.results == flown(FIXED, "whole", episodes=20).results
    assert [path.name for path in later.checkpoints.folder.iterdir()] == ["iteration-000005"]


def test_with_nothing_left_nothing_is_trained(off):
    before = flown(SMALL)
    for episodes in (12, 9, 3, None):
        again = flown(SMALL, episodes=episodes)
        assert again.results == before.results
        assert state_of(again.agent) == state_of(before.agent)
        assert load_model(again.checkpoints.last).config == SMALL


def test_returned_episodes_are_the_callers_own(off):
    trainer = flown(FIXED)
    asyncio.run(trainer.train()).clear()
    assert len(trainer.results) == 8


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rate": 0.01}, "learning_rate: 0.001 there, 0.01 now"),
        ({"ppo.hidden_size": 16}, "ppo.hidden_size: 8 there, 16 now"),
    ],
)
def test_another_configuration_under_the_same_name_is_refused(here, changes, words):
    flown(SMALL, episodes=4)
    before = contents(here)
    with pytest.raises(StorageError) as refused:
        IntegratedGAELPTrainer("trip", True, SMALL.replace(changes))
    (line,) = str(refused.value).splitlines()
    assert words in line
    assert contents(here) == before  # no run was started


@pytest.mark.parametrize(
    ("name", "content"), [("progress.json", b'{"iterations": 1, "epi'), ("model.npz", b"PK"), ("model.json", b"")]
)
def test_a_damaged_checkpoint_is_refused_and_stays(here, name, content):
    damaged = flown(FIXED).checkpoints.last / name
    damaged.write_bytes(content)
    before = contents(here)
    with pytest.raises(ModelError) as refused:
        IntegratedGAELPTrainer("trip", True, FIXED)
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{damaged} is damaged")
    assert line.endswith("delete gaelp_checkpoints/trip to start anew")
    assert contents(here) == before


@pytest.mark.parametrize(
    ("values", "error"), [({"agent_type": "PPOO"}, ConfigError), ({"market": "mars"}, MarketError)]
)
def test_what_cannot_be_trained_is_refused_before_anything_is_made(here, values, error):
    with pytest.raises(error):
        IntegratedGAELPTrainer("trip", True, GAELPExperimentConfig(**values))
    assert list(here.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_warning_and_the_training_goes_on(off, caplog, monkeypatch):
    monkeypatch.setattr(module, "SAVE_SECONDS", -1.0)
    (off / "gaelp_checkpoints").touch()
    trainer = flown(FIXED)
    (line,) = said(caplog)
    assert line.startswith("no checkpoint could be written to gaelp_checkpoints/trip (")
    assert len(trainer.results) == 8
    assert trainer.checkpoints.last is None


def test_a_long_training_is_saved_in_between(off, monkeypatch):
    saved = []
    monkeypatch.setattr(module, "SAVE_SECONDS", -1.0)
    monkeypatch.setattr(module.Checkpoints, "save", lambda _, progress: saved.append(len(progress.episodes)))
    flown(FIXED, episodes=12)
    assert saved == [4, 8, 12, 12]


def test_saving_takes_no_large_share_of_a_training(off, monkeypatch):
    seconds, saved = [0.0], []
    monkeypatch.setattr(module, "SAVE_SECONDS", 1.5)
    monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda: seconds[0]))

    def train_a_second_each(*_):
        for iteration in train(*_):
            seconds[0] += 1.0
            yield iteration

    def save_in_half_a_second(_, progress):
        seconds[0] += 0.5
        saved.append(progress.iterations)

    monkeypatch.setattr(module, "train", train_a_second_each)
    monkeypatch.setattr(module.Checkpoints, "save", save_in_half_a_second)
    flown(FIXED, episodes=100)
    assert saved == [2, 13, 24, 25]  # every 1.5 seconds at first, then half a second of every ten


def test_without_wandb_there_is_no_run_and_everything_else(here, caplog):
    trainer = flown(FIXED, "a/b")
    assert trainer.finish_training() == Path("gaelp_results_a-b.json")
    assert trainer.tracker.run is None
    assert trainer.picture == Path("gaelp_learning_curve_a-b.png")
    names = ["gaelp_checkpoints", "gaelp_learning_curve_a-b.png", "gaelp_results_a-b.json"]
    assert sorted(path.name for path in here.iterdir()) == names
    assert trainer.checkpoints.last == Path("gaelp_checkpoints/a-b/iteration-000002")
    assert not said(caplog)


def test_the_backup_holds_what_was_handed_over(off):
    trainer = flown(FIXED)
    path = trainer.finish_training(trainer.results[:3])
    assert len(json.loads(path.read_text(encoding="utf-8"))["results"]) == 3


def test_evaluation_is_paired_on_fresh_flights_and_in_the_run(here):
    trainer = IntegratedGAELPTrainer("trip", config=FIXED)
    found = trainer.evaluate(24)
    trainer.tracker.finish()
    seeds = [FIXED.seed, Stream.EVALUATION]
    agent, other = (evaluate(a, MARKET, 24, seeds) for a in (trainer.agent, reference_bidder(MARKET.landscape)))
    assert (found["episodes"], found["agent"]) == (24, agent.as_dict())
    assert found["reference"] == {"name": "BayesDual"} | other.as_dict()
    for name in ("budget", "oracle_revenue"):
        assert found["agent"][name] == found["reference"][name]
    ahead = found["roas_difference"]
    assert ahead["value"] == agent.metrics.roas - other.metrics.roas
    assert ahead["low"] < ahead["value"] < ahead["high"]
    (row,) = [row for row in runs(here)[0].history if own(row, "evaluation")]
    assert row["evaluation/roas"] == row["evaluation/agent/roas"] == agent.metrics.roas
    assert row["evaluation/reference/roas"] == other.metrics.roas
    assert agent.metrics.delivery < 0.9  # it bids too little, which is what its ROAS comes of
    assert row["evaluation/roas_difference/verdict"] == ahead["verdict"] == "undelivered"


def test_the_reference_bidder_itself_ties_exactly(off):
    trainer = IntegratedGAELPTrainer("trip", False, FIXED.replace({"agent_type": "BayesDual"}))
    assert trainer.evaluate(24)["roas_difference"] == {"value": 0.0, "low": 0.0, "high": 0.0, "verdict": "tie"}


def test_an_own_environment_has_no_reference_and_no_real_data(shop):
    shop()
    trainer = flown(SHOP, "shop")
    found = trainer.evaluate(16)
    assert set(found) == {"episodes", "agent"}
    assert found["agent"]["roas"] == found["agent"]["revenue"] / found["agent"]["cost"]
    assert trainer.reference_episodes() == []
    with pytest.raises(MarketError, match="the environment 'shop:Shop' has no real campaigns to be compared with"):
        trainer.evaluate_on_real_data()


def test_real_data_is_simulated_as_often_as_asked(off):
    trainer = IntegratedGAELPTrainer("trip", False, FIXED)
    few, many = trainer.evaluate_on_real_data(2), trainer.evaluate_on_real_data(n_samples=50)
    assert (few["samples"], many["samples"], trainer.evaluate_on_real_data()["samples"]) == (2, 50, 100)
    assert few["roas_mae_noise_floor"] == many["roas_mae_noise_floor"]
    assert few["roas_mae"] != many["roas_mae"]
    assert trainer.evaluate_on_real_data(2) == few
    with pytest.raises(ConfigError, match="0: must be at least 1"):
        trainer.evaluate_on_real_data(0)


def test_every_error_on_real_data_is_measured_beside_its_noise_floor(off):
    found = IntegratedGAELPTrainer("trip", False, FIXED.replace({"market": "kag-social"})).evaluate_on_real_data(20)
    for name in ("mae", "rmse", "correlation", "accuracy_within_1x"):
        assert math.isfinite(found[f"roas_{name}"])
        assert math.isfinite(found[f"roas_{name}_noise_floor"])
    assert found["market"] == "kag-social"


def test_a_market_without_real_campaigns_is_refused_with_the_remedy(off):
    text = yaml.safe_load((PRESETS / "airfrance-search.yaml").read_text(encoding="utf-8"))
    del text["held_out"]
    Path("bare.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")
    trainer = IntegratedGAELPTrainer("trip", False, FIXED.replace({"market": "bare.yaml"}))
    with pytest.raises(MarketError, match=r"has no `held_out` campaigns to be compared with: `gaelp-ray calibrate`"):
        trainer.evaluate_on_real_data()


def test_reference_flies_the_very_flights_of_the_training(off):
    trainer = flown(SMALL)
    theirs = trainer.reference_episodes()
    for name in ("episode", "budget", "oracle_revenue", "steps"):
        assert [episode[name] for episode in theirs] == [episode[name] for episode in trainer.results]
    assert all(list(episode) == list(trainer.results[0]) for episode in theirs)
    assert all(a["total_cost"] != b["total_cost"] for a, b in zip(theirs, trainer.results, strict=True))
    # What BayesDual earns of them by itself: its own training has the same flights, and it neither explores nor learns.
    alone = flown(SMALL.replace({"agent_type": "BayesDual"}), "BayesDual")
    assert theirs == alone.results == alone.reference_episodes()


def test_of_a_long_training_the_reference_flies_evenly_chosen_batches(off, monkeypatch):
    monkeypatch.setattr(module, "COMPARED", 12)
    monkeypatch.setattr(module, "BLOCKS", 3)
    trainer = flown(FIXED, episodes=36)
    theirs = trainer.reference_episodes()
    assert [episode["episode"] for episode in theirs] == [1, 2, 3, 4, 17, 18, 19, 20, 33, 34, 35, 36]
    for episode in theirs:
        ours = trainer.results[episode["episode"] - 1]
        assert (ours["budget"], ours["oracle_revenue"]) == (episode["budget"], episode["oracle_revenue"])
    assert trainer.reference_episodes() is theirs  # flown once
    asyncio.run(trainer.train(40))
    assert trainer.reference_episodes()[-1]["episode"] == 40


def test_before_the_first_episode_there_is_nothing_to_compare_or_draw(off):
    trainer = IntegratedGAELPTrainer("trip", False, FIXED)
    assert trainer.reference_episodes() == []
    assert trainer.finish_training() == Path("gaelp_results_trip.json")
    assert trainer.picture is None
    assert json.loads(Path("gaelp_results_trip.json").read_text(encoding="utf-8"))["results"] == []
