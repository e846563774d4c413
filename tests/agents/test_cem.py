"""CEM: the search by hand and on made-up fitness, and that its candidates are BayesDual with other constants."""

import numpy as np
import pytest

from gaelp_ray.agents import agent_reads, copies, make_agent
from gaelp_ray.agents.cem import BY_TRAFFIC, CEM, LOG_SPREAD, SPREAD
from gaelp_ray.agents.dual import BayesDual
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.market import load_market
from gaelp_ray.records import Rollout
from gaelp_ray.sections import DualConfig
from gaelp_ray.simulator import AdCampaignVectorEnv
from gaelp_ray.training import Stream, fly_batch, make_untrained, train

MARKET = load_market("airfrance-search")
LAND = MARKET.landscape
FREE = ("prior_strength", "volume_prior_strength", "optimism", "pacing_shade", "shade", "price_tracking")
"""Constants whose bounds lie far from where the search starts."""


def config(population: int = 8, dual: dict | None = None, **cem) -> GAELPExperimentConfig:
    cem = {"population": population} | cem
    return GAELPExperimentConfig(agent_type="CEM", batch_size=population * 2, cem=cem, dual=dual or {})


def searching(flights: int, seed: int = 0, **given) -> CEM:
    """A search whose first population of this seed is in the air."""
    return drawn(CEM(config(**given), LAND), flights, seed)


def drawn(cem: CEM, flights: int, seed: int = 0) -> CEM:
    obs, _ = AdCampaignVectorEnv(flights, MARKET).reset(seed=0)
    cem.begin(flights, np.random.default_rng(seed))
    cem.act(obs, explore=True)
    return cem


def scored(fitness: np.ndarray) -> Rollout:
    """Flights (B,) with these expected returns, and rewards that say nothing."""
    nothing, rewards = np.zeros((2, len(fitness), 1)), np.ones((2, len(fitness)))
    return Rollout(nothing, nothing, rewards, np.zeros((2, len(fitness)), bool), fitness, 0.0)


def natural(cem: CEM, row: np.ndarray) -> dict[str, float]:
    """The constants of one point of the search."""
    return {n: float(np.exp(x)) if n in LOG_SPREAD else float(x) for n, x in zip(cem._names, row, strict=True)}


def test_every_number_of_the_planner_is_searched_but_what_its_traffic_does_not_read():
    numbers = {name for name, field in DualConfig.model_fields.items() if field.annotation is float}
    assert {*LOG_SPREAD, *SPREAD} == numbers
    assert not set(LOG_SPREAD) & set(SPREAD)
    for traffic, unread in {"counts": "traffic_noise", "filter": "traffic_use"}.items():
        assert BY_TRAFFIC[traffic] == unread
        assert set(CEM(config(dual={"traffic": traffic}), LAND).constants()) == numbers - {unread}


def test_search_starts_at_the_section_dual():
    given = {"prior_strength": 2.5, "shade": -0.3, "traffic_use": 0.7, "drift_tracking": 3.0}
    constants = CEM(config(dual=given), LAND).constants()
    expected = DualConfig(**given).model_dump(exclude={"traffic", "traffic_noise"})
    assert constants == pytest.approx(expected)


@pytest.mark.parametrize("initial_std", [1.0, 0.5])
def test_first_spread_is_the_usual_one_of_each_constant_times_the_initial_std(initial_std):
    cem = searching(512, population=512, initial_std=initial_std)
    for name in FREE:
        column = cem._candidates[:, cem._names.index(name)]
        assert column.std() == pytest.approx(initial_std * (LOG_SPREAD | SPREAD)[name], rel=0.15)


@pytest.mark.parametrize("population", [8, 9])
def test_candidates_are_pairs_around_the_mean_and_the_odd_one_is_the_mean(population):
    cem = searching(2 * population, population=population)
    free = [cem._names.index(name) for name in FREE]
    points, mean = cem._candidates[:, free], cem.mean[free]
    assert len(points) == population
    np.testing.assert_allclose((points[:4] + points[4:8]) / 2.0, np.tile(mean, (4, 1)), atol=1e-12)
    assert np.abs(points[:4] - mean).min() > 0.0
    np.testing.assert_array_equal(points[8:], np.tile(mean, (population - 8, 1)))


@pytest.mark.parametrize("traffic", ["counts", "filter"])
def test_candidates_never_leave_what_the_planner_allows(traffic):
    cem = searching(256, population=256, initial_std=10.0, dual={"traffic": traffic})
    for row in cem._candidates:
        DualConfig(**natural(cem, row))  # refuses what is out of bounds
    lows = [natural(cem, row)["forgetting"] for row in cem._candidates]
    assert min(lows) == 0.0
    for far in (-100.0, 200.0):
        cem.mean = cem.mean + far
        DualConfig(**cem.constants())


