"""PPO: Gaussian policy, generalised advantage estimation, clipped objective (Schulman et al. 2016, 2017).

The policy and the value function are separate tanh networks. A rollout is one batch of whole flights, so that no
value has to be bootstrapped at its end. Where the core is compiled, C evaluates the networks and computes gradients and
steps (core/net.py); numpy computes the same up to rounding. Start at PPO.update.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gaelp_ray.agents.base import Action, State
from gaelp_ray.agents.network import MLP, Adam, Normaliser
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.core import net
from gaelp_ray.core.library import load
from gaelp_ray.core.net import Batch, CompiledLearner, CompiledNetwork, Constants, Learned, Objective, Sizes
from gaelp_ray.errors import TrainingError
from gaelp_ray.market.elementary import exp, log, ndtri, total
from gaelp_ray.market.observation import Observation
from gaelp_ray.records import FloatArray, Rollout, zeros
from gaelp_ray.sections import PPOConfig

F32 = npt.NDArray[np.float32]
HALF_LOG_2_PI = 0.91893853320467274178
FINAL_RATE = 0.1
"""Share of the learning rate that is left at the end of a training; it falls linearly."""


class Hour(NamedTuple):
    """What the policy saw and did in one hour of B exploring flights."""

    obs: Observation  # (B, D)
    action: F32  # (B, A)
    log_prob: F32  # (B,)


Evaluator = Callable[[Observation], F32]


class PPO:
    """A policy over actions in R^A (the composition around it clips them), with its value function."""

    def __init__(self, config: GAELPExperimentConfig, observed: int, actions: int) -> None:
        self._arguments = config, observed, actions
        self._ppo, self._learning_rate = config.ppo, config.learning_rate
        rng = np.random.default_rng([config.seed, 1])
        hidden = [config.ppo.hidden_size] * 2
        self.policy = MLP([observed, *hidden, actions], rng, last_gain=0.01)
        self.value = MLP([observed, *hidden, 1], rng, last_gain=1.0)
        # All parameters are views of one array, which C takes as a whole.
        parts = self.policy.flat.size, self.value.flat.size
        self._flat: F32 = np.empty(sum(parts) + actions, np.float32)
        policy, value, self.log_std = np.split(self._flat, np.cumsum(parts))
        self.policy.move(policy)
        self.value.move(value)
        self.log_std[...] = log(np.array(config.ppo.initial_std))
        self.normaliser = Normaliser(observed)
        self._parameters = [*self.policy.parameters, *self.value.parameters, self.log_std]
        self.adam = Adam(self._parameters, config.ppo.max_grad_norm)
        # What is deployed: a moving average of the policy's parameters over the updates, if there is any averaging.
        self.deployed = self.policy if not config.ppo.averaging else self.policy.copy()
        self._sizes = Sizes(observed, config.ppo.hidden_size, actions)
        self._constants = Constants(*self.normaliser.constants())
        self._policy, self._deployed = self._evaluator(self.policy), self._evaluator(self.deployed)
        self._value = self._evaluator(self.value, outputs=1)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and pickled without addresses; the copy's parameters are views of an array of its own, too."""
        flight = {name: self.__dict__[name] for name in ("_rng", "_flown", "_spread") if name in self.__dict__}
        return _restored, (*self._arguments, self.state_dict(), flight)

    def _evaluator(self, network: MLP, **other: int) -> Evaluator:
        """A function of observations: C if there is a library, else numpy."""
        library = load().library
        if library is None:
            return partial(_evaluate, network, self.normaliser)
        return CompiledNetwork(library, self._sizes._replace(**other), network.flat, self._constants)

    def _renew(self) -> None:
        """Tell C what the normaliser has become."""
        for old, new in zip(self._constants, self.normaliser.constants(), strict=True):
            old[...] = new

    def begin(self, flights: int, rng: np.random.Generator) -> None:
        """New flights: drop what was remembered of the last ones."""
        self._rng = rng
        self._flown: list[Hour] = []
        log_std = self.log_std.astype(np.float64)
        self._spread = exp(log_std), log_std
        self._renew()

    def act(self, obs: Observation, explore: bool = False) -> Action:
        """The deployed policy's mean, or with `explore` a sample of the learning one's, remembered for the update."""
        if not explore:
            return self._deployed(obs)
        mean = self._policy(obs)
        action, log_prob = sample(mean, self._spread, self._rng.random(mean.shape))
        self._flown.append(Hour(obs, action, log_prob))
        return action

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Epochs of minibatch steps on the flights just flown; returns diagnostics of the last step.

        Raises TrainingError if a batch cannot be cut into the minibatches, or if the learning has diverged.
        """
        flown = Hour(*(np.concatenate(column) for column in zip(*self._flown, strict=True)))
        self._flown = []
        if len(flown.obs) < self._ppo.minibatches:
            raise TrainingError(
                f"a batch of {len(flown.obs)} flight hours cannot be cut into {self._ppo.minibatches} minibatches: "
                "lower ppo.minibatches or raise batch_size"
            )
        step = self._stepper(self._batch(flown, rollout))
        rate = self._learning_rate * (1.0 - (1.0 - FINAL_RATE) * rollout.progress)
        diagnostics: dict[str, float] = {}
        for _ in range(self._ppo.epochs):
            order = self._rng.permutation(len(flown.obs))
            for rows in np.array_split(order, self._ppo.minibatches):
                diagnostics = step(rows, rate)
        if not np.isfinite(self._flat).all():
            raise TrainingError("the policy diverged to numbers that are not finite: lower learning_rate")
        self.normaliser.update(flown.obs)
        self._renew()
        self._average()
        return diagnostics

    def _average(self) -> None:
        keep = self._ppo.averaging
        if keep:
            self.deployed.flat[...] = keep * self.deployed.flat + (1.0 - keep) * self.policy.flat

    def _batch(self, flown: Hour, rollout: Rollout) -> Batch:
        values = self._value(flown.obs)[:, 0].reshape(rollout.rewards.shape)
        advantages = generalised_advantages(rollout, values, self._ppo)
        returns = (advantages + values).ravel().astype(np.float32)
        return Batch(*flown, advantages.ravel().astype(np.float32), returns)

    def _stepper(self, batch: Batch) -> Callable[[npt.NDArray[np.int64], float], dict[str, float]]:
        """A function that makes one gradient step on rows of the batch."""
        library, ppo = load().library, self._ppo
        if library is None:
            return partial(self._step, batch._replace(obs=self.normaliser(batch.obs)))
        objective = Objective(ppo.clip_range, ppo.entropy_coef, ppo.max_grad_norm)
        learned = Learned(self._flat, self.adam.flat_first, self.adam.flat_second)
        learner = CompiledLearner(library, self._sizes, objective, learned, self._constants, batch)
        return partial(self._compiled_step, learner)

    def _step(self, batch: Batch, rows: npt.NDArray[np.int64], rate: float) -> dict[str, float]:
        gradients, diagnostics = self.gradients(Batch(*(array[rows] for array in batch)))
        self.adam.step(gradients, rate)
        return diagnostics

    def _compiled_step(self, learner: CompiledLearner, rows: npt.NDArray[np.int64], rate: float) -> dict[str, float]:
        _, clipped_share, value_loss = learner.gradients(rows)
        diagnostics = self._diagnostics(clipped_share, value_loss)
        learner.step(self.adam.next_rate(rate))
        return diagnostics

    def _diagnostics(self, clipped_share: float, value_loss: float) -> dict[str, float]:
        stds = exp(self.log_std.astype(np.float64))
        return {
            "learning/clipped_share": clipped_share,
            "learning/value_loss": value_loss,
            "learning/policy_std": float(total(stds[None])[0]) / len(stds),
        }

    def _log_prob(self, mean: Any, actions: F32) -> F32:
        z = (actions - mean) / np.exp(self.log_std)
        constant = np.float32(HALF_LOG_2_PI)
        log_prob: F32 = (-0.5 * z * z - self.log_std - constant).sum(axis=1)
        return log_prob

    def gradients(self, batch: Batch) -> tuple[list[Any], dict[str, float]]:
        """Gradients of the loss in the order of the parameters, and diagnostics; net.c computes the same.

        Loss: - mean(min(r A, clip(r) A)) - entropy_coef x entropy + mean((V - R)^2), A standardised in the batch.
        """
        size = len(batch.obs)
        layers = self.policy.forward(batch.obs)
        ratio = np.exp(np.clip(self._log_prob(layers[-1], batch.actions) - batch.log_prob, -20.0, 20.0))
        advantage = (batch.advantages - batch.advantages.mean()) / (batch.advantages.std() + 1e-8)
        clip = self._ppo.clip_range
        # The clipped side of the minimum has no gradient.
        active = np.where(advantage >= 0.0, ratio < 1.0 + clip, ratio > 1.0 - clip)
        d_log_prob = (-advantage * ratio * active / size)[:, None]
        z = (batch.actions - layers[-1]) / np.exp(self.log_std)
        d_mean = d_log_prob * z / np.exp(self.log_std)
        d_log_std = (d_log_prob * (z * z - 1.0)).sum(axis=0) - self._ppo.entropy_coef
        value_layers = self.value.forward(batch.obs)
        error = value_layers[-1][:, 0] - batch.returns
        d_value = (2.0 * error / size)[:, None]
        gradients = [
            *self.policy.backward(layers, d_mean.astype(layers[-1].dtype)),
            *self.value.backward(value_layers, d_value.astype(layers[-1].dtype)),
            d_log_std.astype(self.log_std.dtype),
        ]
        return gradients, self._diagnostics(float(np.mean(~active)), float(np.mean(error**2)))

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Networks, optimiser and normaliser."""
        state = {f"parameter_{i}": p for i, p in enumerate(self._parameters)}
        state |= {f"adam_first_{i}": m for i, m in enumerate(self.adam.first)}
        state |= {f"adam_second_{i}": m for i, m in enumerate(self.adam.second)}
        state["adam_steps"] = np.array(self.adam.steps)
        state["normaliser_mean"], state["normaliser_variance"] = (
            self.normaliser.mean,
            self.normaliser.variance,
        )
        state["normaliser_count"] = np.array(self.normaliser.count)
        if self._ppo.averaging:
            state |= {f"deployed_{i}": p for i, p in enumerate(self.deployed.parameters)}
        return {name: np.array(array) for name, array in state.items()}

    def load_state_dict(self, state: State) -> None:
        """Take over a state; raises KeyError or ValueError if it is of another shape."""
        for prefix, arrays in (
            ("parameter", self._parameters),
            ("adam_first", self.adam.first),
            ("adam_second", self.adam.second),
            ("deployed", self.deployed.parameters if self._ppo.averaging else []),
        ):
            for number, array in enumerate(arrays):
                array[...] = state[f"{prefix}_{number}"]
        self.adam.steps = int(state["adam_steps"])
        self.normaliser.mean = state["normaliser_mean"].copy()
        self.normaliser.variance = state["normaliser_variance"].copy()
        self.normaliser.count = float(state["normaliser_count"])
        self._renew()


