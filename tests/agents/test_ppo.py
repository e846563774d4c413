"""PPO's gradients against finite differences, its advantages against the textbook, and that it learns."""

import os
import subprocess
import sys

import numpy as np
import pytest
from stepped import Stepped

from gaelp_ray.agents import make_agent, network, ppo
from gaelp_ray.agents.network import MLP
from gaelp_ray.agents.ppo import PPO, Batch, generalised_advantages
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.core.library import Core, load, supported_levels
from gaelp_ray.errors import TrainingError
from gaelp_ray.market import load_market
from gaelp_ray.records import Rollout
from gaelp_ray.sections import PPOConfig
from gaelp_ray.simulator import AdCampaignVectorEnv
from gaelp_ray.training import fly

OBSERVED, ACTIONS = 3, 2


def learner(learning_rate: float = 3e-3, **ppo: object) -> PPO:
    config = GAELPExperimentConfig(learning_rate=learning_rate, ppo={"hidden_size": 8} | ppo)
    return PPO(config, OBSERVED, ACTIONS)


def in_float64(**ppo: object) -> PPO:
    """A learner whose networks are exact enough for finite differences, with weights of usual size."""
    agent, rng = learner(**ppo), np.random.default_rng(1)
    agent.policy = MLP([OBSERVED, 6, 5, ACTIONS], rng, last_gain=0.7, dtype=np.float64)
    agent.value = MLP([OBSERVED, 6, 5, 1], rng, last_gain=1.0, dtype=np.float64)
    agent.log_std = np.array([-0.5, 0.2])
    return agent


def log_prob(agent: PPO, obs: np.ndarray, actions: np.ndarray) -> np.ndarray:
    std = np.exp(agent.log_std)
    density = np.exp(-0.5 * ((actions - agent.policy(obs)) / std) ** 2) / (std * np.sqrt(2.0 * np.pi))
    return np.log(density.prod(axis=1))


def a_batch(agent: PPO, log_ratio: np.ndarray, advantages: np.ndarray) -> Batch:
    """Samples whose probability has changed by exp(log_ratio) since they were flown."""
    rng, size = np.random.default_rng(2), len(advantages)
    obs, actions = rng.standard_normal((size, OBSERVED)), rng.standard_normal((size, ACTIONS))
    flown = log_prob(agent, obs, actions) - log_ratio
    return Batch(obs, actions, flown, advantages, rng.standard_normal(size))


def loss(agent: PPO, batch: Batch, clip: float, entropy_coef: float) -> float:
    """The objective as Schulman et al. (2017) write it, negated."""
    ratio = np.exp(log_prob(agent, batch.obs, batch.actions) - batch.log_prob)
    advantage = (batch.advantages - batch.advantages.mean()) / batch.advantages.std()
    surrogate = np.minimum(ratio * advantage, np.clip(ratio, 1.0 - clip, 1.0 + clip) * advantage)
    entropy = (agent.log_std + 0.5 * np.log(2.0 * np.pi * np.e)).sum()
    return -surrogate.mean() - entropy_coef * entropy + ((agent.value(batch.obs)[:, 0] - batch.returns) ** 2).mean()


@pytest.mark.parametrize("entropy_coef", [0.0, 0.05])
def test_gradients_agree_with_finite_differences(entropy_coef):
    agent, rng = in_float64(entropy_coef=entropy_coef, clip_range=0.2), np.random.default_rng(3)
    batch = a_batch(agent, 0.3 * rng.standard_normal(40), rng.standard_normal(40))
    gradients, diagnostics = agent.gradients(batch)
    assert 0.1 < diagnostics["learning/clipped_share"] < 0.9
    parameters = [*agent.policy.parameters, *agent.value.parameters, agent.log_std]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        numeric = np.zeros_like(parameter)
        for index in np.ndindex(parameter.shape):
            kept, losses = parameter[index], []
            for step in (1e-6, -1e-6):
                parameter[index] = kept + step
                losses.append(loss(agent, batch, 0.2, entropy_coef))
            parameter[index] = kept
            numeric[index] = (losses[0] - losses[1]) / 2e-6
        np.testing.assert_allclose(gradient, numeric, atol=1e-6)


def test_clipped_samples_have_no_policy_gradient():
    agent = in_float64()
    good, bad = np.ones(10), -np.ones(10)
    batch = a_batch(agent, np.concatenate([0.5 * good, 0.5 * bad]), np.concatenate([good, bad]))
    gradients, diagnostics = agent.gradients(batch)
    policy = [*gradients[: len(agent.policy.parameters)], gradients[-1]]
    assert diagnostics["learning/clipped_share"] == 1.0
    assert not any(gradient.any() for gradient in policy)
    assert gradients[len(agent.policy.parameters)].any()


