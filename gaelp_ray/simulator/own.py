"""A user's own gymnasium environment as a batch of flights.

Anything that derives from gymnasium.Env, has one-dimensional Box spaces, and whose last info of an episode carries
`cost` and `revenue`. `budget`, `impressions`, `clicks`, `conversions`, `expected_revenue` and `oracle_revenue` are used
where they are given; without a budget there is no delivery to speak of. Bids are actions scaled to the Box's bounds.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar, cast

import gymnasium
import numpy as np
import numpy.typing as npt

from gaelp_ray.errors import OwnEnvError, did_you_mean
from gaelp_ray.market.blocks import Block
from gaelp_ray.market.observation import Observation
from gaelp_ray.records import PER_FLIGHT, FlightTotals, FloatArray, zeros

Action = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
MakeEnv = Callable[[], "gymnasium.Env[Any, Any]"]


class OwnEnv(Block):
    """An environment by its import path, in the place of a market: what a trial flies in, as plain values.

    folder: where the module was found, so that other processes find it too.
    """

    env: str
    folder: str = ""

    description: ClassVar[str] = "an environment of your own"
    currency: ClassVar[str] = ""

    @property
    def name(self) -> str:
        """The import path."""
        return self.env

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the module's source and the name in it."""
        module = importlib.import_module(self.make.__module__)
        try:
            source = inspect.getsource(module)
        except (OSError, TypeError):  # compiled: its name has to do
            source = ""
        return hashlib.sha256(f"{self.env}\n{source}".encode()).hexdigest()

    @cached_property
    def make(self) -> MakeEnv:
        """The class or function that makes one environment. Raises OwnEnvError: nothing there that can be called."""
        module_name, _, name = self.env.partition(":")
        if not name:
            raise OwnEnvError(f"env {self.env!r}: write module:Class, such as my_package.my_module:MyEnv")
        if self.folder and self.folder not in sys.path:
            sys.path.append(self.folder)
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise OwnEnvError(f"env {self.env!r}: cannot import {module_name}: {error}") from None
        found = getattr(module, name, None)
        if not callable(found):
            raise OwnEnvError(f"env {self.env!r}: {module_name} has no {name}. {did_you_mean(name, dir(module))}")
        return cast("MakeEnv", found)  # whether it makes an environment is seen when it is called

    def flights(self, number: int) -> OwnVectorEnv:
        """A batch of flights."""
        return OwnVectorEnv(self.make, number, self.env)


class OwnVectorEnv:
    """B environments flown one after the other. Observations (B, D), actions (B, A) in [-1, 1], rewards (B,).

    All flights start together. One that ends early stays as it is, with reward 0, until the last one has ended.
    """

    def __init__(self, make: MakeEnv, num_envs: int, where: str) -> None:
        self.num_envs = num_envs
        self._where = where
        self._envs = [make() for _ in range(num_envs)]
        if not isinstance(self._envs[0], gymnasium.Env):
            raise OwnEnvError(f"env {where!r}: makes a {type(self._envs[0]).__name__}, not a gymnasium.Env")
        self.observed = _box(self._envs[0].observation_space, "observation", where).shape[0]
        acted = _box(self._envs[0].action_space, "action", where)
        self.actions = acted.shape[0]
        self._low, self._high = acted.low.astype(np.float64), acted.high.astype(np.float64)
        if not (np.isfinite(self._low).all() and np.isfinite(self._high).all()):
            raise OwnEnvError(f"env {where!r}: the action space has no bounds: give Box a finite low and high")

    def reset(self, *, seed: int | None = None) -> tuple[Observation, dict[str, Any]]:
        """Start B flights; the seed determines all of them."""
        seeds = np.random.SeedSequence(seed).generate_state(self.num_envs)
        self._steps = 0
        self._infos: list[Mapping[str, Any] | None] = [None] * self.num_envs
        self._obs = np.stack([env.reset(seed=int(s))[0] for env, s in zip(self._envs, seeds, strict=True)])
        return self._obs.astype(np.float32), {}

    def step(self, actions: Action) -> tuple[Observation, FloatArray, Flags, Flags, dict[str, Any]]:
        """One step of every flight that has not ended."""
        self._steps += 1
        rewards = zeros(self.num_envs)
        terminated = np.array([info is not None for info in self._infos])
        scaled = self._low + (np.clip(actions, -1.0, 1.0) + 1.0) / 2.0 * (self._high - self._low)
        self._obs = self._obs.copy()
        for i, env in enumerate(self._envs):
            if self._infos[i] is None:
                obs, reward, ended, cut, info = env.step(scaled[i].astype(np.float32))
                self._obs[i], rewards[i] = obs, reward
                if ended or cut:
                    terminated[i], self._infos[i] = True, info
        return self._obs.astype(np.float32), rewards, terminated, np.zeros_like(terminated), {}

    def totals(self) -> FlightTotals:
        """What the flights brought, from their last infos."""
        columns = {name: np.array([self._number(info, name) for info in self._infos]) for name in PER_FLIGHT}
        return FlightTotals(steps=self._steps, **columns)

    def _number(self, info: Mapping[str, Any] | None, name: str) -> float:
        if info is None:
            return np.nan
        if name in ("cost", "revenue") and name not in info:
            keys = ", ".join(sorted(info)) or "nothing"
            raise OwnEnvError(f"env {self._where!r}: the last info of a flight has no {name!r}, but {keys}")
        default = {"expected_revenue": info.get("revenue"), "oracle_revenue": np.nan}
        return float(info.get(name, default.get(name, 0.0)))


def _box(space: Any, name: str, where: str) -> gymnasium.spaces.Box:
    """The space, if it is a one-dimensional Box."""
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
        raise OwnEnvError(
            f"env {where!r}: the {name} space is {space}, not a one-dimensional Box: wrap the environment, for example "
            "in gymnasium.wrappers.FlattenObservation"
        )
    return space
