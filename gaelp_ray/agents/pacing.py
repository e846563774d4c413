"""Classical bidders that plan nothing: one constant, and PID control of the spending."""

from __future__ import annotations

import numpy as np

from gaelp_ray.agents.base import Action, FixedBidder
from gaelp_ray.agents.planning import LOG_MULTIPLIER_RANGE, calibrated_multiplier, log_bids
from gaelp_ray.market import Landscape
from gaelp_ray.market.elementary import exp, log
from gaelp_ray.market.observation import Observation, View
from gaelp_ray.records import FloatArray, zeros
from gaelp_ray.sections import ConstantConfig, PIDConfig


class ConstantBidder(FixedBidder):
    """The market's historical bids times one number, whatever happens."""

    def __init__(self, config: ConstantConfig, market: Landscape) -> None:
        self._action = market.action(log(config.bid_multiplier * market.bid))

    def begin(self, flights: int, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def act(self, obs: Observation, explore: bool = False) -> Action:
        """The same bids in every hour."""
        return np.tile(self._action, (len(obs), 1))


class PacedBidder(FixedBidder):
    """The best bid at value / lambda on every channel; a PID controller moves log lambda to hold the spending plan.

    The plan is to spend in proportion to the expected traffic. lambda starts where the calibrated market spends the
    budget exactly. `learns_value` makes it BayesPID: the posterior conversion rate instead of the calibrated one.
    """

    def __init__(self, config: PIDConfig, market: Landscape, learns_value: bool) -> None:
        self._config, self._market, self._learns_value = config, market, learns_value
        self._log_value = log(market.value)

    def begin(self, flights: int, rng: np.random.Generator) -> None:
        """Clear the controller's memory."""
        self._start: FloatArray | None = None
        self._sum = zeros(flights)
        self._last = zeros(flights)

    def act(self, obs: Observation, explore: bool = False) -> Action:
        """Raise lambda (bid less) when ahead of the plan, lower it when behind."""
        view = View(obs)
        if self._start is None:
            self._start = calibrated_multiplier(self._market, self._market.budget * exp(view.overall("log_budget")))
        error = view.overall("pacing_error")
        self._sum += error
        gains = self._config
        correction = gains.kp * error + gains.ki * self._sum + gains.kd * (error - self._last)
        self._last = error
        log_multiplier = np.clip(self._start + correction, *LOG_MULTIPLIER_RANGE)
        log_value = self._log_value
        if self._learns_value:
            log_value = log_value + view.channel("log_conversion_rate_ratio")
        worth = log_value - log_multiplier[:, None]
        return self._market.action(log_bids(self._market.pricing, worth, self._market.log_price))
