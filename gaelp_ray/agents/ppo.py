"""PPO in numpy: Gaussian policy, generalised advantage estimation, clipped objective (Schulman et al. 2016, 2017).

The policy and the value function are separate tanh networks. A rollout is one batch of whole flights, so that no
value has to be bootstrapped at its end. Start at PPO.update.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gaelp_ray.agents.base import Action, State
from gaelp_ray.agents.network import MLP, Adam, Normaliser
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.errors import TrainingError
from gaelp_ray.market.observation import Observation
from gaelp_ray.records import Rollout, zeros
from gaelp_ray.sections import PPOConfig

F32 = npt.NDArray[np.float32]
FINAL_RATE = 0.1
"""Share of the learning rate that is left at the end of a training; it falls linearly."""


class Hour(NamedTuple):
    """What the policy saw and did in one hour of B exploring flights."""

    raw: Observation  # (B, D)
    obs: F32  # (B, D) normalised
    action: F32  # (B, A)
    log_prob: F32  # (B,)


class Batch(NamedTuple):
    """Samples of N flight hours."""

    obs: F32  # (N, D) normalised
    actions: F32  # (N, A)
    log_prob: F32  # (N,) under the policy that flew
    advantages: F32  # (N,)
    returns: F32  # (N,)


class PPO:
    """A policy over actions in R^A (the composition around it clips them), with its value function."""

    def __init__(self, config: GAELPExperimentConfig, observed: int, actions: int) -> None:
        self._ppo, self._learning_rate = config.ppo, config.learning_rate
        rng = np.random.default_rng([config.seed, 1])
        hidden = [config.ppo.hidden_size] * 2
        self.policy = MLP([observed, *hidden, actions], rng, last_gain=0.01)
        self.value = MLP([observed, *hidden, 1], rng, last_gain=1.0)
        self.log_std = np.full(actions, np.log(config.ppo.initial_std), np.float32)
        self.normaliser = Normaliser(observed)
        parameters = [*self.policy.parameters, *self.value.parameters, self.log_std]
        self.adam = Adam(parameters, config.ppo.max_grad_norm)
        self._parameters = parameters
        # What is deployed: a moving average of the policy's parameters over the updates, if there is any averaging.
        self.deployed = self.policy if not config.ppo.averaging else copy.deepcopy(self.policy)

    def begin(self, flights: int, rng: np.random.Generator) -> None:
        """New flights: drop what was remembered of the last ones."""
        self._rng = rng
        self._flown: list[Hour] = []

    def act(self, obs: Observation, explore: bool = False) -> Action:
        """The deployed policy's mean, or with `explore` a sample of the learning one's, remembered for the update."""
        seen = self.normaliser(obs)
        if not explore:
            return self.deployed(seen).astype(np.float32)
        mean: F32 = self.policy(seen).astype(np.float32)
        noise = self._rng.standard_normal(mean.shape, dtype=np.float32)
        action: F32 = (mean + np.exp(self.log_std) * noise).astype(np.float32)
        self._flown.append(Hour(obs, seen, action, self._log_prob(mean, action)))
        return action

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Epochs of minibatch steps on the flights just flown; returns diagnostics of the last step.

        Raises TrainingError if a batch cannot be cut into the minibatches, or if the learning has diverged.
        """
        batch = self._batch(rollout)
        if len(batch.obs) < self._ppo.minibatches:
            raise TrainingError(
                f"a batch of {len(batch.obs)} flight hours cannot be cut into {self._ppo.minibatches} minibatches: "
                "lower ppo.minibatches or raise batch_size"
            )
        rate = self._learning_rate * (1.0 - (1.0 - FINAL_RATE) * rollout.progress)
        diagnostics: dict[str, float] = {}
        for _ in range(self._ppo.epochs):
            order = self._rng.permutation(len(batch.obs))
            for rows in np.array_split(order, self._ppo.minibatches):
                part = Batch(*(array[rows] for array in batch))
                gradients, diagnostics = self.gradients(part)
                self.adam.step(gradients, rate)
        if not all(np.isfinite(parameter).all() for parameter in self._parameters):
            raise TrainingError("the policy diverged to numbers that are not finite: lower learning_rate")
        self.normaliser.update(np.stack([hour.raw for hour in self._flown]))
        self._average()
        self._flown = []
        return diagnostics

    def _average(self) -> None:
        keep = self._ppo.averaging
        if keep:
            for old, new in zip(self.deployed.parameters, self.policy.parameters, strict=True):
                old[...] = keep * old + (1.0 - keep) * new

    def _batch(self, rollout: Rollout) -> Batch:
        steps, flights = rollout.rewards.shape
        obs, actions, log_prob = (np.concatenate(column) for column in list(zip(*self._flown, strict=True))[1:])
        values = self.value(obs)[:, 0].reshape(steps, flights)
        advantages = generalised_advantages(rollout, values, self._ppo)
        returns = (advantages + values).ravel().astype(np.float32)
        return Batch(obs, actions, log_prob, advantages.ravel().astype(np.float32), returns)

    def _log_prob(self, mean: Any, actions: F32) -> F32:
        z = (actions - mean) / np.exp(self.log_std)
        constant = np.float32(0.5 * np.log(2.0 * np.pi))
        log_prob: F32 = (-0.5 * z * z - self.log_std - constant).sum(axis=1)
        return log_prob

    def gradients(self, batch: Batch) -> tuple[list[Any], dict[str, float]]:
        """Gradients of the loss in the order of the parameters, and diagnostics.

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
        diagnostics = {
            "learning/clipped_share": float(np.mean(~active)),
            "learning/value_loss": float(np.mean(error**2)),
            "learning/policy_std": float(np.exp(self.log_std).mean()),
        }
        return gradients, diagnostics

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


def generalised_advantages(rollout: Rollout, values: Any, ppo: PPOConfig) -> npt.NDArray[np.float64]:
    """GAE (Schulman et al. 2016, eq. 16) over whole flights, (T, B): the value after a flight's end is 0."""
    advantages = np.zeros_like(rollout.rewards)
    flights = rollout.rewards.shape[1]
    running, following = zeros(flights), zeros(flights)
    for t in reversed(range(len(rollout.rewards))):
        alive = ~rollout.dones[t]
        delta = rollout.rewards[t] + ppo.gamma * following * alive - values[t]
        running = delta + ppo.gamma * ppo.gae_lambda * running * alive
        advantages[t], following = running, values[t]
    return advantages
