"""The environments: gymnasium's contract, the money, and what a bidder is shown."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

from gaelp_ray.errors import ActionError, MarketError
from gaelp_ray.market import load_market
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.market.market import market_from
from gaelp_ray.market.observation import View
from gaelp_ray.records import PER_FLIGHT
from gaelp_ray.simulator import AdCampaignEnv, AdCampaignVectorEnv

MARKET = load_market("airfrance-search")
LAND = MARKET.landscape


def uniform_actions(seed: int, flights: int, hours: int = HOURS) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.0, 1.0, (hours, flights, LAND.channels)).astype(np.float32)


def flown(env: AdCampaignVectorEnv, seed: int, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict]:
    """(observations (T + 1, B, D), rewards (T, B), info of the last step)."""
    obs, info = env.reset(seed=seed)
    seen, rewards = [obs], []
    for action in actions:
        obs, reward, _, _, info = env.step(action)
        seen.append(obs)
        rewards.append(reward)
    return np.stack(seen), np.stack(rewards), info


def test_single_env_passes_gymnasiums_checker():
    env = gymnasium.make("gaelp/AdCampaign-v0", market="airfrance-search")
    check_env(env.unwrapped)


def test_vector_env_is_made_by_gymnasium():
    made = gymnasium.make_vec(
        "gaelp/AdCampaign-v0", num_envs=3, vectorization_mode="vector_entry_point", market="airfrance-search"
    )
    assert isinstance(made, AdCampaignVectorEnv)
    obs, _ = made.reset(seed=0)
    assert made.observation_space.contains(obs)
    assert made.step(made.action_space.sample())[0].shape == obs.shape


def test_unknown_market_is_refused():
    with pytest.raises(MarketError, match="unknown market"):
        AdCampaignVectorEnv(2, "moon")


def test_metadata_states_the_autoreset():
    assert AdCampaignVectorEnv.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP


def test_flights_end_at_step_168_and_only_there():
    env = AdCampaignVectorEnv(2, MARKET)
    env.reset(seed=1)
    for number, action in enumerate(uniform_actions(1, 2), start=1):
        _, _, terminated, truncated, info = env.step(action)
        assert terminated.tolist() == [number == HOURS] * 2
        assert not truncated.any()
        assert bool(info) is (number == HOURS)


def test_step_after_the_end_ignores_its_action_and_starts_anew():
    results = []
    for ignored in (np.full((2, LAND.channels), -1.0, np.float32), np.full((2, LAND.channels), 1.0, np.float32)):
        env = AdCampaignVectorEnv(2, MARKET)
        flown(env, 2, uniform_actions(2, 2))
        results.append(env.step(ignored))
        assert env.totals().steps == 0
    for obs, reward, terminated, truncated, info in results:
        np.testing.assert_array_equal(reward, [0.0, 0.0])
        assert not (terminated | truncated).any()
        assert info == {}
        np.testing.assert_array_equal(View(obs).overall("time_left"), [1.0, 1.0])
        np.testing.assert_array_equal(obs, results[0][0])


def test_flight_after_an_autoreset_is_another_one():
    env = AdCampaignVectorEnv(2, MARKET)
    seen, _, _ = flown(env, 3, uniform_actions(3, 2))
    again, *_ = env.step(uniform_actions(3, 2)[0])
    assert not np.array_equal(again, seen[0])


@pytest.mark.parametrize("verb", ["step", "totals"])
def test_nothing_happens_before_reset(verb):
    env = AdCampaignVectorEnv(1, MARKET)
    arguments = (np.zeros((1, LAND.channels), np.float32),) if verb == "step" else ()
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset"):
        getattr(env, verb)(*arguments)


def test_same_seed_same_trajectory_and_another_seed_another():
    actions = uniform_actions(4, 3, hours=24)
    first, second, other = (flown(AdCampaignVectorEnv(3, MARKET), seed, actions) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.array_equal(first[1], other[1])


def test_reset_without_a_seed_goes_on_with_the_same_chance():
    env, twin = AdCampaignVectorEnv(2, MARKET), AdCampaignVectorEnv(2, MARKET)
    for e in (env, twin):
        e.reset(seed=6)
    (first, _), (second, _) = env.reset(), twin.reset()
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, env.reset(seed=6)[0])


def test_single_env_flies_the_same_numbers_as_a_batch_of_one():
    actions = uniform_actions(7, 1)
    seen, rewards, info = flown(AdCampaignVectorEnv(1, MARKET), 7, actions)
    env = AdCampaignEnv(MARKET)
    obs, _ = env.reset(seed=7)
    for t, action in enumerate(actions):
        np.testing.assert_array_equal(obs, seen[t, 0])
        obs, reward, terminated, _, last = env.step(action[0])
        assert reward == rewards[t, 0]
    assert terminated is True
    assert last == {name: info[name][0] for name in info if not name.startswith("_")}


CORNERS = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), min_size=LAND.channels, max_size=LAND.channels)


@settings(derandomize=True, max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), action=st.one_of(st.none(), CORNERS))
def test_the_books_hold_for_random_and_extreme_bids(seed, action):
    flights = 3
    actions = uniform_actions(seed, flights)
    if action is not None:
        actions[:] = np.array(action, np.float32)
    env = AdCampaignVectorEnv(flights, MARKET)
    seen, rewards, info = flown(env, seed, actions)
    assert all(env.observation_space.contains(obs) for obs in seen)
    # A sum over 168 hours carries its rounding.
    assert (info["cost"] <= info["budget"]).all()
    assert (info["clicks"] <= info["impressions"]).all()
    assert (info["conversions"] <= info["clicks"]).all()
    assert all(np.isfinite(info[name]).all() for name in info)
    assert (rewards >= 0.0).all()
    np.testing.assert_allclose(rewards.sum(axis=0), info["revenue"] / info["budget"])


def test_highest_bids_spend_the_whole_budget():
    _, _, info = flown(AdCampaignVectorEnv(8, MARKET), 8, np.ones((HOURS, 8, LAND.channels), np.float32))
    assert (info["cost"] / info["budget"]).min() > 0.999


def test_last_info_is_the_totals_with_gymnasiums_masks():
    env = AdCampaignVectorEnv(3, MARKET)
    _, _, info = flown(env, 9, uniform_actions(9, 3))
    totals = env.totals()
    names = set(PER_FLIGHT) - {"oracle_revenue"}
    assert set(info) == names | {f"_{name}" for name in names}
    for name in names:
        np.testing.assert_array_equal(info[name], getattr(totals, name))
        np.testing.assert_array_equal(info[f"_{name}"], [True] * 3)


def test_expected_reward_is_the_same_flight_with_the_luck_of_orders_averaged_out():
    flights, actions = 256, uniform_actions(10, 256) * np.float32(0.3)
    lucky, expected = (AdCampaignVectorEnv(flights, MARKET, r) for r in ("ROAS_optimized", "expected_ROAS"))
    seen, rewards, _ = flown(lucky, 10, actions)
    seen_too, means, info = flown(expected, 10, actions)
    np.testing.assert_array_equal(seen, seen_too)
    np.testing.assert_allclose(means.sum(axis=0), info["expected_revenue"] / info["budget"])
    luck = rewards.sum(axis=0) - means.sum(axis=0)
    assert abs(luck.mean()) < 4.0 * luck.std() / np.sqrt(flights)
    assert means.var() < 0.5 * rewards.var()


def test_observation_right_after_some_hours_agrees_with_the_totals():
    env, hours = AdCampaignVectorEnv(4, MARKET), 30
    seen, _, _ = flown(env, 11, uniform_actions(11, 4, hours))
    view, totals = View(seen[-1]), env.totals()
    spent = totals.cost / totals.budget
    near = {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(view.overall("time_left"), 1.0 - hours / HOURS, **near)
    np.testing.assert_allclose(view.overall("budget_left"), 1.0 - spent, **near)
    passed = LAND.traffic[:hours].sum() / LAND.traffic.sum()
    np.testing.assert_allclose(view.overall("pacing_error"), spent - passed, **near)
    np.testing.assert_allclose(LAND.budget * np.exp(view.overall("log_budget")), totals.budget, **near)
    np.testing.assert_allclose(view.channel("spend_share").sum(axis=1), spent, **near)
    np.testing.assert_allclose(np.expm1(view.channel("log_clicks")).sum(axis=1), totals.clicks, **near)
    clock = np.arctan2(view.overall("hour_sin"), view.overall("hour_cos")) * 24.0 / (2.0 * np.pi)
    np.testing.assert_allclose(clock % 24.0, hours % 24, **near)


def test_recent_spend_is_the_moving_average_of_hourly_spend():
    seen, _, _ = flown(AdCampaignVectorEnv(4, MARKET), 12, uniform_actions(12, 4, 30))
    shares = np.stack([View(obs).channel("spend_share") for obs in seen])
    average = np.zeros_like(shares[0])
    for spent in np.diff(shares, axis=0):
        average = 0.9 * average + 0.1 * HOURS * spent
    np.testing.assert_allclose(View(seen[-1]).channel("recent_spend"), average, atol=1e-4)


def test_expected_clicks_are_the_calibrated_ones_at_the_same_win_rates():
    seen, _, _ = flown(AdCampaignVectorEnv(4, MARKET), 13, uniform_actions(13, 4, 30))
    won = np.stack([View(obs).channel("win_rate") for obs in seen[1:]])
    expected = LAND.volume * LAND.ctr * (LAND.traffic[:30, None, None] * won).sum(axis=0)
    np.testing.assert_allclose(np.expm1(View(seen[-1]).channel("log_expected_clicks")), expected, rtol=1e-4)


def test_bids_that_win_nothing_are_observed_as_numbers():
    steep = load_market("airfrance-search").model_dump(mode="json")
    steep["prices"]["log_sd"]["value"] = 0.08
    env = AdCampaignVectorEnv(2, market_from(steep, "steep"))
    env.reset(seed=0)
    obs, *_ = env.step(np.full((2, 7), -1.0, np.float32))
    assert np.isfinite(obs).all() and env.observation_space.contains(obs)


def test_nothing_is_shown_once_the_money_is_gone():
    env = AdCampaignVectorEnv(8)
    env.reset(seed=0)
    highest = np.ones((8, 7), np.float32)
    for _ in range(100):
        env.step(highest)
    before = env.totals()
    env.step(highest)
    gone = before.cost > (1.0 - 1e-9) * before.budget
    assert gone.sum() >= 4  # the others have less left than a click costs
    np.testing.assert_array_equal(env.totals().impressions[gone], before.impressions[gone])


@pytest.mark.parametrize("shape", [(1, 7), (4, 1), (7,)])
def test_actions_of_another_shape_are_refused(shape):
    env = AdCampaignVectorEnv(4)
    env.reset(seed=0)
    with pytest.raises(ActionError, match="not \\(4, 7\\): pass one row per episode"):
        env.step(np.zeros(shape, np.float32))


@pytest.mark.parametrize(("value", "more"), [(np.nan, 0), (np.inf, 0), (-np.inf, 2)])
def test_action_that_is_not_finite_is_refused_by_episode_and_channel(value, more):
    env, actions = AdCampaignVectorEnv(4), np.zeros((4, 7), np.float32)
    env.reset(seed=0)
    env.step(actions)
    before = env.totals()
    actions[2, 3] = value
    actions[3, :more] = value
    also = f" (and {more} more of 28)" if more else ""
    with pytest.raises(ActionError) as caught:
        env.step(actions)
    assert str(caught.value) == (
        f"step 1: episode 2, channel '{MARKET.channel_names[3]}': action {value} is not finite{also}: actions are "
        "numbers in [-1, 1]. Check the policy's output"
    )
    assert isinstance(caught.value, ValueError)
    np.testing.assert_array_equal(env.totals().cost, before.cost)


def test_action_that_is_not_finite_is_refused_in_a_single_env():
    env = AdCampaignEnv()
    env.reset(seed=0)
    with pytest.raises(ActionError, match=r"step 0: episode 0, channel '.+': action nan is not finite"):
        env.step(np.full(7, np.nan, np.float32))


def test_action_of_an_autoreset_is_ignored_whatever_it_is():
    env = AdCampaignVectorEnv(2, MARKET)
    flown(env, 2, uniform_actions(2, 2))
    obs, *_ = env.step(np.full((2, 7), np.nan, np.float32))
    assert np.isfinite(obs).all()


def test_a_single_flight_that_ended_needs_a_reset():
    env = AdCampaignEnv()
    env.reset(seed=0)
    for _ in range(HOURS):
        env.step(np.zeros(7, np.float32))
    with pytest.raises(gymnasium.error.ResetNeeded, match="ended"):
        env.step(np.zeros(7, np.float32))
