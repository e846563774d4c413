"""The training loop is determined by its seed, and evaluations are paired and honest about their chance."""

import json
from collections.abc import Mapping

import numpy as np
import pytest
from stepped import Stepped

from gaelp_ray.agents import make_agent, reference_bidder
from gaelp_ray.agents.base import FixedBidder
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.core import implementation
from gaelp_ray.market import load_market
from gaelp_ray.records import PER_FLIGHT, FlightTotals, Rollout
from gaelp_ray.simulator import AdCampaignVectorEnv
from gaelp_ray.training import (
    Iteration,
    Stream,
    batches,
    evaluate,
    flight_seed,
    fly,
    fly_as_trained,
    fly_batch,
    make_untrained,
    train,
)
from gaelp_ray.worlds import market_of

MARKET = load_market("airfrance-search")
CONFIG = GAELPExperimentConfig(batch_size=4, num_episodes=12, seed=5, ppo={"hidden_size": 8}, cem={"population": 4})
SEEDS = [0, Stream.EVALUATION]


def trained(config: GAELPExperimentConfig) -> tuple[list[Iteration], Mapping[str, np.ndarray]]:
    env, agent = make_untrained(config)
    return list(train(env, agent, config)), agent.state_dict()


def assert_same_totals(first: FlightTotals, second: FlightTotals) -> None:
    for name in PER_FLIGHT:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def assert_same_state(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[list[Iteration], Mapping[str, np.ndarray]]:
    return trained(CONFIG)


def test_training_yields_every_iteration_with_its_flights(uninterrupted):
    iterations, _ = uninterrupted
    assert [iteration.number for iteration in iterations] == [1, 2, 3]
    assert [len(iteration.totals) for iteration in iterations] == [4, 4, 4]
    assert iterations[0].env_steps == 4 * 168
    assert iterations[0].learning


def test_episodes_are_the_flights_one_by_one_with_the_sums_as_they_are(uninterrupted):
    iteration = uninterrupted[0][1]
    totals, episodes = iteration.totals, iteration.episodes(first=5)
    assert [episode["episode"] for episode in episodes] == [5, 6, 7, 8]
    for n, episode in enumerate(episodes):
        cost, clicks = totals.cost[n], totals.clicks[n]
        assert episode == {
            "episode": 5 + n,
            "total_reward": iteration.rewards[n],
            "steps": 168,
            "final_roas": totals.revenue[n] / cost,
            "total_cost": cost,
            "total_revenue": totals.revenue[n],
            "ctr": clicks / totals.impressions[n],
            "conversion_rate": totals.conversions[n] / clicks,
            "avg_cpc": cost / clicks,
            "total_impressions": totals.impressions[n],
            "total_clicks": clicks,
            "total_conversions": totals.conversions[n],
            "budget": totals.budget[n],
            "expected_revenue": totals.expected_revenue[n],
            "oracle_revenue": totals.oracle_revenue[n],
            "delivery": cost / totals.budget[n],
            "optimality": totals.expected_revenue[n] / totals.oracle_revenue[n],
        }
        assert {type(value) for value in episode.values()} == {int, float}  # no numpy: it goes to JSON
    assert json.dumps(episodes, allow_nan=False)


def test_a_flights_reward_is_that_of_its_hours(uninterrupted):
    for iteration in uninterrupted[0]:
        assert iteration.rewards == pytest.approx(iteration.totals.revenue / iteration.totals.budget, rel=1e-9)


def test_what_a_flight_did_not_measure_is_none():
    nothing = np.zeros(2)
    arrays = {name: np.array([0.0, 8.0]) for name in PER_FLIGHT} | {"oracle_revenue": np.full(2, np.nan)}
    iteration = Iteration(1, FlightTotals(steps=9, **arrays), nothing, np.array([3, 9]), {})
    idle, busy = iteration.episodes(first=1)
    ratios = ("final_roas", "ctr", "conversion_rate", "avg_cpc", "delivery")
    assert [idle[name] for name in ratios] == [None] * 5
    assert [busy[name] for name in ratios] == [1.0] * 5
    assert (idle["total_cost"], idle["total_reward"], idle["steps"], busy["steps"]) == (0.0, 0.0, 3, 9)
    for episode in (idle, busy):
        assert episode["optimality"] is episode["oracle_revenue"] is None


def test_a_flight_is_as_long_as_it_was_flown(shop):
    shop()
    config = GAELPExperimentConfig(
        env="shop:Shop", batch_size=6, num_episodes=6, ppo={"reference": "none", "epochs": 1}
    )
    (iteration,) = train(*make_untrained(config), config)
    assert set(iteration.lengths) <= {2, 3, 4, 5}
    assert len(set(iteration.lengths)) > 1
    assert iteration.totals.steps == max(iteration.lengths)
    # An hour costs 1 to 9: who flies longer than the record says would have spent more.
    assert all(iteration.lengths <= iteration.totals.cost) and all(iteration.totals.cost <= 9.0 * iteration.lengths)


def test_a_batch_is_logged_as_one_episode_the_last_of_its_flights(uninterrupted):
    iteration = uninterrupted[0][2]
    assert iteration.as_logged() == {
        "episode/number": 12,
        "episode/total_reward": iteration.rewards.mean(),
        "episode/steps": 168.0,
        "episode/reward_per_step": iteration.rewards.mean() / 168.0,
    }


def test_another_agent_flies_the_flights_of_a_training(uninterrupted):
    env = make_untrained(CONFIG)[0]
    bidder = reference_bidder(MARKET.landscape)
    for number, trained_on in enumerate(uninterrupted[0], start=1):
        flown = fly_as_trained(env, bidder, CONFIG, number)
        assert flown.number == number
        assert flown.learning == {}
        for name in ("budget", "oracle_revenue"):
            np.testing.assert_array_equal(getattr(flown.totals, name), getattr(trained_on.totals, name))
        assert (flown.totals.clicks != trained_on.totals.clicks).all()


def test_flying_the_flights_of_a_training_does_not_explore():
    env = make_untrained(CONFIG)[0]
    calm, wild = (make_agent(CONFIG.replace({"ppo.initial_std": std}), MARKET.landscape) for std in (0.01, 2.0))
    assert_same_totals(*(fly_as_trained(env, agent, CONFIG, 2).totals for agent in (calm, wild)))


def test_iterations_are_different_flights(uninterrupted):
    first, second, _ = (iteration.totals for iteration in uninterrupted[0])
    assert not np.array_equal(first.budget, second.budget)


@pytest.mark.parametrize("done", [1, 2])
def test_continued_training_repeats_an_uninterrupted_one_bit_for_bit(uninterrupted, done):
    iterations, final = uninterrupted
    env, agent = make_untrained(CONFIG)
    for iteration in train(env, agent, CONFIG):
        if iteration.number == done:
            break
    saved = agent.state_dict()
    env, agent = make_untrained(CONFIG)
    agent.load_state_dict(saved)
    rest = list(train(env, agent, CONFIG, done=done))
    assert [iteration.number for iteration in rest] == [1, 2, 3][done:]
    for again, before in zip(rest, iterations[done:], strict=True):
        assert_same_totals(again.totals, before.totals)
        assert again.learning == before.learning
    assert_same_state(agent.state_dict(), final)


class Listener(FixedBidder):
    """Bids the historical bids and keeps what it was told to learn from."""

    def __init__(self) -> None:
        self.told: list[Rollout] = []

    def begin(self, flights: int, rng: np.random.Generator) -> None:
        self.flights = flights

    def act(self, obs: np.ndarray, explore: bool = False) -> np.ndarray:
        return np.zeros((self.flights, MARKET.landscape.channels), np.float32)

    def update(self, rollout: Rollout) -> dict[str, float]:
        self.told.append(rollout)
        return {}


def test_learner_is_told_the_share_of_the_training_behind_it():
    env, agent = AdCampaignVectorEnv(CONFIG.batch_size, MARKET), Listener()
    list(train(env, agent, CONFIG, done=1))
    assert [rollout.progress for rollout in agent.told] == [1 / 3, 2 / 3]


def test_training_is_repeated_by_its_seed_and_not_by_another(uninterrupted):
    assert_same_state(trained(CONFIG)[1], uninterrupted[1])
    other = trained(CONFIG.replace({"seed": 6}))[0]
    assert not np.array_equal(other[0].totals.budget, uninterrupted[0][0].totals.budget)


def test_finished_training_has_nothing_left_to_do():
    assert list(train(*make_untrained(CONFIG), CONFIG, done=3)) == []


def test_rollout_holds_whole_flights_and_what_they_earned():
    env, agent = AdCampaignVectorEnv(3, MARKET), reference_bidder(MARKET.landscape)
    rollout = fly(env, Stepped(agent), ([1, 1], [1, 2]), progress=0.25)
    assert rollout.obs.shape[:2] == rollout.actions.shape[:2] == rollout.rewards.shape == (168, 3)
    assert rollout.progress == 0.25
    assert not rollout.dones[:-1].any()
    assert rollout.dones[-1].all()
    totals = env.totals()
    np.testing.assert_allclose(rollout.rewards.sum(axis=0), totals.revenue / totals.budget)
    np.testing.assert_array_equal(rollout.returns, totals.expected_revenue / totals.budget)


@pytest.mark.parametrize("explore", [True, False])
@pytest.mark.parametrize("name", ["BayesDual", "CEM", "PID", "PPO"])
def test_flights_flown_whole_are_those_of_single_hours(name, explore):
    """Two iterations, as a search moves with the first."""
    config = CONFIG.model_copy(update={"agent_type": name})
    hourly, whole = make_untrained(config), make_untrained(config)
    for n in range(2):
        flown, seen = (fly(*both, ([3, n], [4, n]), 0.5, explore) for both in (whole, (hourly[0], Stepped(hourly[1]))))
        for array in ("rewards", "dones", "returns"):
            np.testing.assert_array_equal(getattr(flown, array), getattr(seen, array))
        assert flown.progress == seen.progress == 0.5
        assert_same_totals(whole[0].totals(), hourly[0].totals())
        in_c = implementation().startswith("c ") and name in ("BayesDual", "CEM")
        assert len(flown.obs) == len(flown.actions) == (0 if in_c else 168) and len(seen.obs) == 168
        if explore:
            assert whole[1].update(flown) == hourly[1].update(seen)
            assert_same_state(whole[1].state_dict(), hourly[1].state_dict())


def test_config_reaches_the_market_and_the_environment():
    config = CONFIG.replace({"departures": "nominal", "heterogeneity": 0.25, "reward_function": "expected_ROAS"})
    landscape = market_of(config).landscape
    assert (landscape.day_log_sd, landscape.conversion_rate_log_sd) == (0.0, 0.25)
    env, _ = make_untrained(config)
    assert (env.num_envs, env.reward) == (4, "expected_ROAS")
    assert env.market.hash == market_of(config).hash


def test_conditions_of_a_config_reach_the_market_and_the_flights():
    config = CONFIG.replace({"conversion_delay": 24.0, "fatigue_half_life": 2.0})
    market = market_of(config)
    assert market.landscape.report_rate == pytest.approx(1 / 25)
    assert market.landscape.fatigue_rate == pytest.approx(np.log(2.0) / 2.0)
    assert make_untrained(config)[0].landscape.report_rate == market.landscape.report_rate
    each = [market_of(CONFIG.replace(one)) for one in ({"conversion_delay": 24.0}, {"fatigue_half_life": 2.0}, {})]
    assert len({market.hash, *(one.hash for one in each)}) == 4
    assert each[-1].hash == MARKET.hash
    assert (each[0].landscape.fatigue_rate, each[1].landscape.report_rate) == (0.0, 1.0)
    alike = CONFIG.replace({"conversion_delay": 24.0, "fatigue_half_life": 2.0, "departures": "nominal"})
    assert market_of(alike).landscape.report_rate == market.landscape.report_rate


def test_evaluation_is_repeatable():
    agent = reference_bidder(MARKET.landscape)
    assert_same_totals(evaluate(agent, MARKET, 20, SEEDS).totals, evaluate(agent, MARKET, 20, SEEDS).totals)


def test_evaluation_leaves_a_learner_unchanged():
    env, agent = make_untrained(CONFIG)
    next(train(env, agent, CONFIG))
    before = agent.state_dict()
    evaluate(agent, MARKET, 8, SEEDS)
    assert_same_state(agent.state_dict(), before)


def test_evaluation_does_not_explore():
    calm, wild = (make_agent(CONFIG.replace({"ppo.initial_std": std}), MARKET.landscape) for std in (0.01, 2.0))
    assert_same_totals(evaluate(calm, MARKET, 4, SEEDS).totals, evaluate(wild, MARKET, 4, SEEDS).totals)


def test_every_agent_meets_the_same_hidden_markets():
    names = ("constant", "BayesPID", "PPO")
    agents = [make_agent(CONFIG.replace({"agent_type": name}), MARKET.landscape) for name in names]
    first, *others = (evaluate(agent, MARKET, 16, SEEDS).totals for agent in agents)
    for other in others:
        np.testing.assert_array_equal(first.budget, other.budget)
        np.testing.assert_array_equal(first.oracle_revenue, other.oracle_revenue)
        assert not np.array_equal(first.cost, other.cost)


def test_streams_and_seeds_name_different_flights():
    agent = reference_bidder(MARKET.landscape)
    names = [[seed, stream] for seed in (0, 1) for stream in Stream]
    budgets = {tuple(evaluate(agent, MARKET, 2, seeds).totals.budget) for seeds in names}
    assert len(budgets) == len(names)


def test_training_never_flies_the_flights_of_an_evaluation():
    training = {flight_seed([s, Stream.TRAINING, n]) for s in range(20) for n in range(1, 50)}
    others = {flight_seed([s, stream, n]) for s in range(20) for stream in list(Stream)[2:] for n in range(50)}
    assert len(training) == 20 * 49
    assert not training & others


@pytest.mark.parametrize(
    ("episodes", "expected"),
    [(1, [(0, 1)]), (256, [(0, 256)]), (300, [(0, 256), (1, 44)]), (600, [(0, 256), (1, 256), (2, 88)])],
)
def test_evaluations_are_split_into_fixed_batches(episodes, expected):
    assert batches(episodes) == expected


def test_evaluation_is_the_flights_of_its_batches_in_order():
    agent = reference_bidder(MARKET.landscape)
    parts = [fly_batch(agent, MARKET, flights, [*SEEDS, number]) for number, flights in ((0, 256), (1, 44))]
    whole = evaluate(agent, MARKET, 300, SEEDS)
    assert whole.metrics.flights == 300
    assert_same_totals(whole.totals, FlightTotals.concatenate(parts))
    assert_same_totals(parts[0], evaluate(agent, MARKET, 256, SEEDS).totals)


def test_an_evaluation_without_flights_is_refused():
    with pytest.raises(ValueError, match="at least one flight"):
        batches(0)
