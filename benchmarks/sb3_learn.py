"""stable-baselines3's PPO in its own learn(), on the batches of flights that our loop flies. Needs the extra `sb3`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from gaelp_ray import AdCampaignVectorEnv
from gaelp_ray.market.landscape import HOURS


def learn(flights: int, batches: int) -> int:
    """Train from scratch; returns the env-steps flown. Network, batch and normaliser are as in our PPO."""
    torch.set_num_threads(1)
    model = PPO(
        "MlpPolicy",
        VecNormalize(Flights(flights), norm_reward=False, clip_obs=5.0),
        n_steps=HOURS,
        batch_size=flights * HOURS // 8,
        n_epochs=4,
        learning_rate=1e-3,
        gamma=1.0,
        policy_kwargs={"log_std_init": float(np.log(0.2))},
        device="cpu",
        seed=0,
    )
    return int(model.learn(flights * HOURS * batches).num_timesteps)


class Flights(VecEnv):
    """A batch of flights as the library wants it: reset in the step that ends them, one info dictionary a flight."""

    def __init__(self, flights: int) -> None:
        self._batch = AdCampaignVectorEnv(flights)
        super().__init__(flights, self._batch.single_observation_space, self._batch.single_action_space)

    def reset(self) -> Any:
        """Start the first flights."""
        return self._batch.reset(seed=0)[0]

    def step_async(self, actions: Any) -> None:
        """Keep the actions for step_wait()."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, ...]:
        """One hour; the optimality of flights that end is computed, as our loop does."""
        obs, rewards, ended, _, _ = self._batch.step(self._actions)
        infos: list[dict[str, Any]] = [{} for _ in rewards]
        if ended.all():
            self._batch.totals()
            infos = [{"terminal_observation": last} for last in obs]
            obs, _ = self._batch.reset()
        return obs, rewards, ended, infos

    def close(self) -> None:
        """Nothing is open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Asked for the render mode only: there is none."""
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Never asked for."""

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Never asked for."""
        return []

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Nothing is wrapped."""
        return [False] * self.num_envs
