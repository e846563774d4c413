"""A user's own gymnasium environment as a batch of flights.

Anything that derives from gymnasium.Env, has one-dimensional Box spaces, and whose last info of an episode carries
`cost` and `revenue`. `budget`, `impressions`, `clicks`, `conversions`, `expected_revenue` and `oracle_revenue` are used
where they are given; without a budget there is no delivery to speak of. own_spaces.py maps observations and actions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from gaelp_ray.errors import OwnEnvError
from gaelp_ray.market.observation import Observation
from gaelp_ray.records import PER_FLIGHT, FlightTotals, FloatArray, zeros
from gaelp_ray.simulator.own_spaces import OwnSpaces

Action = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
MakeEnv = Callable[[], "gymnasium.Env[Any, Any]"]


class OwnVectorEnv:
    """B environments flown one after the other. Observations (B, D), actions (B, A) in [-1, 1], rewards (B,).

    All flights start together. One that ends early stays as it is, with reward 0, until the last one has ended; the
    steps of a batch are those of its longest flight. Raises OwnEnvError for what no agent could learn from.
    """

    def __init__(self, make: MakeEnv, num_envs: int, where: str) -> None:
        self.num_envs = num_envs
        self._where = where
        self._envs = [make() for _ in range(num_envs)]
        self.spaces = OwnSpaces.of(self._envs[0], where)
        self.observed, self.actions = self.spaces.observed, self.spaces.actions

    def reset(self, *, seed: int | None = None) -> tuple[Observation, dict[str, Any]]:
        """Start B flights; the seed determines all of them."""
        seeds = np.random.SeedSequence(seed).generate_state(self.num_envs)
        self._steps = 0
        self._infos: list[Mapping[str, Any] | None] = [None] * self.num_envs
        started = [env.reset(seed=int(s))[0] for env, s in zip(self._envs, seeds, strict=True)]
        self._obs = np.stack([self.spaces.to_agent(obs, "reset() returns") for obs in started])
        self.spaces.require_finite(self._obs, f"step {self._steps} of a flight")
        return self._obs, {}

    def step(self, actions: Action) -> tuple[Observation, FloatArray, Flags, Flags, dict[str, Any]]:
        """One step of every flight that has not ended."""
        self._steps += 1
        rewards = zeros(self.num_envs)
        terminated = np.array([info is not None for info in self._infos])
        bids = self.spaces.to_env(actions)
        self._obs = self._obs.copy()
        for i, env in enumerate(self._envs):
            if self._infos[i] is None:
                obs, reward, ended, cut, info = env.step(bids[i])
                self._obs[i], rewards[i] = self.spaces.to_agent(obs, "step() returns"), reward
                if ended or cut:
                    terminated[i], self._infos[i] = True, info
        self.spaces.require_finite(self._obs, f"step {self._steps} of a flight")
        self.spaces.require_finite(rewards, f"step {self._steps} of a flight", "reward")
        return self._obs, rewards, terminated, np.zeros_like(terminated), {}

    def totals(self) -> FlightTotals:
        """What the flights brought, from their last infos."""
        infos = [info for info in self._infos if info is not None]
        if 0 < sum("budget" in info for info in infos) < len(infos):
            raise self._wrong("the last info of some flights has a 'budget', that of others has none")
        columns = {name: np.array([self._number(info, name) for info in self._infos]) for name in PER_FLIGHT}
        return FlightTotals(steps=self._steps, **columns)

    def _number(self, info: Mapping[str, Any] | None, name: str) -> float:
        if info is None:
            return np.nan
        if name not in info:
            return self._missing(info, name)
        try:
            value = float(info[name])
        except (TypeError, ValueError):
            value = np.nan
        if not 0.0 <= value < np.inf:
            raise self._wrong(f"the last info of a flight has {name} {info[name]!r}, not a finite number of at least 0")
        return value

    def _missing(self, info: Mapping[str, Any], name: str) -> float:
        if name in ("cost", "revenue"):
            keys = ", ".join(map(repr, info)) or "nothing"
            raise self._wrong(f"the last info of a flight has no {name!r}; it has {keys}")
        if name == "expected_revenue":
            return self._number(info, "revenue")
        return np.nan if name == "oracle_revenue" else 0.0

    def _wrong(self, text: str) -> OwnEnvError:
        return OwnEnvError(f"env {self._where!r}: {text}")
