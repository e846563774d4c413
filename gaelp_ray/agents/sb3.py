"""stable-baselines3's PPO, A2C and SAC as agents: their networks and their train(), our flights.

The library never sees an environment. It gets the spaces, act() asks its policy, and update() fills its buffer with
the flights just flown and calls its train(). So its learners can be trials of a sweep, residuals of a classical
bidder, and checkpoints of plain arrays like every other agent. Needs the extra `sb3`; only the registry imports this
module, and only when such an agent is made. Start at make_learner.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer, RolloutBuffer
from stable_baselines3.common.utils import ConstantSchedule

from gaelp_ray.agents.base import Action, State
from gaelp_ray.agents.network import Normaliser
from gaelp_ray.agents.ppo import FINAL_RATE
from gaelp_ray.agents.sb3_model import arrays_of, chance, load_arrays, make_model
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.errors import TrainingError
from gaelp_ray.market.observation import Observation
from gaelp_ray.records import Rollout

F32 = npt.NDArray[np.float32]


def make_learner(algorithm: str, config: GAELPExperimentConfig, observed: int, actions: int) -> OnPolicy | OffPolicy:
    """An untrained learner, `algorithm` being PPO, A2C or SAC; policies see `observed` numbers, act in R^actions.

    From here on torch computes with one thread in this process: a trial has one CPU, and two layers of 64 units are
    no faster with more.
    """
    torch.set_num_threads(1)
    model = make_model(algorithm, config, observed, actions)
    return (OffPolicy if algorithm == "SAC" else OnPolicy)(config, model)


class _Learner(ABC):
    """What the three have in common: acting, remembering a flight, the learning rate, and the state."""

    def __init__(self, config: GAELPExperimentConfig, model: BaseAlgorithm) -> None:
        self.model = model
        self.normaliser = Normaliser(model.observation_space.shape[0])
        self._sb3, self._learning_rate = config.sb3, config.learning_rate

    def begin(self, flights: int, rng: np.random.Generator) -> None:
        """New flights: drop what was remembered of the last ones."""
        self._rng = rng
        self._obs: list[Observation] = []
        self._actions: list[F32] = []

    def act(self, obs: Observation, explore: bool = False) -> Action:
        """The policy's mode, or with `explore` a sample of it, which is remembered for the update."""
        with torch.no_grad():
            mean, std = self._gaussian(torch.from_numpy(self.normaliser(obs)))
        if not explore:
            return self._bounded(mean)
        noise = self._rng.standard_normal(mean.shape, dtype=np.float32)
        action = self._bounded(mean + std * noise)
        self._obs.append(obs)
        self._actions.append(action)
        return action

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Let the library learn from the flights just flown; returns what it logs.

        Raises TrainingError if a batch cannot be cut into the minibatches, or if the learning has diverged.
        """
        rate = self._learning_rate * (1.0 - (1.0 - FINAL_RATE) * rollout.progress)
        self.model.lr_schedule = ConstantSchedule(rate)
        try:
            with chance(self._rng):
                self._learn(np.stack(self._obs), np.stack(self._actions), rollout)
        except ValueError as error:  # torch's distributions refuse parameters that are not numbers
            if "invalid values" not in str(error):
                raise
            raise _diverged() from None
        if not all(bool(parameter.isfinite().all()) for parameter in self.model.policy.parameters()):
            raise _diverged()
        self._obs, self._actions = [], []
        logged = {name.removeprefix("train/"): float(value) for name, value in self.model.logger.name_to_value.items()}
        return {f"learning/{name}": value for name, value in logged.items() if np.isfinite(value)}

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Networks, optimisers and normaliser."""
        return arrays_of(self.model) | {
            "normaliser_mean": self.normaliser.mean.copy(),
            "normaliser_variance": self.normaliser.variance.copy(),
            "normaliser_count": np.array(self.normaliser.count),
        }

    def load_state_dict(self, state: State) -> None:
        """Take over a state; raises KeyError or ValueError if it is of another shape."""
        load_arrays(self.model, state)
        self.normaliser.mean = np.array(state["normaliser_mean"])
        self.normaliser.variance = np.array(state["normaliser_variance"])
        self.normaliser.count = float(state["normaliser_count"])

    @abstractmethod
    def _gaussian(self, obs: torch.Tensor) -> tuple[F32, F32]:
        """Mean and standard deviation of the policy, (B, A), before any bound."""

    @abstractmethod
    def _bounded(self, action: F32) -> F32:
        """The action that a draw of the Gaussian stands for."""

    @abstractmethod
    def _learn(self, obs: Observation, actions: F32, rollout: Rollout) -> None:
        """Train on observations (T, B, D) and the policy's own actions (T, B, A)."""


def _diverged() -> TrainingError:
    return TrainingError("the policy diverged to numbers that are not finite: lower learning_rate")


