"""ExactBayes: what it reads out of observations, every kind of market, and how good it is."""

from dataclasses import replace

import numpy as np
import pytest

from gaelp_ray.agents import make_agent, reference_bidder
from gaelp_ray.agents.exact_bayes import Counts, ExactBayes
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.market import Market, load_market
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.market.market import market_from
from gaelp_ray.market.observation import View
from gaelp_ray.records import FlightTotals
from gaelp_ray.simulator import AdCampaignVectorEnv
from gaelp_ray.training import Stream, fly_batch

AIRFRANCE = load_market("airfrance-search")
LAND = AIRFRANCE.landscape
S = LAND.channels
SEEDS = [0, Stream.EVALUATION, 0]


def changed(market: Market, **blocks: object) -> Market:
    """The market with other blocks of its file."""
    return market_from(market.model_dump(mode="json", exclude_none=True) | blocks, market.name)


def one_channel() -> Market:
    content = AIRFRANCE.model_dump(mode="json", exclude_none=True)
    content["channels"]["rows"] = content["channels"]["rows"][:1]
    return market_from({key: block for key, block in content.items() if key != "held_out"}, "one channel")


def by_channel() -> Market:
    prices = AIRFRANCE.model_dump(mode="json", exclude_none=True)["prices"]
    rows = [
        {"channel": name, "paid_over_bid": 0.35, "log_sd": 0.5 + 0.1 * s}
        for s, name in enumerate(AIRFRANCE.channel_names)
    ]
    return changed(AIRFRANCE, prices=prices | {"by_channel": {"source": "assumed", "rows": rows}})


def with_budget(market: Market, budget: float) -> Market:
    flight = market.model_dump(mode="json", exclude_none=True)["flight"]
    return changed(market, flight=flight | {"budget": {"value": budget, "source": "assumed"}})


CAPS = {"source": "assumed", "shares": dict(zip(AIRFRANCE.channel_names, (0.2, 0.1), strict=False))}
VARIANTS = {
    "realistic": AIRFRANCE,
    "nominal": AIRFRANCE.variant("nominal"),
    "heterogeneity 0": AIRFRANCE.variant(heterogeneity=0.0),
    "nominal, heterogeneity 0": AIRFRANCE.variant("nominal", 0.0),
    "heterogeneity 1": AIRFRANCE.variant(heterogeneity=1.0),
    "heterogeneity 3": AIRFRANCE.variant(heterogeneity=3.0),
    "first price": AIRFRANCE.variant(auction="first_price"),
    "delay": AIRFRANCE.variant(conversion_delay=24.0),
    "fatigue": AIRFRANCE.variant(fatigue_half_life=1.0),
    "caps": changed(AIRFRANCE, spend_caps=CAPS),
    "one channel": one_channel(),
    "spreads by channel": by_channel(),
    "18 channels": load_market("kag-social"),
    "tables": load_market("ipinyou-display"),
    "tables, first price": load_market("ipinyou-display").variant("nominal", auction="first_price"),
}


def flown(agent: object, market: Market, flights: int) -> tuple[AdCampaignVectorEnv, np.ndarray]:
    """(the environment after whole flights, actions (T, B, S))."""
    env = AdCampaignVectorEnv(flights, market)
    obs, _ = env.reset(seed=5)
    agent.begin(flights, np.random.default_rng(0))
    actions = []
    for _ in range(HOURS):
        actions.append(agent.act(obs))
        obs, *_ = env.step(actions[-1])
    return env, np.stack(actions)


@pytest.mark.parametrize("market", VARIANTS.values(), ids=VARIANTS)
def test_in_every_market_it_plans_its_budget_and_never_exceeds_it(market: Market):
    flights = 16
    env, actions = flown(ExactBayes(market.landscape), market, flights)
    assert np.isfinite(actions).all()
    ledger = env._ledger
    assert (ledger._cost.sum(axis=1) <= ledger.budget).all()
    assert (ledger._cost <= market.landscape.spend_cap * ledger.budget[:, None]).all()
    reference, _ = flown(reference_bidder(market.landscape), market, flights)
    own, other = (each._ledger.sums()["expected_revenue"].sum() for each in (env, reference))
    assert own > 0.97 * other
    assert ledger._cost.sum() > 0.97 * reference._ledger._cost.sum()


@pytest.mark.parametrize("name", ["realistic", "delay", "fatigue", "caps", "18 channels"])
def test_counts_of_every_hour_are_recovered_from_the_observations(name: str):
    market = VARIANTS[name]
    land = market.landscape
    env, counts = AdCampaignVectorEnv(8, market), Counts(land, 8)
    obs, _ = env.reset(seed=2)
    ledger, before = env._ledger, [np.zeros((8, land.channels))] * 4
    counts.since_last_hour(View(obs))
    for _ in range(60):
        obs, *_ = env.step(np.full((8, land.channels), -0.2, np.float32))
        hour = counts.since_last_hour(View(obs))
        now = [
            ledger._clicks.copy(), ledger._expected_clicks.copy(),
            ledger._clicks - ledger._unripe, ledger._conversions.copy(),
        ]  # fmt: skip
        clicks, expected, ripe, conversions = (a - b for a, b in zip(now, before, strict=True))
        np.testing.assert_array_equal(hour.clicks, clicks)
        np.testing.assert_array_equal(hour.conversions, conversions)
        np.testing.assert_allclose(hour.ripe_clicks, ripe, atol=1e-6)
        np.testing.assert_allclose(hour.expected, expected, rtol=1e-3, atol=2e-5 * now[1].max())
        before = now
    assert before[3].sum() > 0.0


