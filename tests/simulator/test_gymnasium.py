"""A good citizen: gymnasium's checkers and wrappers, its own vectorisation, and another library's learner, unchanged.

What gymnasium asks of a vector environment is tested here through what it ships: SyncVectorEnv as the reference of
autoreset, and the wrappers that rely on it.
"""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.env_match import check_environments_match
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import NormalizeObservation, RecordEpisodeStatistics
from gymnasium.wrappers import vector as vector_wrappers

from gaelp_ray.agents.registry import missing_extra
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.market.market import market_names
from gaelp_ray.simulator import AdCampaignEnv, AdCampaignVectorEnv

ID = "gaelp/AdCampaign-v0"
with_sb3 = pytest.mark.skipif(missing_extra("sb3:PPO") is not None, reason=str(missing_extra("sb3:PPO")))


def make_batch(flights: int = 3, **arguments) -> AdCampaignVectorEnv:
    return gymnasium.make_vec(ID, num_envs=flights, vectorization_mode="vector_entry_point", **arguments)


def actions(env: gymnasium.vector.VectorEnv, steps: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.0, 1.0, (steps, *env.action_space.shape)).astype(np.float32)


@pytest.mark.parametrize("reward", ["ROAS_optimized", "expected_ROAS"])
@pytest.mark.parametrize("market", market_names())
def test_checker_has_nothing_to_say(market, reward):
    check_env(gymnasium.make(ID, market=market, reward=reward).unwrapped)  # warnings are errors here


def test_made_twice_it_is_the_same_environment():
    first, second = gymnasium.make(ID), gymnasium.make(ID)
    check_environments_match(first, second, num_steps=2 * HOURS, seed=3)


def test_whole_flights_pass_the_checks_of_every_step():
    env = RecordEpisodeStatistics(NormalizeObservation(gymnasium.make(ID)))
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(HOURS):
        obs, _, terminated, truncated, info = env.step(env.action_space.sample())
        assert env.observation_space.contains(obs)
    assert (terminated, truncated) == (True, False)
    assert info["episode"]["l"] == HOURS
    assert info["episode"]["r"] == pytest.approx(info["revenue"] / info["budget"])


def test_spaces_of_a_batch_are_those_of_one_flight_repeated():
    env, single = make_batch(3), gymnasium.make(ID)
    assert (env.single_observation_space, env.single_action_space) == (single.observation_space, single.action_space)
    assert env.observation_space == gymnasium.vector.utils.batch_space(single.observation_space, 3)
    assert env.action_space == gymnasium.vector.utils.batch_space(single.action_space, 3)
    assert env.spec.id == ID


def test_results_of_a_step_have_the_shapes_and_types_of_the_convention():
    env = make_batch(3)
    obs, info = env.reset(seed=0, options={"anything": 1})
    assert env.observation_space.contains(obs)
    assert info == {}
    for action in actions(env, HOURS):
        obs, rewards, terminations, truncations, info = env.step(action)
        assert env.observation_space.contains(obs)
        assert (rewards.shape, rewards.dtype) == ((3,), np.float64)
        assert (terminations.shape, terminations.dtype) == ((3,), np.bool_)
        assert (truncations.shape, truncations.dtype) == ((3,), np.bool_)
    assert terminations.all()
    for name in [name for name in info if not name.startswith("_")]:
        assert info[name].shape == (3,)
        assert info[f"_{name}"].tolist() == [True] * 3


def test_results_of_a_step_are_not_overwritten_by_the_next():
    env = make_batch(2)
    obs, _ = env.reset(seed=0)
    kept, (later, rewards, *_) = obs.copy(), env.step(actions(env, 1)[0])
    kept_later, kept_rewards = later.copy(), rewards.copy()
    env.step(actions(env, 1, seed=1)[0])
    for before, after in ((kept, obs), (kept_later, later), (kept_rewards, rewards)):
        np.testing.assert_array_equal(before, after)


