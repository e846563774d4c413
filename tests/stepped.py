"""Agents that are stepped hour by hour, where C could fly whole flights."""

from __future__ import annotations

from typing import Any

import numpy as np

from gaelp_ray.agents import Agent


class Stepped:
    """An agent without planner(): a rollout of it holds the observations and actions of every hour."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def begin(self, flights: int, rng: np.random.Generator) -> None:
        self._agent.begin(flights, rng)

    def act(self, obs: Any, explore: bool = False) -> Any:
        return self._agent.act(obs, explore)
