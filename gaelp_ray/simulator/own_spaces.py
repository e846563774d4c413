"""Between an agent and the spaces of a user's own environment: float32 observations in, actions of its Box out.

Training, evaluation and load_best() all use this mapping, so an agent acts the same in each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from gaelp_ray.errors import ActionError, OwnEnvError
from gaelp_ray.market.observation import Observation


@dataclass(frozen=True)
class OwnSpaces:
    """The one-dimensional Boxes of an environment. `where` is its import path, for messages."""

    where: str
    observation: gymnasium.spaces.Box
    action: gymnasium.spaces.Box

    @classmethod
    def of(cls, env: Any, where: str) -> OwnSpaces:
        """The spaces of an environment. Raises OwnEnvError for those that no agent can fly with."""
        if not isinstance(env, gymnasium.Env):
            raise OwnEnvError(f"env {where!r}: makes a {type(env).__name__}, not a gymnasium.Env")
        spaces = cls(where, _box(env, "observation", where), _box(env, "action", where))
        if not (np.isfinite(spaces.action.low).all() and np.isfinite(spaces.action.high).all()):
            raise OwnEnvError(
                f"env {where!r}: the action space {spaces.action} is unbounded: give the Box a finite low and high"
            )
        return spaces

    @property
    def observed(self) -> int:
        """D, the length of an observation."""
        return self.observation.shape[0]

    @property
    def actions(self) -> int:
        """A, the length of an action."""
        return self.action.shape[0]

    def to_agent(self, obs: Any, source: str) -> Observation:
        """One observation (D,) as the agent sees it. Raises OwnEnvError, naming `source`, for another shape."""
        seen = np.asarray(obs, np.float32)
        if seen.shape != self.observation.shape:
            raise OwnEnvError(
                f"env {self.where!r}: {source} an observation of shape {seen.shape}; its space has ({self.observed},)"
            )
        return seen

    def require_finite(self, values: npt.NDArray[np.floating[Any]], source: str, what: str = "observation") -> None:
        """Raises OwnEnvError, naming `source` and `what`, for NaN and infinities."""
        if not np.isfinite(values).all():
            bad = values[~np.isfinite(values)][0]
            raise OwnEnvError(f"env {self.where!r}: {source} has {bad} in its {what}: every number must be finite")

    def to_env(self, actions: npt.NDArray[np.float32]) -> npt.NDArray[np.floating[Any]]:
        """Actions (B, A) in [-1, 1], rescaled to the bounds of the Box. Raises ActionError for NaN and infinities."""
        if not np.isfinite(actions).all():
            episode, number = map(int, np.argwhere(~np.isfinite(actions))[0])
            raise ActionError(
                f"env {self.where!r}: episode {episode}, action {number}: {actions[episode, number]} is not finite: "
                "actions are numbers in [-1, 1]. Check the policy's output"
            )
        low, high = self.action.low.astype(np.float64), self.action.high.astype(np.float64)
        scaled = low + (actions.astype(np.float64) + 1.0) / 2.0 * (high - low)
        # Clipped as the Box's type: rounding to it may step over the bounds, too.
        bids: npt.NDArray[np.floating[Any]] = np.clip(
            scaled.astype(self.action.dtype), self.action.low, self.action.high
        )
        return bids


def _box(env: Any, name: str, where: str) -> gymnasium.spaces.Box:
    """A space of the environment, if it is a one-dimensional Box; actions are floats."""
    space = getattr(env, f"{name}_space", None)
    acts = name == "action"
    if isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1:
        if np.issubdtype(space.low.dtype, np.floating) or not acts:
            return space
    wanted = "Box of floats" if acts else "Box"
    remedy = "a gymnasium.ActionWrapper" if acts else "gymnasium.wrappers.FlattenObservation"
    raise OwnEnvError(
        f"env {where!r}: the {name} space is {space}, not a one-dimensional {wanted}: wrap the environment, as in "
        f"{remedy}"
    )
