"""What an agent is: three verbs for flying and learning, two for saving."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from gaelp_ray.core.dual import CompiledDual
from gaelp_ray.market.observation import Observation
from gaelp_ray.records import FloatArray, Rollout

Action = npt.NDArray[np.float32]
State = Mapping[str, npt.NDArray[Any]]


class Agent(Protocol):
    """A bidder of B parallel flights.

    An agent may keep a state per flight, which begin() clears. Everything random in it comes from the generator
    that begin() hands over, so that a flight is repeated exactly by its seed.
    """

    def begin(self, flights: int, rng: np.random.Generator) -> None:
        """New flights start: forget the last ones, and take chance from `rng`."""

    def act(self, obs: Observation, explore: bool = False) -> Action:
        """Bids of one hour as actions (B, S) in [-1, 1]; with `explore`, as training wants them."""

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Learn from the flights just flown with `explore`; returns diagnostics, if there are any."""

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Everything that learning has changed, as arrays; enough to go on training bit for bit."""

    def load_state_dict(self, state: State) -> None:
        """Take over a state_dict of an agent with the same configuration and market."""


@runtime_checkable
class PlannedAgent(Agent, Protocol):
    """An agent whose flights C may fly whole, as it does not learn from single hours."""

    def planner(self, explore: bool = False) -> CompiledDual | None:
        """What makes the bids of act() in C, of the flights that have just begun; None where numpy makes them."""


class Bidder(Agent, Protocol):
    """A classical bidder: whoever corrects it may see what it remembers of a flight beyond the last observation."""

    insights: int
    """How many numbers insight() gives per flight."""

    def insight(self) -> FloatArray:
        """What the bidder remembers as of the last act(), (B, insights)."""


class FixedBidder:
    """Base of bidders that do not learn: their constants are all there is to them."""

    insights: int = 0

    def insight(self) -> FloatArray:
        """Nothing that is not in the observation."""
        raise TypeError("this bidder remembers nothing")

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Nothing is learned between flights."""
        return {}

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Empty: the configuration says it all."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """Nothing to take over."""
