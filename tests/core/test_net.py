"""PPO's networks in C against numpy, with every instruction set of this processor and every compiler."""

from __future__ import annotations

import numpy as np
import pytest

from gaelp_ray.agents import network as network_module
from gaelp_ray.agents import ppo as ppo_module
from gaelp_ray.agents.network import MLP, Adam, Normaliser
from gaelp_ray.agents.ppo import PPO
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.core import net
from gaelp_ray.core.library import Core
from gaelp_ray.core.net import Batch, CompiledLearner, CompiledNetwork, Constants, Learned, Objective, Sizes
from gaelp_ray.market import elementary
from gaelp_ray.records import Rollout
from gaelp_ray.sections import PPOConfig

FUSED = ("x86-64-v4", "x86-64-v3")
SIZES = [Sizes(72, 64, 1), Sizes(62, 64, 7), Sizes(5, 23, 17), Sizes(3, 4, 2), Sizes(130, 100, 3)]
N = 300


@pytest.fixture(autouse=True)
def _numpy(monkeypatch):
    """Agents compute in numpy here."""
    for module in (network_module, ppo_module):
        monkeypatch.setattr(module, "load", lambda: Core(None, "numpy"))


def constants(sizes: Sizes, rng: np.random.Generator) -> tuple[Constants, Normaliser]:
    normaliser = Normaliser(sizes.inputs)
    normaliser.update(rng.normal(0.5, 3.0, (50, sizes.inputs)))
    return Constants(*normaliser.constants()), normaliser


def mlp(sizes: Sizes, seed: int = 1) -> MLP:
    made = MLP([sizes.inputs, sizes.hidden, sizes.hidden, sizes.outputs], np.random.default_rng(seed), last_gain=0.7)
    made.flat += (0.1 * np.random.default_rng(seed + 1).standard_normal(made.flat.shape)).astype(np.float32)
    return made


def in_float64(network: MLP) -> MLP:
    copied = network.copy()
    copied.move(np.empty(copied.flat.shape))
    return copied


