"""BayesDual: each hour re-solve the one multiplier that spends what is left over the expected rest of the flight.

The reference line of every leaderboard; exact_bayes.py is the same plan with exact beliefs. Three beliefs go into the
plan: values, volumes and prices (beliefs.py). Every weight is a constant of DualConfig, so that a sweep can tune the
bidder like any learner.
"""

from __future__ import annotations

import numpy as np

from gaelp_ray.agents.base import Action, FixedBidder
from gaelp_ray.agents.beliefs import FilteredVolumes, Prices, Values, Volumes
from gaelp_ray.agents.compiled_dual import compiled_planner
from gaelp_ray.agents.planning import (
    LOG_MULTIPLIER_RANGE,
    Outlook,
    by_channel,
    calibrated_multiplier,
    caps_left,
    declining,
    log_bids,
    spend_all,
)
from gaelp_ray.core.dual import CompiledDual
from gaelp_ray.market import Landscape
from gaelp_ray.market.elementary import exp, log
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.market.observation import Observation, View
from gaelp_ray.records import FloatArray
from gaelp_ray.sections import DualConfig

NEWTON_STEPS = 4
"""Per hour, from the last hour's solution; 15 in the first hour."""


class Planner:
    """Plans the hours of B flights, and remembers them."""

    def __init__(self, config: DualConfig, market: Landscape, flights: int) -> None:
        volumes = FilteredVolumes if config.traffic == "filter" else Volumes
        self._config, self._market = config, market
        self._prices = Prices(config, market)
        self._values = Values(config, market, flights)
        self._volumes = volumes(config, market, flights)
        # log lambda of the last and of the first plan, (B,).
        self.log_multiplier: FloatArray | None = None
        self.first_multiplier: FloatArray | None = None

    @property
    def traffic(self) -> tuple[FloatArray, FloatArray]:
        """Clicks / expected clicks of all channels, (B,): over the flight, and since midnight."""
        return self._volumes.flight, self._volumes.today

    def plan(self, obs: Observation, t: int) -> Action:
        """The actions of hour t, (B, S): posterior value / lambda, lambda from the plan for the rest of the flight."""
        view = View(obs)
        outlook, now = self._outlook(view, t)
        each = self._plan(outlook, view)
        shade = self._config.shade + self._config.pacing_shade * (1.0 - t / HOURS)
        worth = outlook.log_value - np.clip(each + shade, *LOG_MULTIPLIER_RANGE)
        return self._market.action(log_bids(self._market.pricing, worth, now))

    def _outlook(self, view: View, t: int) -> tuple[Outlook, FloatArray]:
        """The rest of the flight as it is believed to be, and this hour's competing prices, (B, S)."""
        budget = self._market.budget * exp(view.overall("log_budget"))
        now, ahead = self._prices.log_prices(view, t)
        outlook = Outlook(
            log_value=self._values.log_value(view, t),
            clicks=self._volumes.clicks_ahead(view, t),
            log_price=ahead,
            pricing=self._market.pricing,
            budget=view.overall("budget_left") * budget,
            caps=caps_left(self._market, view, budget),
        )
        if self.log_multiplier is None:
            self.log_multiplier = spend_all(outlook, calibrated_multiplier(self._market, budget), steps=15)
        return outlook, now

    def _plan(self, outlook: Outlook, view: View) -> FloatArray:
        """log lambda of each channel, (B, S), that spends what is left; the next hour's first guess is remembered."""
        assert self.log_multiplier is not None
        if self._market.fatigue_rate:
            outlook = declining(outlook, self._market, view.channel("log_fatigue"), self.log_multiplier)
        self.log_multiplier = spend_all(outlook, self.log_multiplier, NEWTON_STEPS)
        if self.first_multiplier is None:
            self.first_multiplier = self.log_multiplier
        return by_channel(outlook, self.log_multiplier, NEWTON_STEPS)


class BayesDual(FixedBidder):
    """Plans every hour with posterior values, volumes and prices."""

    def __init__(self, config: DualConfig, market: Landscape) -> None:
        self._config, self._market = config, market

    insights: int = 3

    def insight(self) -> FloatArray:
        """log lambda against the first plan, and log of clicks / expected clicks of the flight and of today, (B, 3)."""
        planner = self._planner
        assert planner.log_multiplier is not None and planner.first_multiplier is not None
        shift = planner.log_multiplier - planner.first_multiplier
        return np.concatenate([shift[:, None], log(np.stack(planner.traffic, axis=1))], axis=1)

    def begin(self, flights: int, rng: np.random.Generator) -> None:
        """Back to the calibrated beliefs."""
        compiled = compiled_planner(self._config, self._market, flights)
        self._planner: Planner | CompiledDual = compiled or Planner(self._config, self._market, flights)

    def planner(self, explore: bool = False) -> CompiledDual | None:
        """What plans in C; None where numpy does."""
        return self._planner if isinstance(self._planner, CompiledDual) else None

    def act(self, obs: Observation, explore: bool = False) -> Action:
        """Bid posterior value / lambda, lambda from the plan for the rest of the flight."""
        return self._planner.plan(obs, HOURS - round(float(View(obs).overall("time_left")[0]) * HOURS))
