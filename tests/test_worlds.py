"""Markets and own environments behind the same functions, and models of the latter."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from gaelp_ray import load_best
from gaelp_ray.checkpoint import Model, load_model, save_model
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.errors import ConfigError, MarketError, ModelError, OwnEnvError
from gaelp_ray.market import load_market
from gaelp_ray.market.market import PRESETS, market_from
from gaelp_ray.simulator.own import OwnEnv
from gaelp_ray.training import evaluate, flight_seed, make_untrained, train
from gaelp_ray.worlds import (
    MARKET_FIELDS,
    market_named,
    other_channels,
    reference_for,
    untrained,
    world_from,
    world_of,
)

KEYS = {"env": "shop:Shop", "num_episodes": 16, "batch_size": 8, "ppo": {"reference": "none"}}


def elsewhere(monkeypatch, tmp_path, name="elsewhere"):
    """Another process in another folder, as far as imports can tell."""
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path)])
    sys.modules.pop("shop", None)


@pytest.fixture
def saved(shop, tmp_path):
    """A trained model of the shop in tmp_path/model, and its agent."""
    shop()
    config = GAELPExperimentConfig(**KEYS)
    env, agent = make_untrained(config)
    learned = [iteration.learning for iteration in train(env, agent, config)]
    assert len(learned) == 2 and all(np.isfinite(list(numbers.values())).all() for numbers in learned)
    save_model(tmp_path / "model", Model(agent, config, world_of(config), {}))
    return agent


def test_a_configuration_names_a_market_or_an_environment(shop, tmp_path):
    shop()
    assert world_of(GAELPExperimentConfig()) == load_market("airfrance-search")
    world = world_of(GAELPExperimentConfig(**KEYS))
    assert world == OwnEnv(env="shop:Shop", folder=str(tmp_path)) == world_from(world.model_dump(mode="json"), "here")
    assert world_of(GAELPExperimentConfig(**KEYS), "/mine") == OwnEnv(env="shop:Shop", folder="/mine")
    assert reference_for(world) is None


def test_plain_values_that_are_no_environment_are_refused_with_their_place():
    with pytest.raises(MarketError, match=r"^model\.json: Extra inputs are not permitted$"):
        world_from({"env": "shop:Shop", "foldr": "x"}, "model.json")


@pytest.mark.parametrize("path", ["shop", "shop:", ":Shop", "shop.py:Shop", "my-shop:Shop", "a/shop:Shop", "a:b:c", ""])
def test_a_malformed_import_path_is_refused(path):
    with pytest.raises(ConfigError) as refused:
        GAELPExperimentConfig(env=path)
    ((field, text),) = refused.value.problems
    assert field == "env" and text.startswith(f"{path!r} is no import path: write module:Class, such as shop:Shop")


@pytest.mark.parametrize(
    ("changes", "field", "text"),
    [
        ({"agent_type": "BayesDual"}, "agent_type", "BayesDual bids in markets only. With an env of your own: PPO, sb"),
        ({"agent_type": "CEM", "batch_size": 16}, "agent_type", "CEM bids in markets only"),
        ({"agent_type": "PID"}, "agent_type", "PID bids in markets only"),
        ({"ppo": {}}, "ppo.reference", "PPO would correct BayesDual, which bids in markets only: with an env"),
        ({"ppo": {"reference": "PID"}}, "ppo.reference", "PPO would correct PID"),
        ({"agent_type": "sb3:A2C"}, "sb3.reference", "sb3:A2C would correct BayesDual"),
    ],
)  # fmt: skip
def test_agents_that_know_markets_only_do_not_fly(shop, changes, field, text):
    shop()
    config = GAELPExperimentConfig(**{**KEYS, **changes})
    with pytest.raises(ConfigError) as refused:
        untrained(world_of(config), config)
    ((where, what),) = refused.value.problems
    assert where == field and what.startswith(text)


def test_fields_of_markets_are_fields():
    assert set(MARKET_FIELDS) < set(GAELPExperimentConfig.model_fields)


def test_a_model_flies_the_same_from_another_folder(saved, tmp_path, monkeypatch):
    before = evaluate(saved, world_of(GAELPExperimentConfig(**KEYS)), 32, [0, 5])
    elsewhere(monkeypatch, tmp_path)
    model = load_model(tmp_path / "model")
    assert model.market == OwnEnv(env="shop:Shop", folder=str(tmp_path))
    after = evaluate(model.agent, model.market, 32, [0, 5])
    np.testing.assert_array_equal(after.totals.revenue, before.totals.revenue)
    assert after.metrics.steps == before.metrics.steps


def plain_flights(agent, seed, number):
    """(cost, revenue) of flights of the bare environment, one by one, on the seeds of a batch of evaluate()."""
    env, sums = importlib.import_module("shop").Shop(), []
    for one in np.random.SeedSequence(flight_seed(seed)).generate_state(number):
        obs, _ = env.reset(seed=int(one))
        agent.begin(1, np.random.default_rng(0))
        ended = False
        while not ended:
            action = agent.act(obs)
            assert env.action_space.contains(action)
            obs, _, ended, *_, info = env.step(action)
        sums.append((info["cost"], info["revenue"]))
    return np.array(sums).T


def test_load_best_acts_in_an_own_environment_as_evaluate_does(saved, tmp_path):
    judged = evaluate(saved, world_of(GAELPExperimentConfig(**KEYS)), 32, [0, 5]).totals
    cost, revenue = plain_flights(load_best(tmp_path / "model"), [0, 5, 0], 32)
    np.testing.assert_allclose(cost, judged.cost, rtol=1e-5)
    np.testing.assert_allclose(revenue, judged.revenue, rtol=1e-5)


def test_load_best_acts_in_a_vector_of_own_environments(shop, tmp_path):
    shop({"2 + int(self.np_random.integers(4))": "3"})  # SyncVectorEnv resets flights at their ends
    config = GAELPExperimentConfig(**KEYS)
    save_model(tmp_path / "model", Model(untrained(world_of(config), config), config, world_of(config), {}))
    model = load_model(tmp_path / "model")
    judged = evaluate(model.agent, model.market, 32, [0, 5]).totals
    agent, flights = load_best(tmp_path / "model"), SyncVectorEnv([model.market.make] * 32)
    seeds = np.random.SeedSequence(flight_seed([0, 5, 0])).generate_state(32)
    obs, _ = flights.reset(seed=seeds.tolist())
    agent.begin(32, np.random.default_rng(0))
    for _ in range(3):
        action = agent.act(obs)
        assert flights.action_space.contains(action)
        obs, *_, info = flights.step(action)
    np.testing.assert_array_equal(info["cost"], judged.cost)
    np.testing.assert_array_equal(info["revenue"], judged.revenue)


@pytest.mark.parametrize(
    ("obs", "complaint"),
    [
        (np.zeros(3), "act() was given an observation of shape (3,); its space has (2,)"),
        (np.zeros((4, 1)), "act() was given an observation of shape (1,); its space has (2,)"),
        ([0.0, np.nan], "act() has nan in its observation: every number must be finite"),
    ],
)
def test_load_best_refuses_observations_of_another_environment(saved, tmp_path, obs, complaint):
    with pytest.raises(OwnEnvError) as refused:
        load_best(tmp_path / "model").act(obs)
    assert str(refused.value) == f"env 'shop:Shop': {complaint}"


def test_load_best_without_the_environments_module_is_one_line(saved, tmp_path, monkeypatch):
    (tmp_path / "shop.py").unlink()
    elsewhere(monkeypatch, tmp_path)
    with pytest.raises(OwnEnvError) as refused:
        load_best(tmp_path / "model")
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"env 'shop:Shop': no module 'shop' in {tmp_path} or {tmp_path / 'elsewhere'}, nor among")
    assert line.endswith("run in the folder that holds it, or add that folder to PYTHONPATH")


def test_on_another_machine_the_module_is_looked_for_where_the_command_runs(saved, tmp_path, monkeypatch):
    there = tmp_path / "there"
    there.mkdir()
    shutil.move("shop.py", there / "shop.py")
    elsewhere(monkeypatch, tmp_path, "there")
    assert load_model(tmp_path / "model").market.name == "shop:Shop"


def test_a_model_whose_module_is_gone_says_where_it_was_looked_for(saved, tmp_path, monkeypatch):
    Path("shop.py").unlink()
    elsewhere(monkeypatch, tmp_path)
    with pytest.raises(OwnEnvError) as refused:
        load_model(tmp_path / "model")
    looked = f"no module 'shop' in {tmp_path} or {tmp_path / 'elsewhere'}, nor among the installed packages"
    assert looked in str(refused.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"gamma(4.0, 0.5)": "gamma(4.0, 0.6)"},
        # Its arrays do not even fit any more; that is not what is wrong.
        {"(2,), np.float32)": "(3,), np.float32)", "[self.day / 5.0,": "[0.0, self.day / 5.0,"},
    ],
)
def test_a_changed_environment_is_another_one(saved, shop, tmp_path, changes):
    shop(changes)
    with pytest.raises(ModelError) as refused:
        load_model(tmp_path / "model")
    assert str(refused.value) == (
        f"{tmp_path / 'model'}: the source of 'shop:Shop' has changed since the model was trained, and a changed "
        "environment is another one: restore its module as it was, or sweep again"
    )


def test_a_model_of_an_environment_is_for_no_market(saved, tmp_path):
    model = load_model(tmp_path / "model")
    with pytest.raises(ModelError, match="flies in the environment 'shop:Shop', no market: leave --market out"):
        model.require_market(load_market("airfrance-search"))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("airfrance-search", {}),
        ("airfrance-search@realistic", {}),
        ("airfrance-search@nominal", {"departures": "nominal"}),
        ("airfrance-search@heterogeneity=1.0, first_price", {"heterogeneity": 1.0, "auction": "first_price"}),
        (
            "airfrance-search@conversion_delay=24,fatigue_half_life=2",
            {"conversion_delay": 24.0, "fatigue_half_life": 2.0},
        ),
    ],
)
def test_a_market_is_named_with_what_is_changed_of_it(text, values):
    assert market_named(text).hash == world_of(GAELPExperimentConfig(**values)).hash


def test_a_file_is_named_as_well_and_may_have_an_at_in_its_path(tmp_path):
    folder = tmp_path / "me@home"
    folder.mkdir()
    shutil.copyfile(str(PRESETS / "airfrance-search.yaml"), folder / "mine.yaml")
    assert market_named(f"{folder}/mine.yaml").hash == load_market("airfrance-search").hash
    nominal = load_market("airfrance-search").variant("nominal")
    assert market_named(f"{folder}/mine.yaml@nominal").hash == nominal.hash


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mars@nominal", "unknown market 'mars'"),
        (
            "airfrance-search@easy",
            "market 'airfrance-search@easy': unknown 'easy' after the @. Known: conversion_delay",
        ),
        ("airfrance-search@heterogenity=1", "Did you mean 'heterogeneity'?"),
        ("airfrance-search@heterogeneity", "write heterogeneity=NUMBER"),
        ("airfrance-search@heterogeneity=x", "heterogeneity: 'x' is not a number"),
        ("airfrance-search@heterogeneity=9", "market 'airfrance-search@heterogeneity=9': heterogeneity: 9.0 should be"),
        ("airfrance-search@heterogeneity=nan", "heterogeneity: nan should be"),
        ("airfrance-search@nominal=1", "nominal has no value"),
        ("airfrance-search@", "unknown '' after the @"),
    ],
)
def test_a_market_named_wrongly_is_one_clear_line(text, problem):
    with pytest.raises(MarketError) as refused:
        market_named(text)
    assert problem in str(refused.value) and "\n" not in str(refused.value)


def test_an_agent_bids_in_markets_of_the_same_channels_in_the_same_order():
    mine = load_market("airfrance-search")
    data, rows = mine.model_dump(mode="json"), mine.model_dump(mode="json")["channels"]["rows"]

    def with_rows(rows):
        return market_from(data | {"held_out": None, "channels": data["channels"] | {"rows": rows}}, "theirs")

    assert other_channels(mine, mine.variant("nominal")) == ""
    swapped = other_channels(mine, with_rows([*rows[:2], rows[3], rows[2], *rows[4:]]))
    assert swapped.endswith(f"not for the 7 of 'airfrance-search' ({rows[3]['name']!r}, ...)")
    assert other_channels(mine, with_rows(rows[:3])).endswith(f"the 3 of 'airfrance-search' ({rows[0]['name']!r}, ...)")