class OnPolicy(_Learner):
    """PPO and A2C: a Gaussian policy, and a buffer of whole flights that is learned from once."""

    def _gaussian(self, obs: torch.Tensor) -> tuple[F32, F32]:
        normal = self.model.policy.get_distribution(obs).distribution
        return normal.mean.numpy(), normal.stddev.numpy()

    def _bounded(self, action: F32) -> F32:
        return action  # log probabilities are those of what was drawn; the composition around the policy clips

    def _learn(self, obs: Observation, actions: F32, rollout: Rollout) -> None:
        hours = rollout.rewards.size
        if isinstance(self.model, PPO):  # A2C takes all of them at once
            if hours < self._sb3.minibatches:
                raise TrainingError(
                    f"a batch of {hours} flight hours cannot be cut into {self._sb3.minibatches} minibatches: "
                    "lower sb3.minibatches or raise batch_size"
                )
            self.model.batch_size = -(-hours // self._sb3.minibatches)
        self.model.rollout_buffer = self._filled(self.normaliser(obs), actions, rollout)
        self.model.train()
        self.normaliser.update(obs)

    def _filled(self, obs: F32, actions: F32, rollout: Rollout) -> RolloutBuffer:
        model, (steps, flights) = self.model, rollout.rewards.shape
        with torch.no_grad():
            flat = (torch.from_numpy(array.reshape(steps * flights, -1)) for array in (obs, actions))
            values, log_prob, _ = model.policy.evaluate_actions(*flat)
        values, log_prob = values.reshape(steps, flights), log_prob.reshape(steps, flights)
        starts = np.concatenate([np.ones((1, flights)), rollout.dones[:-1]])
        buffer = RolloutBuffer(
            steps,
            model.observation_space,
            model.action_space,
            "cpu",
            gae_lambda=model.gae_lambda,
            gamma=model.gamma,
            n_envs=flights,
        )
        for t in range(steps):
            buffer.add(obs[t], actions[t], rollout.rewards[t], starts[t], values[t], log_prob[t])
        # Whole flights: nothing is bootstrapped at their end.
        buffer.compute_returns_and_advantage(torch.zeros(flights), rollout.dones[-1])
        return buffer


class OffPolicy(_Learner):
    """SAC: a squashed Gaussian policy, and a memory of past hours that minibatches are drawn from.

    The memory keeps raw observations, flight after flight, so that each update sees them by the newest normaliser.
    """

    def __init__(self, config: GAELPExperimentConfig, model: BaseAlgorithm) -> None:
        super().__init__(config, model)
        observed, actions = model.observation_space.shape[0], model.action_space.shape[0]
        widths = {"obs": observed, "actions": actions, "rewards": 1, "dones": 1}
        self._memory = {name: np.zeros((0, width), np.float32) for name, width in widths.items()}

    def _gaussian(self, obs: torch.Tensor) -> tuple[F32, F32]:
        mean, log_std, _ = self.model.actor.get_action_dist_params(obs)
        return mean.numpy(), log_std.exp().numpy()

    def _bounded(self, action: F32) -> F32:
        bounded: F32 = np.tanh(action)
        return bounded

    def _learn(self, obs: Observation, actions: F32, rollout: Rollout) -> None:
        self._remember(obs=obs, actions=actions, rewards=rollout.rewards, dones=rollout.dones)
        self.normaliser.update(obs)
        self.model.replay_buffer = self._replay()
        self.model.train(gradient_steps=self._sb3.gradient_steps, batch_size=self._sb3.replay_batch)

    def _remember(self, **arrays: npt.NDArray[Any]) -> None:
        for name, array in arrays.items():
            old = self._memory[name]
            hours = array.reshape(*array.shape[:2], -1).swapaxes(0, 1).reshape(-1, old.shape[1])
            self._memory[name] = np.concatenate([old, hours])[-self._sb3.buffer_size :].astype(np.float32)

    def _replay(self) -> ReplayBuffer:
        """The memory as the library's buffer, which finds an hour's successor in the next row."""
        model, size = self.model, len(self._memory["rewards"])
        # One row more than hours, so that it is never full: the row after the last hour is not one of them.
        buffer = ReplayBuffer(
            size + 1,
            model.observation_space,
            model.action_space,
            "cpu",
            optimize_memory_usage=True,
            handle_timeout_termination=False,
        )
        buffer.observations[:size, 0] = self.normaliser(self._memory["obs"])
        buffer.actions[:size, 0] = self._memory["actions"]
        buffer.rewards[:size], buffer.dones[:size] = self._memory["rewards"], self._memory["dones"]
        buffer.pos = size
        return buffer

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Networks, optimisers, temperature, normaliser and memory."""
        return super().state_dict() | {f"memory_{name}": array.copy() for name, array in self._memory.items()}

    def load_state_dict(self, state: State) -> None:
        """Take over a state; raises KeyError or ValueError if it is of another shape."""
        super().load_state_dict(state)
        self._memory = {name: np.array(state[f"memory_{name}"]) for name in self._memory}