def test_an_update_by_hand():
    # Ten flights by four candidates: blocks of 3, 2, 3 and 2 flights, of which means count, not sums.
    cem = searching(10, population=4, elite_share=0.5, smoothing=0.3, min_std=0.2)
    first, mean = cem.std.copy(), cem.mean.copy()
    points = cem._candidates.copy()
    fitness = np.array([1.0, 1.0, 4.0, 3.0, 3.0, 0.0, 1.0, 8.0, 5.0, 0.0])  # means 2, 3, 3 and 2.5
    diagnostics = cem.update(scored(fitness))
    elite = points[[1, 2]]
    np.testing.assert_allclose(cem.mean, 0.3 * mean + 0.7 * (elite[0] + elite[1]) / 2.0, atol=1e-12)
    spread = 0.3 * first + 0.7 * np.abs(elite[0] - elite[1]) / 2.0
    np.testing.assert_allclose(cem.std, np.maximum(spread, 0.2 * first), atol=1e-12)
    means = np.array([2.0, 3.0, 3.0, 2.5])
    assert diagnostics["learning/fitness_spread"] == pytest.approx(means.std() / means.mean())
    assert diagnostics["learning/search_std"] == pytest.approx((cem.std / first).mean())
    named = {name.removeprefix("learning/"): value for name, value in diagnostics.items()}
    assert {name: named[name] for name in cem._names} == cem.constants()


