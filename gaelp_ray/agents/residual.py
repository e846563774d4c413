"""A learned correction of a classical bidder.

The reference proposes a bid per channel; the policy multiplies it by exp(residual_scale x correction), with the
correction in [-1, 1]. An untrained policy corrects by almost nothing, so that learning starts from a good bidder.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gaelp_ray.agents.base import Action, Agent, Bidder, State
from gaelp_ray.market import Landscape, observation
from gaelp_ray.market.observation import Observation
from gaelp_ray.records import Rollout


class Residual:
    """Composition of a reference bidder and a policy that sees the observation and the reference's proposal.

    Without a reference the policy's action is the whole bid: 1 is the largest bid of the market, -1 the smallest.
    """

    def __init__(self, reference: Bidder | None, policy: Agent, market: Landscape | None, scale: float) -> None:
        self._reference, self._policy = reference, policy
        self._scale = scale / market.action_scale if reference and market else 1.0

    @staticmethod
    def observed(market: Landscape, reference: Bidder | None) -> int:
        """Length of what the policy sees: the observation, and the reference's action and insight if there is one."""
        return observation.size(market.channels) + (market.channels + reference.insights if reference else 0)

    def begin(self, flights: int, rng: np.random.Generator) -> None:
        """Both start new flights."""
        if self._reference:
            self._reference.begin(flights, rng)
        self._policy.begin(flights, rng)

    def act(self, obs: Observation, explore: bool = False) -> Action:
        """The reference's bid, corrected."""
        if self._reference is None:
            return _clip(self._policy.act(obs, explore))
        proposal = self._reference.act(obs)
        seen = [obs, proposal]
        if self._reference.insights:
            seen.append(self._reference.insight().astype(np.float32))
        correction = _clip(self._policy.act(np.concatenate(seen, axis=1), explore))
        return _clip(proposal + np.float32(self._scale) * correction)

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Only the policy learns."""
        return self._policy.update(rollout)

    def state_dict(self) -> dict[str, npt.NDArray[np.float32]]:
        """The policy's state; the reference has none."""
        return self._policy.state_dict()

    def load_state_dict(self, state: State) -> None:
        """Give the policy its state back."""
        self._policy.load_state_dict(state)


def _clip(action: Action) -> Action:
    clipped: Action = np.clip(action, -1.0, 1.0)
    return clipped
