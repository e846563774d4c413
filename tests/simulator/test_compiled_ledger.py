"""Books kept by C have the bits of ledger.py, in every market, and its environment is the same with and without it."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

from gaelp_ray.core import library
from gaelp_ray.market import load_market
from gaelp_ray.market.auction import Outcome
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.simulator.campaign import AdCampaignVectorEnv
from gaelp_ray.simulator.compiled_ledger import CompiledLedger, ledger_of
from gaelp_ray.simulator.ledger import Ledger

LANDSCAPE = load_market("airfrance-search").landscape
CONDITIONS = {
    "base": {},
    "delay": {"report_rate": 0.1},
    "fatigue": {"fatigue_rate": 0.7},
    "caps": {"spend_cap": np.full(LANDSCAPE.channels, 0.3)},
}


def outcome_of(rng, landscape, flights):
    shape = flights, landscape.channels
    clicks = rng.poisson(np.exp(rng.uniform(-3.0, 5.0, shape)))
    conversions = rng.binomial(clicks, 0.2)
    openness = (flights, 1) if (landscape.spend_cap >= 1.0).all() else shape
    return Outcome(
        impressions=clicks + rng.poisson(1000.0, shape),
        clicks=clicks,
        cost=clicks * rng.uniform(0.0, 1.0, shape),
        conversions=conversions,
        revenue=conversions * rng.uniform(0.0, 100.0, shape),
        pending=rng.poisson(3.0, shape),
        win_rate=rng.uniform(0.0, 1.0, shape),
        price=landscape.cpc * np.exp(rng.normal(0.0, 1.0, shape)),
        open=rng.random(openness) < 0.9,
    )


def equal_bits(ours, theirs):
    return (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape) and ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("flights", [1, 150])
def test_every_hour_of_a_flight(libraries, condition, flights):
    landscape = replace(LANDSCAPE, **CONDITIONS[condition])
    for level, loaded in libraries.items():
        rng = np.random.default_rng(4)
        budget = landscape.budget * np.exp(rng.uniform(-1.0, 1.0, flights))
        ours, numpys = CompiledLedger(loaded, landscape, budget), Ledger(landscape, budget)
        assert equal_bits(ours.observe(), numpys.observe())
        for hour in range(HOURS):
            outcome, rate = outcome_of(rng, landscape, flights), rng.uniform(0.0, 0.2, (flights, landscape.channels))
            bids = landscape.bid * np.exp(rng.uniform(-2.0, 2.0, rate.shape))
            assert equal_bits(ours.book(outcome, rate, bids), numpys.book(outcome, rate, bids))
            assert equal_bits(ours.observe(), numpys.observe()), f"{level}: hour {hour}"
            assert equal_bits(ours.log_fatigue, numpys.log_fatigue)
            assert np.array_equal(ours.pending, numpys.pending)
            assert equal_bits(ours.purse.flight, numpys.purse.flight)
        sums = numpys.sums()
        assert all(equal_bits(ours.sums()[name], values) for name, values in sums.items())


def flown(condition):
    """Observations and rewards of 168 hours, and the sums of the last."""
    market = load_market("airfrance-search")
    env = AdCampaignVectorEnv(30, market, reward="expected_ROAS")
    env.landscape = replace(market.landscape, **CONDITIONS[condition])
    rng, seen = np.random.default_rng(2), [env.reset(seed=9)[0]]
    for _ in range(HOURS):
        observation, reward, _, _, info = env.step(rng.uniform(-1.0, 0.3, env.action_space.shape).astype(np.float32))
        seen += [observation, reward]
    return seen + [info[name] for name in sorted(info)]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_flights_are_the_same_without_the_core(libraries, condition, monkeypatch):
    level, loaded = next(iter(libraries.items()))
    core = library.Core(loaded, level)
    for module in ("core.functions", "market.compiled_auction", "simulator.compiled_ledger", "simulator.hidden"):
        monkeypatch.setattr(f"gaelp_ray.{module}.load", lambda: core)
    assert isinstance(ledger_of(LANDSCAPE, np.ones(3)), CompiledLedger)
    compiled = flown(condition)
    core = library.Core(None, "numpy")
    assert not isinstance(ledger_of(LANDSCAPE, np.ones(3)), CompiledLedger)
    assert all(equal_bits(ours, numpys) for ours, numpys in zip(compiled, flown(condition), strict=True))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_environment_is_copied_in_the_middle_of_a_flight(copied):
    env = AdCampaignVectorEnv(5, load_market("airfrance-search"))
    env.reset(seed=1)
    actions = np.full(env.action_space.shape, -0.3, np.float32)
    for _ in range(20):
        env.step(actions)
    other = copied(env)
    for _ in range(20):
        ours, others = env.step(actions), other.step(actions)
        assert all(equal_bits(a, b) for a, b in zip(ours[:2], others[:2], strict=True))
    assert all(
        equal_bits(a, b)
        for a, b in zip(vars(env.totals()).values(), vars(other.totals()).values(), strict=True)
        if isinstance(a, np.ndarray)
    )


def test_observation_handed_out_stays_as_it_was(libraries):
    ledger = CompiledLedger(next(iter(libraries.values())), LANDSCAPE, np.full(2, LANDSCAPE.budget))
    first = ledger.observe()
    kept = first.copy()
    first += 1.0
    assert equal_bits(ledger.observe(), kept)