def observations(sizes: Sizes, n: int = N) -> np.ndarray:
    return np.random.default_rng(3).normal(0.5, 4.0, (n, sizes.inputs)).astype(np.float32)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_outputs_are_those_of_numpy(libraries, sizes):
    fixed, normaliser = constants(sizes, np.random.default_rng(0))
    network, obs = mlp(sizes), observations(sizes)
    expected = in_float64(network)(normaliser(obs).astype(np.float64))
    for library in libraries.values():
        output = CompiledNetwork(library, sizes, network.flat, fixed)(obs)
        np.testing.assert_allclose(output, expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize("size", [0.0, 1e-20, 1e-6, 1e-3, 0.3, 1.0, 4.0, 8.9, 20.0, 1e30, np.inf])
def test_tanh_is_accurate_to_a_few_units_in_the_last_place(libraries, size):
    sizes = Sizes(1, 4, 1)
    network = mlp(sizes)
    network.flat[:] = 0.0
    network.weights[0][0, 0] = network.weights[2][0, 0] = 1.0
    network.weights[1][0, 0] = 1e-3  # where tanh is the identity in float32, up to 3e-7 of it
    fixed = Constants(np.zeros(1, np.float32), np.ones(1, np.float32))
    network.biases[0][0] = size
    for library in libraries.values():
        for sign in (1.0, -1.0):
            network.biases[0][0] = sign * size
            output = CompiledNetwork(library, sizes, network.flat, fixed)(np.zeros((1, 1), np.float32))
            expected = np.tanh(1e-3 * np.tanh(np.float64(np.float32(sign * size))))
            np.testing.assert_allclose(output[0, 0], expected, rtol=4e-7)


def test_rows_do_not_depend_on_their_batch(libraries):
    for sizes in SIZES:
        fixed, _ = constants(sizes, np.random.default_rng(0))
        network, obs = mlp(sizes), observations(sizes)
        for library in libraries.values():
            evaluate = CompiledNetwork(library, sizes, network.flat, fixed)
            together = evaluate(obs)
            for part in (slice(0, 1), slice(7, 8), slice(95, 98), slice(100, 205)):
                np.testing.assert_array_equal(evaluate(obs[part]), together[part])


def test_network_refuses_observations_of_another_size(libraries):
    fixed, _ = constants(SIZES[0], np.random.default_rng(0))
    for library in libraries.values():
        evaluate = CompiledNetwork(library, SIZES[0], mlp(SIZES[0]).flat, fixed)
        with pytest.raises(ValueError, match="observations of 5 numbers for a network of 72"):
            evaluate(np.zeros((2, 5), np.float32))


class Learning:
    """A PPO in float64 with a batch, and the same for C."""

    def __init__(self, sizes: Sizes, entropy_coef: float = 0.01) -> None:
        section = {"hidden_size": sizes.hidden, "entropy_coef": entropy_coef}
        self.agent = PPO(GAELPExperimentConfig(ppo=section), sizes.inputs, sizes.outputs)
        rng = np.random.default_rng(5)
        agent, self.sizes = self.agent, sizes
        agent._flat += (0.1 * rng.standard_normal(agent._flat.shape)).astype(np.float32)
        self.constants, agent.normaliser = constants(sizes, rng)
        self.parameters = agent._flat.copy()
        obs = observations(sizes)
        mean = agent.policy(agent.normaliser(obs))
        actions = (mean + 0.3 * rng.standard_normal(mean.shape)).astype(np.float32)
        log_prob = agent._log_prob(mean, actions) + (0.2 * rng.standard_normal(len(obs))).astype(np.float32)
        advantages, returns = rng.normal(0.3, 2.0, (2, len(obs))).astype(np.float32)
        self.batch = Batch(obs, actions, log_prob, advantages, returns)

    def expected(self, rows: np.ndarray) -> tuple[list[np.ndarray], dict[str, float]]:
        agent = self.agent
        agent.policy, agent.value = in_float64(agent.policy), in_float64(agent.value)
        agent.log_std = agent.log_std.astype(np.float64)
        normalised = self.batch._replace(obs=agent.normaliser(self.batch.obs))
        return agent.gradients(Batch(*(array[rows].astype(np.float64) for array in normalised)))

    def compiled(self, library) -> tuple[CompiledLearner, Learned]:
        learned = Learned(self.parameters.copy(), *(np.zeros_like(self.parameters) for _ in range(2)))
        objective = Objective(0.2, self.agent._ppo.entropy_coef, 0.5)
        return CompiledLearner(library, self.sizes, objective, learned, self.constants, self.batch), learned


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("rows", [N, 97, 96, 1])
def test_gradients_are_those_of_numpy(libraries, sizes, rows):
    learning, chosen = Learning(sizes), np.random.default_rng(6).permutation(N)[:rows]
    expected, diagnostics = learning.expected(chosen)
    sizes_of_all = np.cumsum([gradient.size for gradient in expected])[:-1]
    for library in libraries.values():
        learner, _ = learning.compiled(library)
        for _ in range(2):  # nothing is left from the first call
            gradient, clipped_share, value_loss = learner.gradients(chosen)
        for found, wanted in zip(np.split(gradient, sizes_of_all), expected, strict=True):
            # numpy's own error in float32 is up to 1.2e-5 of the largest.
            np.testing.assert_allclose(found, wanted.ravel(), rtol=0, atol=2e-5 * max(np.abs(wanted).max(), 1e-2))
        assert clipped_share == diagnostics["learning/clipped_share"]
        assert value_loss == pytest.approx(diagnostics["learning/value_loss"], rel=1e-5)


def test_steps_are_adams(libraries):
    learning = Learning(SIZES[1])
    rows = np.arange(N)
    for library in libraries.values():
        learner, learned = learning.compiled(library)
        parameters = learning.parameters.astype(np.float64)
        adam = Adam([parameters], max_norm=0.5)
        rates = Adam([np.zeros(1)], max_norm=0.5)
        for scale in (1.0, 1.0, 0.3):
            gradient, *_ = learner.gradients(rows)
            adam.step([gradient.astype(np.float64)], scale * 1e-2)
            learner.step(rates.next_rate(scale * 1e-2))
            np.testing.assert_allclose(learned.parameters, parameters, atol=2e-7)
        np.testing.assert_allclose(learned.first, adam.flat_first, atol=1e-8)
        np.testing.assert_allclose(learned.second, adam.flat_second, rtol=2e-5, atol=1e-12)


def test_small_gradients_are_not_scaled_and_nan_reaches_the_parameters(libraries):
    learning = Learning(SIZES[3])
    for library in libraries.values():
        learner, learned = learning.compiled(library)
        gradient, *_ = learner.gradients(np.arange(N))
        gradient[:] = 1e-4
        learner.step(0.1)
        np.testing.assert_allclose(learned.first, 1e-5, rtol=1e-6)
        learned.parameters[0] = np.nan
        learner.gradients(np.arange(N))
        learner.step(0.1)
        assert np.isnan(learned.parameters).any()


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_bits_are_the_same_with_every_fused_multiply_add(libraries, sizes):
    learning, results = Learning(sizes), []
    for level in libraries.keys() & set(FUSED):
        learner, learned = learning.compiled(libraries[level])
        rng = np.random.default_rng(7)
        for _ in range(3):
            learner.gradients(rng.permutation(N)[:150])
            learner.step(1e-2)
        evaluate = CompiledNetwork(libraries[level], sizes, learned.parameters, learning.constants)
        results.append((*(array.tobytes() for array in learned), evaluate(learning.batch.obs).tobytes()))
    assert len(set(results)) <= 1


def test_exploration_has_the_bits_of_numpy(libraries):
    rng = np.random.default_rng(8)
    mean = rng.standard_normal((N, 3)).astype(np.float32)
    log_std = np.array([-1.6, 0.1, -3.0])
    spread, uniform = (elementary.exp(log_std), log_std), rng.random((N, 3))
    before = mean.copy()
    expected = ppo_module.sample(mean, spread, uniform)
    for library in libraries.values():
        for found, wanted in zip(net.sample(library, mean, spread, uniform), expected, strict=True):
            assert found.dtype == wanted.dtype == np.float32
            np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(mean, before)


def test_moments_have_the_bits_of_numpy(libraries):
    x = observations(SIZES[0], 1000)
    expected = network_module.column_moments(x)
    for library in libraries.values():
        for found, wanted in zip(net.moments(library, x), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_advantages_have_the_bits_of_numpy(libraries):
    rng = np.random.default_rng(9)
    dones = rng.random((40, 7)) < 0.1
    rewards, values = rng.standard_normal((2, 40, 7))
    rollout = Rollout(np.zeros((40, 7, 1)), np.zeros((40, 7, 1)), rewards, dones, np.zeros(7), 0.0)
    for gamma, lam in ((1.0, 0.95), (0.97, 0.9)):
        values32 = values.astype(np.float32)
        expected = ppo_module.generalised_advantages(rollout, values32, PPOConfig(gamma=gamma, gae_lambda=lam))
        for library in libraries.values():
            found = net.advantages(library, rewards, dones, values32, (gamma, lam))
            np.testing.assert_array_equal(found, expected)