def _restored(config: GAELPExperimentConfig, observed: int, actions: int, state: State, flight: dict[str, Any]) -> PPO:
    agent = PPO(config, observed, actions)
    agent.load_state_dict(state)
    agent.__dict__.update(flight)
    return agent


def _evaluate(network: MLP, normaliser: Normaliser, obs: Observation) -> F32:
    return network(normaliser(obs)).astype(np.float32)


def sample(mean: F32, spread: tuple[FloatArray, FloatArray], uniform: FloatArray) -> tuple[F32, F32]:
    """(actions (B, A) around the policy's means, their log probabilities (B,)); C has the same bits.

    spread: standard deviation of each action and its logarithm, (A,). uniform: (B, A).
    """
    library, (std, log_std) = load().library, spread
    if library is not None:
        return net.sample(library, mean, spread, uniform)
    action = (mean + std * ndtri(uniform)).astype(np.float32)
    z = (action - mean.astype(np.float64)) / std
    return action, total(-0.5 * z * z - log_std - HALF_LOG_2_PI).astype(np.float32)


def generalised_advantages(rollout: Rollout, values: Any, ppo: PPOConfig) -> npt.NDArray[np.float64]:
    """GAE (Schulman et al. 2016, eq. 16) over whole flights, (T, B): the value after a flight's end is 0.

    C has the same bits.
    """
    values, library = values.astype(np.float64), load().library
    if library is not None:
        return net.advantages(library, rollout.rewards, rollout.dones, values, (ppo.gamma, ppo.gae_lambda))
    advantages = np.zeros_like(rollout.rewards)
    flights = rollout.rewards.shape[1]
    running, following = zeros(flights), zeros(flights)
    for t in reversed(range(len(rollout.rewards))):
        alive = ~rollout.dones[t]
        delta = rollout.rewards[t] + ppo.gamma * following * alive - values[t]
        running = delta + ppo.gamma * ppo.gae_lambda * running * alive
        advantages[t], following = running, values[t]
    return advantages