def test_flights_of_a_batch_are_those_of_each_alone():
    for market in (AIRFRANCE, VARIANTS["tables"]):
        env, together = AdCampaignVectorEnv(3, market), ExactBayes(market.landscape)
        alone = [ExactBayes(market.landscape) for _ in range(3)]
        obs, _ = env.reset(seed=4)
        for agent, flights in ((together, 3), *((each, 1) for each in alone)):
            agent.begin(flights, np.random.default_rng(0))
        for _ in range(50):
            action = together.act(obs)
            each = np.concatenate([agent.act(obs[row : row + 1]) for row, agent in enumerate(alone)])
            np.testing.assert_allclose(action, each, atol=1e-5)
            obs, *_ = env.step(action)


def points(better: FlightTotals, worse: FlightTotals) -> tuple[float, float]:
    """(mean, standard error) of the points of optimality between bidders on the same flights."""
    np.testing.assert_array_equal(better.oracle_revenue, worse.oracle_revenue)
    gain = 100.0 * (better.expected_revenue - worse.expected_revenue) / worse.oracle_revenue.mean()
    return float(gain.mean()), float(gain.std() / np.sqrt(len(gain)))


@pytest.mark.parametrize(("name", "flights"), [("realistic", 256), ("18 channels", 160)])
def test_it_beats_bayes_dual_on_the_same_flights(name: str, flights: int):
    market = VARIANTS[name]
    exact, dual = (
        fly_batch(agent, market, flights, SEEDS)
        for agent in (ExactBayes(market.landscape), reference_bidder(market.landscape))
    )
    gain, error = points(exact, dual)
    assert gain > 0.5
    assert gain > 3.0 * error


def test_it_loses_nothing_in_a_nominal_market():
    market = VARIANTS["nominal"]
    exact, dual = (
        fly_batch(agent, market, 128, SEEDS)
        for agent in (ExactBayes(market.landscape), reference_bidder(market.landscape))
    )
    gain, error = points(exact, dual)
    assert gain > -3.0 * error
    assert exact.pooled().optimality > 0.98


def test_it_shades_its_bids_where_the_winner_pays_them():
    market = VARIANTS["first price"]
    shading, naive = (fly_batch(ExactBayes(land), market, 64, SEEDS) for land in (market.landscape, LAND))
    assert points(shading, naive)[0] > 2.0


def test_a_larger_budget_is_bid_with():
    budgets = np.array([3_000.0, 12_000.0, 48_000.0])
    env = AdCampaignVectorEnv(3, AIRFRANCE)
    obs, _ = env.reset(seed=1)
    obs[:, -1] = np.log(budgets / LAND.budget)
    agent = ExactBayes(LAND)
    agent.begin(3, np.random.default_rng(0))
    assert (np.diff(agent.act(obs), axis=0) > 0.05).all()


def test_an_empty_purse_and_a_late_start_are_finite():
    env = AdCampaignVectorEnv(2, with_budget(AIRFRANCE, 5.0))
    agent = ExactBayes(env.landscape)
    obs, _ = env.reset(seed=1)
    agent.begin(2, np.random.default_rng(0))
    for _ in range(HOURS):
        assert np.isfinite(agent.act(obs)).all()
        obs, *_ = env.step(np.zeros((2, S), np.float32))
    assert (env._ledger.budget_left == 0.0).all()


def test_insight_is_the_plan_and_the_traffic_it_believes_in():
    agent = make_agent(GAELPExperimentConfig(agent_type="ExactBayes"), LAND)
    env = AdCampaignVectorEnv(4, AIRFRANCE)
    obs, _ = env.reset(seed=1)
    agent.begin(4, np.random.default_rng(0))
    for t in range(30):
        action = agent.act(obs)
        insight = agent.insight()
        assert insight.shape == (4, agent.insights)
        if t == 0:
            np.testing.assert_allclose(insight[:, 0], 0.0, atol=1e-9)
        obs, *_ = env.step(action)
    shift = agent._log_multiplier - agent._first_multiplier
    np.testing.assert_array_equal(insight[:, 0], shift)
    assert np.abs(insight).max(axis=0).min() > 0.01


def test_price_levels_that_are_dear_raise_first_price_bids_only_as_far_as_they_last():
    land = VARIANTS["first price"].landscape
    agent = ExactBayes(replace(land, price_log_sd=0.5))
    agent.begin(1, np.random.default_rng(0))
    agent._prices._level = np.full((1, S), 1.0)
    now = agent._prices.next_hour(10)
    variance = 0.5**2 * (1.0 - land.price_autocorrelation**22.0)
    np.testing.assert_allclose(now[0], land.log_price + land.price_autocorrelation - variance / 2.0)
