"""A user's own gymnasium environment as a batch of flights.

Anything that derives from gymnasium.Env, has one-dimensional Box spaces, and whose last info of an episode carries
`cost` and `revenue`. `budget`, `impressions`, `clicks`, `conversions`, `expected_revenue` and `oracle_revenue` are used
where they are given; without a budget there is no delivery to speak of. Bids are actions scaled to the Box's bounds.
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
        first = self._envs[0]
        if not isinstance(first, gymnasium.Env):
            raise self._wrong(f"makes a {type(first).__name__}, not a gymnasium.Env")
        self.observed = self._box(first, "observation").shape[0]
        acted = self._box(first, "action")
        self.actions = acted.shape[0]
        self._low, self._high = acted.low.astype(np.float64), acted.high.astype(np.float64)
        self._acted = acted
        if not (np.isfinite(self._low).all() and np.isfinite(self._high).all()):
            raise self._wrong(f"the action space {acted} is unbounded: give the Box a finite low and high")

    def reset(self, *, seed: int | None = None) -> tuple[Observation, dict[str, Any]]:
        """Start B flights; the seed determines all of them."""
        seeds = np.random.SeedSequence(seed).generate_state(self.num_envs)
        self._steps = 0
        self._infos: list[Mapping[str, Any] | None] = [None] * self.num_envs
        started = [env.reset(seed=int(s))[0] for env, s in zip(self._envs, seeds, strict=True)]
        self._obs = np.stack([self._seen(obs, "reset") for obs in started])
        self._require_finite(self._obs, "observation")
        return self._obs, {}

    def step(self, actions: Action) -> tuple[Observation, FloatArray, Flags, Flags, dict[str, Any]]:
        """One step of every flight that has not ended."""
        self._steps += 1
        rewards = zeros(self.num_envs)
        terminated = np.array([info is not None for info in self._infos])
        scaled = self._low + (actions.astype(np.float64) + 1.0) / 2.0 * (self._high - self._low)
        # Clipped as the Box's type: rounding to it may step over the bounds, too.
        bids = np.clip(scaled.astype(self._acted.dtype), self._acted.low, self._acted.high)
        self._obs = self._obs.copy()
        for i, env in enumerate(self._envs):
            if self._infos[i] is None:
                obs, reward, ended, cut, info = env.step(bids[i])
                self._obs[i], rewards[i] = self._seen(obs, "step"), reward
                if ended or cut:
                    terminated[i], self._infos[i] = True, info
        self._require_finite(self._obs, "observation")
        self._require_finite(rewards, "reward")
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

    def _seen(self, obs: Any, method: str) -> Observation:
        seen = np.asarray(obs, np.float32)
        if seen.shape != (self.observed,):
            raise self._wrong(
                f"{method}() returns an observation of shape {seen.shape}; its space has ({self.observed},)"
            )
        return seen

    def _require_finite(self, values: npt.NDArray[np.floating[Any]], what: str) -> None:
        if not np.isfinite(values).all():
            bad = values[~np.isfinite(values)][0]
            raise self._wrong(f"step {self._steps} of a flight has {bad} in its {what}: every number must be finite")

    def _box(self, env: Any, name: str) -> gymnasium.spaces.Box:
        """A space of the environment, if it is a one-dimensional Box; actions are floats."""
        space = getattr(env, f"{name}_space", None)
        acts = name == "action"
        if isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1:
            if np.issubdtype(space.low.dtype, np.floating) or not acts:
                return space
        wanted = "Box of floats" if acts else "Box"
        remedy = "a gymnasium.ActionWrapper" if acts else "gymnasium.wrappers.FlattenObservation"
        raise self._wrong(
            f"the {name} space is {space}, not a one-dimensional {wanted}: wrap the environment, as in {remedy}"
        )

    def _wrong(self, text: str) -> OwnEnvError:
        return OwnEnvError(f"env {self._where!r}: {text}")
