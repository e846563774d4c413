"""Bidders told what is hidden: what better learning within a flight could be worth at most (used by quality.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gaelp_ray import AdCampaignVectorEnv, GAELPExperimentConfig
from gaelp_ray.agents.beliefs import Values, Volumes
from gaelp_ray.agents.dual import BayesDual
from gaelp_ray.agents.exact_bayes import ExactBayes
from gaelp_ray.market import Landscape
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


class InformedDual(BayesDual):
    """BayesDual with some beliefs replaced by the truth."""

    def __init__(self, market: Landscape, told: frozenset[str]) -> None:
        super().__init__(DualConfig(), market)
        self._told = told

    def tell(self, hidden: Hidden) -> None:
        """After begin(): the truth of its flights."""
        if "rates" in self._told:
            self._values = InformedValues(self._config, self._market, len(hidden.budget))
            self._values.hidden = hidden
        if "volumes" in self._told:
            self._volumes = InformedVolumes(self._config, self._market, len(hidden.budget))
            self._volumes.hidden, self._volumes.told = hidden, self._told


class KnownRates:
    """The true conversion rates, instead of a RatePosterior."""

    def __init__(self, hidden: Hidden) -> None:
        self._rate, self._hour = hidden.conversion_rate, 0

    def update(self, clicks: FloatArray, conversions: FloatArray) -> None:
        """The next hour."""
        self._hour += 1

    def mean(self) -> FloatArray:
        """Those of the hour, (B, S)."""
        rate: FloatArray = self._rate[self._hour]
        return rate


class KnownTraffic:
    """Replaces TrafficFilter: the true levels, and the true traffic as far ahead as the knowledge reaches."""

    def __init__(self, hidden: Hidden, market: Landscape, told: frozenset[str]) -> None:
        self._hidden, self._usual, self._told, self._hour = hidden, market.traffic, told, 0
        self._level = hidden.volume * hidden.ctr / (market.volume * market.ctr)

    def update(self, clicks: FloatArray, expected: FloatArray) -> None:
        """The next hour."""
        self._hour += 1

    def new_day(self) -> None:
        """Days are known by their hours."""

    def later(self) -> FloatArray:
        """Factor on the calibrated clicks of later days, (B, S)."""
        return self._level * self._busy(self._midnight, HOURS) if "future" in self._told else self._level

    def today(self) -> FloatArray:
        """Factor on the calibrated clicks of the rest of today, (B, S)."""
        if not self._told & {"today", "future"}:
            return self._level
        first = self._hour if "future" in self._told else self._midnight - HOURS_PER_DAY
        return self._level * self._busy(first, self._midnight)

    @property
    def _midnight(self) -> int:
        return (self._hour // HOURS_PER_DAY + 1) * HOURS_PER_DAY

    def _busy(self, first: int, last: int) -> Any:
        """True over calibrated traffic of these hours, (B, 1)."""
        usual = self._usual[first:last].sum()
        return (self._hidden.traffic[first:last].sum(axis=0) / usual)[:, None] if usual else 1.0


class InformedExact(ExactBayes):
    """ExactBayes with some beliefs replaced by the truth."""

    def __init__(self, market: Landscape, told: frozenset[str]) -> None:
        super().__init__(market)
        self._told = told
        self._beliefs = self._rates, self._traffic

    def begin(self, flights: int, rng: np.random.Generator) -> None:
        """Back to beliefs of its own."""
        self._rates, self._traffic = self._beliefs
        super().begin(flights, rng)

    def tell(self, hidden: Hidden) -> None:
        """After begin(): the truth of its flights."""
        if "rates" in self._told:
            self._rates: Any = KnownRates(hidden)
        if "volumes" in self._told:
            self._traffic: Any = KnownTraffic(hidden, self._market, self._told)


INFORMED = {"BayesDual": InformedDual, "ExactBayes": InformedExact}


def fly_informed(
    market: dict[str, Any], knowledge: str, flights: int, seeds: Sequence[int], bidder: str
) -> FlightTotals:
    """The evaluation's flights, flown by a bidder that knows some of what is hidden."""
    world = market_of(GAELPExperimentConfig(**market))
    agent = INFORMED[bidder](world.landscape, KNOWLEDGE[knowledge])
    parts = [_fly(agent, AdCampaignVectorEnv(count, world), flight_seed([*seeds, n])) for n, count in batches(flights)]
    return FlightTotals.concatenate(parts)


def _fly(agent: InformedDual | InformedExact, env: AdCampaignVectorEnv, seed: int) -> FlightTotals:
    """One batch of flights, with a look behind the environment's curtain."""
    obs, _ = env.reset(seed=seed)
    assert env._hidden is not None
    agent.begin(env.num_envs, np.random.default_rng(0))
    agent.tell(env._hidden)
    for _ in range(HOURS):
        obs, *_ = env.step(agent.act(obs))
    return env.totals()
