"""Hours planned in C have the bits of dual.Planner: every market that C serves, constant and instruction set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from price_shapes import SHAPES, of_channels

from gaelp_ray.agents import compiled_dual
from gaelp_ray.agents.compiled_dual import compiled_planner
from gaelp_ray.agents.dual import BayesDual, Planner
from gaelp_ray.core import library
from gaelp_ray.core.dual import CompiledDual
from gaelp_ray.market import load_market
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.market.observation import PER_CHANNEL, pack
from gaelp_ray.market.prices import Pricing
from gaelp_ray.sections import DualConfig

LANDSCAPE = load_market("airfrance-search").landscape
CAPS = np.linspace(0.05, 1.0, LANDSCAPE.channels)
CONDITIONS = {
    "base": {},
    "delay": {"report_rate": 0.1},
    "fatigue": {"fatigue_rate": 0.7},
    "caps": {"spend_cap": CAPS},
    "all": {"report_rate": 0.3, "fatigue_rate": 2.0, "spend_cap": CAPS, "conversion_rate_drift": 0.02},
}
RANGES = {
    "prior_strength": (0.2, 3.0),
    "volume_prior_strength": (0.2, 3.0),
    "optimism": (-1.0, 1.0),
    "pacing_shade": (-0.3, 0.3),
    "shade": (-0.1, 0.1),
    "traffic_use": (0.0, 2.0),
    "forgetting": (0.0, 0.05),
    "price_tracking": (0.0, 1.5),
    "drift_tracking": (0.0, 2.0),
    "traffic_noise": (0.3, 3.0),
}
SEEN_HOURS = (*range(30), 100, 143, 144, 166, 167)


@pytest.fixture
def rng():
    return np.random.default_rng(8)


def config_of(rng, flights, traffic="counts"):
    """Constants of every flight, (B, 1), as CEM has them."""
    own = {name: rng.uniform(*bounds, (flights, 1)) for name, bounds in RANGES.items()}
    return DualConfig(traffic=traffic).model_copy(update=own)


def observations(rng, channels, flights, t):
    """Anything that flights may show in hour t: none to thousands of clicks, bids that win nothing or everything."""
    shape = flights, channels
    clicks = np.exp(rng.uniform(-1.0, 3.0, shape)) * (t + 1.0) * rng.choice([0.0, 1.0], shape, p=[0.1, 0.9])
    expected = clicks * np.exp(rng.normal(0.0, 0.5, shape))
    win_rate = np.where(rng.random(shape) < 0.2, rng.choice([0.0, 1e-7, 1e-5, 0.99999, 1.0], shape), rng.random(shape))
    spent = rng.dirichlet(np.ones(channels + 1), flights)
    angle = 2.0 * np.pi * (t % 24) / 24
    return pack(
        dict.fromkeys(PER_CHANNEL, np.zeros(shape))
        | {
            "log_conversion_rate_ratio": rng.normal(0.0, 0.7, shape),
            "win_rate": win_rate,
            "log_price_ratio": rng.normal(0.0, 0.7, shape),
            "log_clicks": np.log1p(np.rint(clicks)),
            "log_expected_clicks": np.log1p(expected),
            "spend_share": spent[:, :-1],
            "log_fatigue": -rng.exponential(0.3, shape),
        },
        {
            "time_left": np.full(flights, 1.0 - t / HOURS),
            "budget_left": spent[:, -1] * rng.choice([0.0, 1.0], flights, p=[0.05, 0.95]),
            "pacing_error": np.zeros(flights),
            "hour_sin": np.full(flights, np.sin(angle)),
            "hour_cos": np.full(flights, np.cos(angle)),
            "log_budget": rng.normal(0.0, 1.0, flights),
        },
    )


def memory(planner):
    return [planner.log_multiplier, planner.first_multiplier, *planner.traffic]


def assert_plans_are_equal(monkeypatch, libraries, config, landscape, seen):
    flights = len(next(iter(seen.values())))
    for level, loaded in libraries.items():
        core = library.Core(loaded, level)
        monkeypatch.setattr(compiled_dual, "load", lambda core=core: core)
        ours, numpys = compiled_planner(config, landscape, flights), Planner(config, landscape, flights)
        for t, obs in seen.items():
            assert ours.plan(obs, t).tobytes() == numpys.plan(obs, t).tobytes(), f"{level}: hour {t}"
            pairs = zip(memory(ours), memory(numpys), strict=True)
            assert all(a.tobytes() == np.ascontiguousarray(b).tobytes() for a, b in pairs), f"{level}: hour {t}"


@pytest.mark.parametrize("traffic", ["counts", "filter"])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_hours_of_every_market(libraries, monkeypatch, rng, condition, traffic):
    landscape = replace(LANDSCAPE, **CONDITIONS[condition])
    seen = {t: observations(rng, landscape.channels, 150, t) for t in SEEN_HOURS}
    assert_plans_are_equal(monkeypatch, libraries, config_of(rng, 150, traffic), landscape, seen)
    assert_plans_are_equal(monkeypatch, libraries, DualConfig(traffic=traffic), landscape, seen)


@pytest.mark.parametrize("auction", ["second_price", "first_price"])
@pytest.mark.parametrize("name", ["airfrance-search", "ipinyou-display", "kag-social"])
def test_hours_of_shipped_markets(libraries, monkeypatch, rng, name, auction):
    landscape = load_market(name).variant(auction=auction, fatigue_half_life=1.0).landscape
    landscape = replace(landscape, spend_cap=np.linspace(0.05, 1.0, landscape.channels))
    seen = {t: observations(rng, landscape.channels, 70, t) for t in (0, 1, 24, 100)}
    assert_plans_are_equal(monkeypatch, libraries, config_of(rng, 70), landscape, seen)


@pytest.fixture(params=[1, 20])
def landscape(request):
    return of_channels(LANDSCAPE, request.param)


@pytest.mark.parametrize("first_price", [False, True], ids=["second price", "first price"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_kind_of_prices(libraries, monkeypatch, landscape, shape, first_price):
    rng, channels = np.random.default_rng(3), landscape.channels
    landscape = replace(landscape, pricing=Pricing(SHAPES[shape](rng, channels), first_price))
    harder = replace(landscape, fatigue_rate=0.7, spend_cap=rng.uniform(0.05, 1.0, channels))
    seen = {t: observations(rng, channels, 70, t) for t in (0, 1, 50)}
    assert_plans_are_equal(monkeypatch, libraries, config_of(rng, 70), landscape, seen)
    assert_plans_are_equal(monkeypatch, libraries, config_of(rng, 70), harder, seen)


@pytest.mark.parametrize("traffic", ["counts", "filter"])
def test_plan_of_a_flight_does_not_depend_on_the_others(libraries, monkeypatch, rng, traffic):
    landscape = replace(LANDSCAPE, **CONDITIONS["all"])
    config, seen = config_of(rng, 150, traffic), {t: observations(rng, landscape.channels, 150, t) for t in range(5)}
    chosen = np.array([3, 64, 149])
    alone = config.model_copy(update={name: getattr(config, name)[chosen] for name in RANGES})
    monkeypatch.setattr(compiled_dual, "load", lambda: library.Core(next(iter(libraries.values())), ""))
    every, some = compiled_planner(config, landscape, 150), compiled_planner(alone, landscape, 3)
    for t, obs in seen.items():
        assert every.plan(obs, t)[chosen].tobytes() == some.plan(obs[chosen], t).tobytes()


def test_first_plan_may_be_made_in_any_hour(libraries, monkeypatch, rng):
    seen = {t: observations(rng, LANDSCAPE.channels, 10, t) for t in (40, 41)}
    assert_plans_are_equal(monkeypatch, libraries, DualConfig(), LANDSCAPE, seen)


def test_numpy_plans_without_the_core(libraries, monkeypatch):
    monkeypatch.setattr(compiled_dual, "load", lambda: library.Core(next(iter(libraries.values())), ""))
    assert isinstance(compiled_planner(DualConfig(), LANDSCAPE, 3), CompiledDual)
    monkeypatch.setattr(compiled_dual, "load", lambda: library.Core(None, "numpy"))
    assert compiled_planner(DualConfig(), LANDSCAPE, 3) is None


def test_bids_and_insights_of_bayes_dual_are_the_same_with_and_without_the_core(libraries, monkeypatch, rng):
    seen, kept = {t: observations(rng, LANDSCAPE.channels, 5, t) for t in range(3)}, []
    for loaded in (next(iter(libraries.values())), None):
        monkeypatch.setattr(compiled_dual, "load", lambda loaded=loaded: library.Core(loaded, ""))
        bidder = BayesDual(DualConfig(), LANDSCAPE)
        bidder.begin(5, rng)
        assert (bidder.planner() is None) == (loaded is None)
        kept.append([array.tobytes() for obs in seen.values() for array in (bidder.act(obs), bidder.insight())])
    assert kept[0] == kept[1]
