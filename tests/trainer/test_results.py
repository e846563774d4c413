"""What a training has come to: episodes, backup, evaluation beside the reference bidder and on real campaigns."""

import asyncio
import json
import math
from pathlib import Path
from unittest.mock import Mock

import pytest
import yaml
from trainings import FIXED, MARKET, SHOP, SMALL, episode_rows, flown, own, runs, said

from gaelp_ray import IntegratedGAELPTrainer
from gaelp_ray import trainer as module
from gaelp_ray.agents import reference_bidder
from gaelp_ray.errors import ConfigError, MarketError
from gaelp_ray.market.market import PRESETS
from gaelp_ray.training import Stream, evaluate


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
    ahead = found["expected_delivered_roas_difference"]
    scores = [found.metrics.expected_delivered_roas for found in (agent, other)]
    assert ahead["difference"] == scores[0] - scores[1]
    assert ahead["low"] < ahead["difference"] < ahead["high"]
    (row,) = [row for row in runs(here)[0].history if own(row, "evaluation")]
    assert row["evaluation/roas"] == row["evaluation/agent/roas"] == agent.metrics.roas
    assert row["evaluation/reference/roas"] == other.metrics.roas
    assert agent.metrics.delivery < 0.9  # it bids too little
    assert row["evaluation/expected_delivered_roas_difference/verdict"] == ahead["verdict"] == "below"


def test_the_reference_bidder_itself_ties_exactly(off):
    trainer = IntegratedGAELPTrainer("trip", False, FIXED.replace({"agent_type": "BayesDual"}))
    assert trainer.evaluate(24)["expected_delivered_roas_difference"] == {
        "difference": 0.0,
        "low": 0.0,
        "high": 0.0,
        "verdict": "tie",
    }


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
    assert all(a["total_clicks"] != b["total_clicks"] for a, b in zip(theirs, trainer.results, strict=True))
    # What BayesDual earns of them by itself: its own training has the same flights, and it neither explores nor learns.
    alone = flown(SMALL.replace({"agent_type": "BayesDual"}), "BayesDual")
    assert theirs == alone.results == alone.reference_episodes()


def test_of_a_long_training_the_reference_flies_evenly_chosen_batches(off, monkeypatch):
    monkeypatch.setattr(module, "COMPARED", 12)
    monkeypatch.setattr(module, "BLOCKS", 3)
    flown_again = Mock(side_effect=module.fly_as_trained)
    monkeypatch.setattr(module, "fly_as_trained", flown_again)
    trainer = flown(FIXED, episodes=36)
    assert [call.args[3] for call in flown_again.call_args_list] == [1, 5, 9]
    theirs = trainer.reference_episodes()
    assert [episode["episode"] for episode in theirs] == [1, 2, 3, 4, 17, 18, 19, 20, 33, 34, 35, 36]
    for episode in theirs:
        ours = trainer.results[episode["episode"] - 1]
        assert (ours["budget"], ours["oracle_revenue"]) == (episode["budget"], episode["oracle_revenue"])
    assert flown_again.call_count == 3  # while the agent trained, and once
    asyncio.run(trainer.train(40))
    assert trainer.reference_episodes()[-1]["episode"] == 40


def test_roas_vs_bayesdual_is_logged_where_bayesdual_flew_all_ten(off, monkeypatch):
    monkeypatch.setattr(module, "COMPARED", 8)
    monkeypatch.setattr(module, "BLOCKS", 1)
    trainer = IntegratedGAELPTrainer("trip", False, FIXED.replace({"batch_size": 20}))
    logged = Mock()
    monkeypatch.setattr(trainer.tracker, "log_batch_metrics", logged)
    asyncio.run(trainer.train(60))
    references = [call.args[2] for call in logged.call_args_list]
    assert [[e["episode"] for e in reference] for reference in references] == [
        list(range(1, 11)), list(range(11, 21)), [], [], [], []
    ]  # fmt: skip


def test_roas_vs_bayesdual_is_not_logged_in_an_own_environment(shop, monkeypatch):
    shop()
    trainer = IntegratedGAELPTrainer("shop", False, SHOP)
    logged = Mock()
    monkeypatch.setattr(trainer.tracker, "log_batch_metrics", logged)
    asyncio.run(trainer.train(20))
    assert [call.args[2] for call in logged.call_args_list] == [(), ()]


def test_before_the_first_episode_there_is_nothing_to_compare_or_draw(off):
    trainer = IntegratedGAELPTrainer("trip", False, FIXED)
    assert trainer.reference_episodes() == []
    assert trainer.finish_training() == Path("gaelp_results_trip.json")
    assert trainer.picture is None
    assert json.loads(Path("gaelp_results_trip.json").read_text(encoding="utf-8"))["results"] == []
