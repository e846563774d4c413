"""CEM: the cross-entropy method over the constants of BayesDual (Rubinstein & Kroese 2004; de Boer et al. 2005).

Each iteration draws a population of candidates, flies all of them through the same flights (the environment repeats
each flight once per candidate: common random numbers), and moves mean and spread of the search towards the best by
expected revenue / budget; the reward function plays no part.
What is deployed is BayesDual with the mean. Start at CEM.update.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gaelp_ray.agents.base import Action, State
from gaelp_ray.agents.dual import BayesDual
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.core.dual import CompiledDual
from gaelp_ray.market import Landscape
from gaelp_ray.market.elementary import exp, log, ndtri
from gaelp_ray.market.observation import Observation
from gaelp_ray.records import FloatArray, Rollout
from gaelp_ray.sections import DualConfig

# Constants that are searched, with the spread of the first population: of the logarithm where a constant is a factor.
LOG_SPREAD = {"prior_strength": 0.3, "volume_prior_strength": 0.7, "traffic_noise": 0.3}
SPREAD = {
    "optimism": 0.2,
    "pacing_shade": 0.1,
    "shade": 0.05,
    "traffic_use": 0.4,
    "forgetting": 0.003,
    "price_tracking": 0.2,
    "drift_tracking": 0.6,
}
BY_TRAFFIC = {"counts": "traffic_noise", "filter": "traffic_use"}
"""Constants that a model of traffic does not read."""


class CEM:
    """A search distribution over BayesDual's constants: independent normals, some on a logarithmic scale."""

    def __init__(self, config: GAELPExperimentConfig, market: Landscape) -> None:
        self._cem, self._dual, self._market = config.cem, config.dual, market
        unread = BY_TRAFFIC[config.dual.traffic]
        self._names = [name for name in (*LOG_SPREAD, *SPREAD) if name != unread]
        self._low, self._high = (np.array(bounds) for bounds in zip(*map(_bounds, self._names), strict=True))
        spread = LOG_SPREAD | SPREAD
        self.mean = np.array([_scaled(name, getattr(config.dual, name)) for name in self._names])
        self._first_std = config.cem.initial_std * np.array([spread[name] for name in self._names])
        self.std = self._first_std.copy()

    def begin(self, flights: int, rng: np.random.Generator) -> None:
        """New flights; whether they explore is seen in the first act(), or planner()."""
        self._flights, self._rng = flights, rng
        self._bidder: BayesDual | None = None

    def act(self, obs: Observation, explore: bool = False) -> Action:
        """BayesDual's bids with the mean of the search, or with `explore` each block of flights with a candidate's."""
        return self._candidate_bidder(explore).act(obs)

    def planner(self, explore: bool = False) -> CompiledDual | None:
        """What plans these bids in C; None where numpy does."""
        return self._candidate_bidder(explore).planner()

    def _candidate_bidder(self, explore: bool) -> BayesDual:
        if self._bidder is None:
            points = self._draw() if explore else self.mean[None]
            self._bidder = BayesDual(self._constants(points), self._market)
            self._bidder.begin(self._flights, self._rng)
        return self._bidder

    def _draw(self) -> FloatArray:
        """Candidates (K, P): pairs that mirror each other around the mean; the odd one out is the mean itself."""
        size = min(self._cem.population, self._flights)
        half = ndtri(self._rng.random((size // 2, len(self.mean))))
        steps = np.concatenate([half, -half, np.zeros((size % 2, len(self.mean)))])
        points: FloatArray = np.clip(self.mean + self.std * steps, self._low, self._high)
        self._candidates = points
        return points

    def _constants(self, points: FloatArray) -> DualConfig:
        """Constants of every flight, (B, 1) each, or numbers for a single point (P,)."""
        self._flown_by = np.arange(self._flights) * len(points) // self._flights
        rows = points[self._flown_by]
        columns = {
            name: exp(column) if name in LOG_SPREAD else column
            for name, column in zip(self._names, rows.T[:, :, None], strict=True)
        }
        # Not validated: the fields hold arrays here, within the bounds that a number would have to respect.
        return self._dual.model_copy(update=columns)

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Move the search towards the candidates with the highest expected return on the flights that all flew."""
        size = len(self._candidates)
        # Expected revenue whatever the reward is: the luck of single orders differs between candidates.
        fitness = np.bincount(self._flown_by, rollout.returns) / np.bincount(self._flown_by)
        count = min(size, max(2, round(self._cem.elite_share * size)))
        elite = self._candidates[np.argsort(-fitness, kind="stable")[:count]]
        keep = self._cem.smoothing
        self.mean = keep * self.mean + (1.0 - keep) * elite.mean(axis=0)
        std = keep * self.std + (1.0 - keep) * elite.std(axis=0)
        # Few elites underestimate the spread; without a floor the search would freeze on the luck of one population.
        self.std = np.maximum(std, self._cem.min_std * self._first_std)
        constants = self.constants()
        return {
            "learning/fitness_spread": float(fitness.std() / abs(fitness.mean())) if fitness.mean() else 0.0,
            "learning/search_std": float(np.mean(self.std / self._first_std)),
            **{f"learning/{name}": value for name, value in constants.items()},
        }

    def constants(self) -> dict[str, float]:
        """The constants that the search stands at: a DualConfig with them is the same bidder without the search."""
        mean = np.clip(self.mean, self._low, self._high)
        values = [exp(x) if name in LOG_SPREAD else x for name, x in zip(self._names, mean, strict=True)]
        return dict(zip(self._names, map(float, values), strict=True))

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Mean and spread of the search."""
        return {"mean": self.mean.copy(), "std": self.std.copy()}

    def load_state_dict(self, state: State) -> None:
        """Take over a search; raises ValueError for one over other constants."""
        if state["mean"].shape != self.mean.shape:
            raise ValueError(f"the search has {len(self.mean)} constants, the state {len(state['mean'])}")
        self.mean, self.std = state["mean"].copy(), state["std"].copy()


def _scaled(name: str, value: float) -> float:
    return float(log(np.float64(value))) if name in LOG_SPREAD else value


def _bounds(name: str) -> tuple[float, float]:
    """What DualConfig allows, on the scale of the search."""
    limits = {type(m).__name__: m for m in DualConfig.model_fields[name].metadata}
    low = limits["Ge"].ge if "Ge" in limits else SMALLEST
    # A hair inside, since exp(log x) can lie above x.
    return _scaled(name, low), _scaled(name, limits["Le"].le * (1.0 - 1e-12))


SMALLEST = 0.01
"""Of a factor that must be above 0."""