def test_samples_that_moved_the_wrong_way_are_not_clipped():
    agent = in_float64()
    good, bad = np.ones(10), -np.ones(10)
    batch = a_batch(agent, np.concatenate([0.5 * bad, 0.5 * good]), np.concatenate([good, bad]))
    gradients, diagnostics = agent.gradients(batch)
    assert diagnostics["learning/clipped_share"] == 0.0
    assert gradients[0].any()


def slow_advantages(rollout: Rollout, values: np.ndarray, gamma: float, lam: float) -> np.ndarray:
    """GAE by its definition: the discounted sum of all temporal differences to the end of the flight."""
    steps, flights = rollout.rewards.shape
    advantages = np.zeros((steps, flights))
    for b in range(flights):
        for t in range(steps):
            for later in range(t, steps):
                last = rollout.dones[later, b]
                following = 0.0 if last else values[later + 1, b]
                delta = rollout.rewards[later, b] + gamma * following - values[later, b]
                advantages[t, b] += (gamma * lam) ** (later - t) * delta
                if last:
                    break
    return advantages


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("lam", [1.0, 0.95, 0.5, 0.0])
def test_advantages_agree_with_their_definition(gamma, lam):
    rng = np.random.default_rng(4)
    dones = rng.random((20, 3)) < 0.15
    dones[-1] = True
    rollout = Rollout(np.zeros((20, 3, 1)), np.zeros((20, 3, 1)), rng.standard_normal((20, 3)), dones, np.zeros(3), 0.0)
    values = rng.standard_normal((20, 3))
    fast = generalised_advantages(rollout, values, PPOConfig(gamma=gamma, gae_lambda=lam))
    np.testing.assert_allclose(fast, slow_advantages(rollout, values, gamma, lam))


def play(agent: PPO, seed: int, progress: float = 0.0, flights: int = 256) -> tuple[Rollout, np.ndarray]:
    """One-hour flights that reward closeness to a target which depends on the observation."""
    rng = np.random.default_rng(seed)
    obs = rng.standard_normal((flights, OBSERVED)).astype(np.float32)
    agent.begin(flights, rng)
    actions = agent.act(obs, explore=True)
    target = np.stack([0.5 * obs[:, 0], np.full(flights, -0.4)], axis=1)
    rewards = -((actions - target) ** 2).sum(axis=1)[None]
    return Rollout(obs[None], actions[None], rewards, np.ones((1, flights), bool), rewards[0], progress), target


def distance(agent: PPO) -> float:
    rollout, target = play(agent, seed=999)
    return float(np.abs(agent.act(rollout.obs[0]) - target).mean())


def test_updates_improve_a_simple_objective():
    agent = learner(learning_rate=1e-2)
    start = distance(agent)
    for seed in range(60):
        agent.update(play(agent, seed)[0])
    assert distance(agent) < 0.35 * start


def test_learning_is_repeated_bit_for_bit():
    states = []
    for _ in range(2):
        agent = learner()
        for seed in range(3):
            agent.update(play(agent, seed)[0])
        states.append(agent.state_dict())
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name])


def test_learning_rate_falls_to_a_tenth():
    moved = {}
    for progress in (0.0, 0.5, 1.0):
        agent = learner(epochs=1, minibatches=1)
        agent.update(play(agent, 1, progress)[0])
        moved[progress] = agent.value.biases[-1][0]
    assert moved[1.0] / moved[0.0] == pytest.approx(0.1, rel=1e-3)
    assert moved[0.5] / moved[0.0] == pytest.approx(0.55, rel=1e-3)


def test_steps_are_epochs_times_minibatches():
    agent = learner(epochs=3, minibatches=5)
    agent.update(play(agent, 1)[0])
    assert agent.adam.steps == 15


def test_update_that_diverged_to_nan_names_the_remedy():
    agent = learner()
    rollout, _ = play(agent, 1)
    agent.policy.weights[0][0, 0] = np.nan
    with pytest.raises(TrainingError, match=r"diverged .* lower learning_rate"):
        agent.update(rollout)


def test_update_takes_its_observations_into_the_normaliser():
    agent = learner()
    rollout, _ = play(agent, 1)
    agent.normaliser.mean[:], agent.normaliser.count = 100.0, 1.0
    agent.update(rollout)
    assert agent.normaliser.count == 257.0
    expected = (100.0 + rollout.obs[0].sum(axis=0)) / 257.0
    np.testing.assert_allclose(agent.normaliser.mean, expected, rtol=1e-5)


def test_exploration_has_the_initial_spread_around_the_mean():
    agent = learner(initial_std=0.3)
    rollout, _ = play(agent, 5, flights=4000)
    noise = rollout.actions[0] - agent.act(rollout.obs[0])
    assert noise.std(axis=0) == pytest.approx(0.3, rel=0.05)
    assert np.abs(noise.mean(axis=0)).max() < 4.0 * 0.3 / np.sqrt(4000)


