"""Flights that C flies whole have the bits of single steps, in every market that it serves."""

from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from gaelp_ray.agents.dual import BayesDual
from gaelp_ray.core import flight, library
from gaelp_ray.market import load_market
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.sections import DualConfig
from gaelp_ray.simulator.campaign import AdCampaignVectorEnv

MARKET = load_market("airfrance-search")
LANDSCAPE = MARKET.landscape
CAPS = np.linspace(0.05, 1.0, LANDSCAPE.channels)
CONDITIONS = {
    "base": {},
    "delay": {"report_rate": 0.1},
    "fatigue": {"fatigue_rate": 0.7},
    "caps": {"spend_cap": CAPS},
    "poor": {"budget": 5.0},
    "rich": {"budget": 3e6, "volume": 100.0 * LANDSCAPE.volume},
    "first price": {"pricing": replace(LANDSCAPE.pricing, first_price=True)},
    "all": {"report_rate": 0.3, "fatigue_rate": 2.0, "spend_cap": CAPS, "conversion_rate_drift": 0.02},
}
LOADED = (
    *("core.functions", "market.compiled_auction", "agents.compiled_dual"),
    *("simulator.compiled_ledger", "simulator.compiled_flight", "simulator.hidden", "simulator.oracle"),
)


def started(condition="base", flights=70, first_flight=0, traffic="counts", **kwargs):
    """An environment and a bidder at the start of flights."""
    env = AdCampaignVectorEnv(flights, **({"market": MARKET} | kwargs))
    env.landscape = replace(env.landscape, **CONDITIONS[condition])
    bidder = BayesDual(DualConfig(traffic=traffic), env.landscape)
    bidder.begin(flights, np.random.default_rng(0))
    return env, bidder, env.reset(seed=9, options={"first_flight": first_flight} if first_flight else None)[0]


def left(rewards, env, bidder, info):
    """Everything that flights leave, as bytes by name."""
    arrays = info | {"rewards": rewards, "observation": env._ledger.observe(), "insight": bidder.insight()}
    arrays |= {"fatigue": env._ledger.log_fatigue, "pending": np.asarray(env._ledger.pending)}
    return {name: np.ascontiguousarray(array).tobytes() for name, array in arrays.items()}


def by_steps(*args, **kwargs):
    env, bidder, obs = started(*args, **kwargs)
    rewards = []
    for _ in range(HOURS):
        obs, reward, _, _, info = env.step(bidder.act(obs))
        rewards.append(reward)
    return left(np.stack(rewards), env, bidder, info)


def in_c(*args, **kwargs):
    env, bidder, _ = started(*args, **kwargs)
    rewards, info = env.fly(bidder.planner())
    return left(rewards, env, bidder, info)


@pytest.fixture
def every_library(libraries, monkeypatch):
    """Loads one library after the other."""

    def load():
        for level, loaded in libraries.items():
            core = library.Core(loaded, level)
            for module in LOADED:
                monkeypatch.setattr(f"gaelp_ray.{module}.load", lambda core=core: core)
            yield level

    return load


@pytest.mark.parametrize("traffic", ["counts", "filter"])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_flights_of_every_market(every_library, condition, traffic):
    for level in every_library():
        assert in_c(condition, traffic=traffic) == by_steps(condition, traffic=traffic), level


@pytest.mark.parametrize("auction", ["second_price", "first_price"])
@pytest.mark.parametrize("name", ["airfrance-search", "ipinyou-display", "kag-social"])
def test_flights_of_shipped_markets(every_library, name, auction):
    market = load_market(name).variant(auction=auction)
    for level in every_library():
        assert in_c(market=market) == by_steps(market=market), level


@pytest.mark.parametrize("reward", ["ROAS_optimized", "expected_ROAS", "regret"])
@pytest.mark.parametrize("batch", [{"flights": 1}, {"flights": 150, "copies": 3}, {"flights": 5, "first_flight": 7}])
def test_rewards_copies_and_numbers_of_flights(every_library, batch, reward):
    for level in every_library():
        assert in_c(reward=reward, **batch) == by_steps(reward=reward, **batch), level


@pytest.mark.parametrize("condition", CONDITIONS)
def test_regret_in_every_market(every_library, condition):
    for level in every_library():
        assert in_c(condition, reward="regret") == by_steps(condition, reward="regret"), level


@pytest.mark.parametrize("auction", ["second_price", "first_price"])
def test_regret_at_tabulated_prices(every_library, auction):
    market = load_market("ipinyou-display").variant(auction=auction)
    for level in every_library():
        assert in_c(market=market, reward="regret") == by_steps(market=market, reward="regret"), level


def test_room_is_made_for_hours_with_many_clicks(every_library, monkeypatch):
    next(every_library())
    expected = in_c("poor")
    monkeypatch.setattr(flight, "FIRST_ROOM", 1)
    assert in_c("poor") == expected


def test_flights_without_the_core_are_the_same(every_library, monkeypatch):
    next(every_library())
    expected = in_c("all", flights=10)
    for module in LOADED:
        monkeypatch.setattr(f"gaelp_ray.{module}.load", lambda: library.Core(None, "numpy"))
    assert by_steps("all", flights=10) == expected


def test_environment_goes_on_with_new_flights(every_library):
    next(every_library())
    env, bidder, first = started()
    env.fly(bidder.planner())
    obs, reward, terminated, _, _ = env.step(np.zeros(env.action_space.shape, np.float32))
    assert not reward.any() and not terminated.any()
    assert (obs[:, -6] == 1.0).all() and (obs != first).any()


def test_flights_that_c_does_not_serve_are_left_as_they_are(every_library):
    next(every_library())
    env, bidder, obs = started()
    bidder.begin(3, np.random.default_rng(0))
    assert env.fly(bidder.planner()) is None  # plans for other flights
    assert env._ledger.hour == 0
    bidder.begin(70, np.random.default_rng(0))
    env.step(bidder.act(obs))
    assert env.fly(bidder.planner()) is None  # an hour has been flown


def test_flights_are_reset_first():
    bidder = BayesDual(DualConfig(), LANDSCAPE)
    bidder.begin(2, np.random.default_rng(0))
    with pytest.raises(gymnasium.error.ResetNeeded):
        AdCampaignVectorEnv(2, MARKET).fly(bidder.planner())