@pytest.mark.parametrize(("share", "elites"), [(0.25, 2), (0.5, 4), (0.05, 2), (0.9, 7)])
def test_elites_are_a_share_of_the_candidates_and_two_at_least(share, elites):
    cem = searching(8, population=8, elite_share=share, smoothing=0.0, min_std=0.0)
    fitness = np.random.default_rng(1).permutation(8).astype(float)
    best = cem._candidates[np.argsort(fitness)[-elites:]]
    cem.update(scored(fitness))
    np.testing.assert_allclose(cem.mean, best.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(cem.std, best.std(axis=0), atol=1e-12)


def test_spread_never_falls_below_its_floor():
    cem = CEM(config(min_std=0.3, smoothing=0.0), LAND)
    first = cem.std.copy()
    for seed in range(12):
        drawn(cem, 8, seed).update(scored(-np.abs(cem._candidates - cem.mean).sum(axis=1)))
        assert (cem.std >= 0.3 * first - 1e-12).all()
    assert cem.std.mean() < 0.5 * first.mean()


@pytest.mark.parametrize("traffic", ["counts", "filter"])
def test_search_finds_the_optimum_of_a_quadratic_fitness(traffic):
    cem = CEM(config(128, dual={"traffic": traffic}, min_std=0.0, smoothing=0.7), LAND)
    first, start = cem.std.copy(), cem.mean.copy()
    signs = np.where(np.array([name in FREE for name in cem._names]), -1.0, 1.0)
    optimum = start + 1.5 * signs * first
    for seed in range(40):
        drawn(cem, 128, seed)
        cem.update(scored(-(((cem._candidates - optimum) / first) ** 2).sum(axis=1)))
    np.testing.assert_allclose((cem.mean - optimum) / first, 0.0, atol=0.15)
    assert (cem.std < 0.2 * first).all()


def test_fitness_of_nothing_is_no_division_by_zero():
    assert searching(8).update(scored(np.zeros(8)))["learning/fitness_spread"] == 0.0


def test_a_search_goes_on_from_its_state_bit_for_bit():
    cem, other = searching(8), CEM(config(dual={"shade": 0.4}), LAND)
    cem.update(scored(np.arange(8.0)))
    state = cem.state_dict()
    other.load_state_dict(state)
    for one in (cem, other):
        drawn(one, 8, seed=5).update(scored(np.arange(8.0)[::-1]))
    np.testing.assert_array_equal(cem.mean, other.mean)
    np.testing.assert_array_equal(cem.std, other.std)
    assert not np.array_equal(state["mean"], cem.mean)  # a copy, not a view


def test_a_state_over_other_constants_is_refused():
    state = {"mean": np.zeros(3), "std": np.ones(3)}
    with pytest.raises(ValueError, match="the search has 9 constants, the state 3"):
        CEM(config(), LAND).load_state_dict(state)


def test_candidates_are_determined_by_the_seed():
    same, again, other = (searching(8, seed)._candidates for seed in (1, 1, 2))
    np.testing.assert_array_equal(same, again)
    assert not np.array_equal(same, other)


def flown(agent, env: AdCampaignVectorEnv, hours: int, explore: bool) -> tuple[np.ndarray, np.ndarray]:
    """Observations (T, B, D) and actions (T, B, S) of the first hours."""
    obs, _ = env.reset(seed=3)
    agent.begin(env.num_envs, np.random.default_rng(3))
    seen, actions = [], []
    for _ in range(hours):
        seen.append(obs)
        actions.append(agent.act(obs, explore=explore))
        obs, *_ = env.step(actions[-1])
    return np.stack(seen), np.stack(actions)


def replayed(constants: dict[str, float], traffic: str, seen: np.ndarray) -> np.ndarray:
    bidder = BayesDual(DualConfig(traffic=traffic, **constants), LAND)
    bidder.begin(seen.shape[1], np.random.default_rng(0))
    return np.stack([bidder.act(obs) for obs in seen])


@pytest.mark.parametrize("traffic", ["counts", "filter"])
def test_each_block_of_flights_is_bid_for_with_its_own_candidate(traffic):
    cem = CEM(config(4, {"traffic": traffic}), LAND)
    seen, actions = flown(cem, AdCampaignVectorEnv(12, MARKET, copies=4), 40, explore=True)
    blocks = [slice(3 * k, 3 * k + 3) for k in range(4)]
    for block, row in zip(blocks, cem._candidates, strict=True):
        single = replayed(natural(cem, row), traffic, seen[:, block])
        np.testing.assert_allclose(actions[:, block], single, atol=1e-6)
    # All of them start from the same flights, and differ by their constants.
    np.testing.assert_array_equal(seen[0, blocks[0]], seen[0, blocks[3]])
    assert np.abs(actions[0, blocks[0]] - actions[0, blocks[3]]).max() > 0.01


@pytest.mark.parametrize("traffic", ["counts", "filter"])
def test_what_is_deployed_is_the_planner_with_the_constants_of_the_search(traffic):
    cem = CEM(config(4, {"traffic": traffic, "traffic_use": 0.5, "traffic_noise": 2.0}), LAND)
    drawn(cem, 8).update(scored(np.arange(8.0)))
    unread = {BY_TRAFFIC[traffic]: {"traffic_use": 0.5, "traffic_noise": 2.0}[BY_TRAFFIC[traffic]]}
    seen, actions = flown(cem, AdCampaignVectorEnv(3, MARKET), 40, explore=False)
    np.testing.assert_allclose(actions, replayed(cem.constants() | unread, traffic, seen), atol=1e-6)
    assert np.abs(actions - replayed({}, traffic, seen)).max() > 0.01


def test_the_environment_flies_every_flight_once_per_candidate():
    given = config(6)
    assert copies(given) == 6
    assert [copies(given.replace({"agent_type": name})) for name in ("PPO", "BayesDual")] == [1, 1]
    env, _ = make_untrained(given)
    obs, _ = env.reset(seed=0)
    np.testing.assert_array_equal(obs.reshape(6, 2, -1), np.tile(obs[:2], (6, 1, 1)))


def test_reward_function_has_no_part_in_the_search():
    given = GAELPExperimentConfig(agent_type="CEM", batch_size=32, num_episodes=64, cem={"population": 8})
    states = []
    for reward in ("ROAS_optimized", "regret"):
        env, agent = make_untrained(changed := given.replace({"reward_function": reward}))
        assert len(list(train(env, agent, changed))) == 2
        states.append(agent.state_dict())
    np.testing.assert_array_equal(states[0]["mean"], states[1]["mean"])
    assert "reward_function" not in agent_reads(given).fields


def test_training_mends_a_planner_that_holds_back():
    given = {"agent_type": "CEM", "batch_size": 64, "num_episodes": 6 * 64}
    start = GAELPExperimentConfig(**given, cem={"population": 16, "initial_std": 3.0}, dual={"shade": 0.6})
    env, agent = make_untrained(start)
    learning = [iteration.learning for iteration in train(env, agent, start)]
    assert np.isfinite([list(each.values()) for each in learning]).all()
    assert all(name.startswith("learning/") for each in learning for name in each)
    before, after = (
        fly_batch(bidder, MARKET, 128, [0, Stream.VALIDATION, 0]) for bidder in (make_agent(start, LAND), agent)
    )
    assert after.expected_revenue.sum() > 1.02 * before.expected_revenue.sum()