def test_batch_of_one_is_gymnasiums_own_vectorisation_through_autoresets():
    """Three flights in a row: observations, rewards, ends and sums are those of SyncVectorEnv over the single env."""
    ours, theirs = make_batch(1), SyncVectorEnv([AdCampaignEnv])
    np.testing.assert_array_equal(ours.reset(seed=11)[0], theirs.reset(seed=11)[0])
    ends = []
    for number, action in enumerate(actions(ours, 2 * HOURS + 40)):
        mine, reference = ours.step(action), theirs.step(action)
        for one, other in zip(mine[:4], reference[:4], strict=True):
            np.testing.assert_array_equal(one, other)
        assert mine[4].keys() == reference[4].keys()
        for name in mine[4]:
            np.testing.assert_array_equal(mine[4][name], reference[4][name])
        ends += [number] if mine[2].any() else []
    assert ends == [HOURS - 1, 2 * HOURS]  # the step between two flights resets
    theirs.close()


def test_seed_is_one_number_for_the_whole_batch():
    with pytest.raises(gymnasium.error.Error, match="Seed must be"):
        make_batch(2).reset(seed=[1, 2])


def test_closing_is_final_and_may_be_repeated():
    env = make_batch(2)
    env.reset(seed=0)
    env.close()
    env.close()
    assert env.closed


def test_recorded_returns_are_the_flights_roas_times_delivery():
    env = vector_wrappers.RecordEpisodeStatistics(make_batch(4))
    env.reset(seed=5)
    for number, action in enumerate(actions(env, 2 * HOURS + 1), start=1):
        *_, info = env.step(action)
        if number in (HOURS, 2 * HOURS + 1):
            np.testing.assert_array_equal(info["episode"]["l"], [HOURS] * 4)
            np.testing.assert_allclose(info["episode"]["r"], info["revenue"] / info["budget"])
        else:
            assert "episode" not in info
    assert env.episode_count == 8


WRAPPERS = {
    "NormalizeObservation": vector_wrappers.NormalizeObservation,
    "NormalizeReward": vector_wrappers.NormalizeReward,
    "ClipAction": vector_wrappers.ClipAction,
    "FlattenObservation": vector_wrappers.FlattenObservation,
    "RescaleAction": lambda env: vector_wrappers.RescaleAction(env, np.float32(0.0), np.float32(1.0)),
    "ClipReward": lambda env: vector_wrappers.ClipReward(env, 0.0, 0.01),
    "DictInfoToList": vector_wrappers.DictInfoToList,
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_vector_wrappers_work_through_an_autoreset(wrap):
    env = wrap(make_batch(3))
    env.reset(seed=2)
    for _ in range(HOURS + 2):
        obs, rewards, *_ = env.step(env.action_space.sample())
        assert obs.shape == env.observation_space.shape
        assert np.isfinite(obs).all()
        assert np.isfinite(rewards).all()


def test_clipped_and_rescaled_actions_bid_as_the_actions_they_stand_for():
    plain, clipped, rescaled = (make_batch(2) for _ in range(3))
    clipped = vector_wrappers.ClipAction(clipped)
    rescaled = vector_wrappers.RescaleAction(rescaled, np.float32(0.0), np.float32(1.0))
    for env in (plain, clipped, rescaled):
        env.reset(seed=4)
    highest = np.ones(plain.action_space.shape, np.float32)
    expected = plain.step(highest)[0]
    np.testing.assert_array_equal(clipped.step(3.0 * highest)[0], expected)
    np.testing.assert_array_equal(rescaled.step(highest)[0], expected)


@with_sb3
def test_checker_of_stable_baselines3_has_nothing_to_say():
    from stable_baselines3.common.env_checker import check_env as check_for_sb3

    check_for_sb3(gymnasium.make(ID), warn=True)


@with_sb3
def test_ppo_of_stable_baselines3_trains_on_the_environment_unchanged():
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback

    class Ends(BaseCallback):
        """Collects the last info of every flight."""

        def __init__(self) -> None:
            super().__init__()
            self.infos: list[dict] = []

        def _on_step(self) -> bool:
            self.infos += [info for info in self.locals["infos"] if "episode" in info]
            return True

    torch.set_num_threads(1)
    ends, model = (
        Ends(),
        PPO("MlpPolicy", gymnasium.make(ID), n_steps=4 * HOURS, batch_size=HOURS, seed=0, device="cpu"),
    )
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.learn(12 * HOURS, callback=ends)
    after = list(model.policy.parameters())
    assert all(torch.isfinite(parameter).all() for parameter in after)
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert [info["episode"]["l"] for info in ends.infos] == [HOURS] * 12
    for info in ends.infos:
        assert 0.0 < info["cost"] <= info["budget"]
        assert info["episode"]["r"] == pytest.approx(info["revenue"] / info["budget"], abs=1e-5)
