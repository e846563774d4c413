"""BayesDual told what is hidden: what better learning within a flight could be worth at most (used by quality.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gaelp_ray import AdCampaignVectorEnv, GAELPExperimentConfig
from gaelp_ray.agents.beliefs import Values, Volumes
from gaelp_ray.agents.dual import BayesDual
from gaelp_ray.market.landscape import DAYS, HOURS, HOURS_PER_DAY
from gaelp_ray.market.observation import View
from gaelp_ray.records import FlightTotals, FloatArray
from gaelp_ray.sections import DualConfig
from gaelp_ray.simulator.hidden import Hidden
from gaelp_ray.training import batches, flight_seed
from gaelp_ray.worlds import market_of

KNOWLEDGE: dict[str, frozenset[str]] = {
    "nothing": frozenset(),
    "volumes": frozenset({"volumes"}),
    "volumes, today's traffic": frozenset({"volumes", "today"}),
    "conversion rates now": frozenset({"rates"}),
    "conversion rates, volumes": frozenset({"rates", "volumes"}),
    "conversion rates, volumes, today's traffic": frozenset({"rates", "volumes", "today"}),
    "conversion rates, all traffic to come": frozenset({"rates", "volumes", "future"}),
}


class InformedValues(Values):
    """The true conversion rate of the hour."""

    hidden: Hidden

    def log_value(self, view: View, t: int) -> FloatArray:
        """log of expected revenue per click, (B, S)."""
        value: FloatArray = np.log(self.hidden.conversion_rate[t] * self._market.order_value)
        return value


class InformedVolumes(Volumes):
    """The true volumes, and as much of the traffic to come as is told."""

    hidden: Hidden
    told: frozenset[str]

    def clicks_ahead(self, view: View, t: int) -> FloatArray:
        """Expected clicks of the rest of the flight if every auction were won, (B, S)."""
        hidden = self.hidden
        ahead: Any = np.full(len(hidden.budget), self._ahead[t])
        if "future" in self.told:
            ahead = hidden.traffic[t:].sum(axis=0)
        elif "today" in self.told:
            daily = hidden.traffic.reshape(DAYS, HOURS_PER_DAY, -1).sum(axis=1)
            usual = self._market.traffic.reshape(DAYS, HOURS_PER_DAY).sum(axis=1)
            day = min(t, HOURS - 1) // HOURS_PER_DAY
            ahead = ahead + self.rest_of_today(t) * (daily[day] / usual[day] - 1.0)
        clicks: FloatArray = hidden.volume * hidden.ctr * ahead[:, None]
        return clicks


class Informed(BayesDual):
    """BayesDual with some beliefs replaced by the truth."""

    def __init__(self, config: GAELPExperimentConfig, told: frozenset[str]) -> None:
        super().__init__(DualConfig(), market_of(config).landscape)
        self._told = told

    def fly(self, env: AdCampaignVectorEnv, seed: int) -> FlightTotals:
        """One batch of flights, with a look behind the environment's curtain."""
        obs, _ = env.reset(seed=seed)
        hidden = env._hidden
        assert hidden is not None
        self.begin(env.num_envs, np.random.default_rng(0))
        if "rates" in self._told:
            self._values = InformedValues(self._config, self._market, env.num_envs)
            self._values.hidden = hidden
        if "volumes" in self._told:
            self._volumes = InformedVolumes(self._config, self._market, env.num_envs)
            self._volumes.hidden, self._volumes.told = hidden, self._told
        done = False
        while not done:
            obs, _, terminated, _, _ = env.step(self.act(obs))
            done = bool(terminated.all())
        return env.totals()


def fly_informed(market: dict[str, Any], knowledge: str, flights: int, seeds: Sequence[int]) -> FlightTotals:
    """The evaluation's flights, flown by a bidder that knows some of what is hidden."""
    config = GAELPExperimentConfig(**market)
    bidder = Informed(config, KNOWLEDGE[knowledge])
    world = market_of(config)
    parts = [
        bidder.fly(AdCampaignVectorEnv(count, world), flight_seed([*seeds, number]))
        for number, count in batches(flights)
    ]
    return FlightTotals.concatenate(parts)