def test_acting_without_exploration_leaves_the_learner_unchanged():
    agent = learner()
    before = agent.state_dict()
    agent.begin(2, np.random.default_rng(0))
    agent.act(np.ones((2, OBSERVED), np.float32))
    for name, array in agent.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_untrained_residual_acts_almost_like_its_reference():
    market = load_market("airfrance-search")
    learned, reference = (
        make_agent(GAELPExperimentConfig(agent_type=name), market.landscape) for name in ("PPO", "BayesDual")
    )
    observations = fly(AdCampaignVectorEnv(8, market), Stepped(reference), ([3, 1], [3, 2]), progress=0.0).obs
    for agent in (learned, reference):
        agent.begin(8, np.random.default_rng(0))
    difference = [np.abs(learned.act(obs) - reference.act(obs)).max() for obs in observations]
    # In units of the log bid, where the correction could reach 0.3.
    assert 0.0 < max(difference) * market.landscape.action_scale < 0.03


@pytest.fixture
def _numpy(monkeypatch):
    for module in (network, ppo):
        monkeypatch.setattr(module, "load", lambda: Core(None, "numpy"))


def updated(**section: object) -> PPO:
    agent = learner(epochs=1, minibatches=4, averaging=0.5, **section)
    for seed in range(2):
        agent.update(play(agent, seed)[0])
    return agent


def test_numpy_learns_what_c_learns(request):
    compiled = updated().state_dict()
    request.getfixturevalue("_numpy")
    expected = updated().state_dict()
    assert compiled.keys() == expected.keys()
    for name, array in expected.items():
        assert compiled[name].dtype == array.dtype
        np.testing.assert_allclose(compiled[name], array, rtol=1e-3, atol=2e-5, err_msg=name)


@pytest.mark.usefixtures("_numpy")
def test_updates_improve_a_simple_objective_in_numpy():
    test_updates_improve_a_simple_objective()


def test_state_has_the_names_and_shapes_of_old_models():
    state = learner(averaging=0.5).state_dict()
    shapes = [(3, 8), (8, 8), (8, 2), (8,), (8,), (2,), (3, 8), (8, 8), (8, 1), (8,), (8,), (1,), (2,)]
    for prefix in ("parameter", "adam_first", "adam_second"):
        assert [state[f"{prefix}_{i}"].shape for i in range(13)] == shapes
    assert [state[f"deployed_{i}"].shape for i in range(6)] == shapes[:6]
    assert {"adam_steps", "normaliser_mean", "normaliser_variance", "normaliser_count"} < state.keys()


def test_loaded_state_is_what_acts_and_learns_on():
    first, second = learner(averaging=0.5), learner(averaging=0.5)
    first.update(play(first, 1)[0])
    second.load_state_dict(first.state_dict())
    obs = np.random.default_rng(0).standard_normal((5, OBSERVED)).astype(np.float32)
    np.testing.assert_array_equal(second.act(obs), first.act(obs))
    for agent in (first, second):
        agent.update(play(agent, 2)[0])
    for name, array in first.state_dict().items():
        np.testing.assert_array_equal(second.state_dict()[name], array)


def test_deployed_actions_do_not_depend_on_the_batch():
    if load().library is None:
        pytest.skip("no compiled core: products of numpy follow the size of the batch")
    agent = PPO(GAELPExperimentConfig(), 62, 7)
    obs = np.random.default_rng(0).standard_normal((301, 62)).astype(np.float32)
    together = agent.act(obs)
    for part in (slice(0, 1), slice(5, 64), slice(300, 301)):
        np.testing.assert_array_equal(agent.act(obs[part]), together[part])


TRAINING = """
import hashlib, sys
from gaelp_ray.core import library
library.supported_levels = lambda: [sys.argv[1]]
library.load.cache_clear()
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.training import make_untrained, train
config = GAELPExperimentConfig(
    agent_type="PPO", batch_size=10, num_episodes=20, reward_function="regret", learning_rate=3e-3,
    ppo={"reference": sys.argv[2], "hidden_size": 20, "averaging": 0.5, "epochs": 2},
)
env, agent = make_untrained(config)
print(library.implementation(), [iteration.rewards.tobytes().hex() for iteration in train(env, agent, config)][-1])
print(hashlib.sha256(b"".join(array.tobytes() for _, array in sorted(agent.state_dict().items()))).hexdigest())
"""


@pytest.mark.parametrize("reference", ["none", "BayesDual"])
def test_training_has_the_same_bits_with_avx2_and_avx512(reference):
    levels = ["x86-64-v4", "x86-64-v3"]
    if load().library is None or not set(levels) <= set(supported_levels()):
        pytest.skip("needs the compiled core, and a processor with AVX-512")
    outputs = []
    for level, other in zip(
        levels, ({}, {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "X86_V4"}), strict=True
    ):
        words = [sys.executable, "-c", TRAINING, level, reference]
        done = subprocess.run(words, env={**os.environ, **other}, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(f"c ({level}) ")
        outputs.append(done.stdout.removeprefix(f"c ({level}) "))
    assert outputs[0] == outputs[1]
