"""BayesDual: each hour re-solve the one multiplier that spends what is left over the expected rest of the flight.

The strongest classical bidder here, and the reference line of every leaderboard. Three beliefs go into the plan:
values (gamma posterior of each channel's conversion rate), volumes (gamma posterior of its clicks against what was
expected) and prices (the level of the last hour, decaying as its AR(1) process does). Every weight is a constant of
DualConfig, so that a sweep can tune the bidder like any learner.
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr, ndtri

from gaelp_ray.agents.base import Action, FixedBidder
from gaelp_ray.agents.planning import LOG_MULTIPLIER_RANGE, Outlook, calibrated_multiplier, spend_all
from gaelp_ray.config import DualConfig
from gaelp_ray.market import Landscape
from gaelp_ray.market.landscape import HOURS, HOURS_PER_DAY
from gaelp_ray.market.observation import Observation, View
from gaelp_ray.records import FloatArray, zeros

TODAY_PRIOR = 20.0
"""Clicks that today's (and the flight's) traffic is shrunk by, so that a quiet night decides nothing."""

NEWTON_STEPS = 4
"""Per hour, from the last hour's solution; 15 in the first hour."""


class BayesDual(FixedBidder):
    """Plans every hour with posterior values, volumes and prices."""

    def __init__(self, config: DualConfig, market: Landscape) -> None:
        self._config, self._market = config, market
        self._prior_clicks = market.conversion_prior_clicks * config.prior_strength
        self._prior_volume = market.volume_prior_clicks * config.volume_prior_strength
        self._calibrated_clicks = market.volume * market.ctr
        self._traffic_ahead = np.append(np.cumsum(market.traffic[::-1])[::-1], 0.0)

    def begin(self, flights: int, rng: np.random.Generator) -> None:
        """Back to the calibrated beliefs."""
        shape = (flights, self._market.channels)
        self._log_multiplier: FloatArray | None = None
        # Discounted clicks and conversions, and the sums they were last brought up to.
        self._clicks, self._conversions = zeros(*shape), zeros(*shape)
        self._seen_clicks, self._seen_conversions = zeros(*shape), zeros(*shape)
        self._at_midnight = (zeros(flights), zeros(flights))  # (clicks, expected clicks) of the flight

    def act(self, obs: Observation, explore: bool = False) -> Action:
        """Bid posterior value / lambda, lambda from the plan for the rest of the flight."""
        view = View(obs)
        hours_left = view.overall("time_left") * HOURS
        t = HOURS - round(float(hours_left[0]))
        budget = self._market.budget * np.exp(view.overall("log_budget"))
        outlook = Outlook(
            log_value=self._log_value(view, t),
            clicks=self._volume(view, t),
            log_price=self._log_price(view, t),
            log_sd=self._market.log_sd,
            budget=view.overall("budget_left") * budget,
        )
        if self._log_multiplier is None:
            self._log_multiplier = spend_all(outlook, calibrated_multiplier(self._market, budget), steps=15)
        self._log_multiplier = spend_all(outlook, self._log_multiplier, NEWTON_STEPS)
        shade = self._config.shade + self._config.pacing_shade * (1.0 - t / HOURS)
        log_multiplier = np.clip(self._log_multiplier + shade, *LOG_MULTIPLIER_RANGE)
        return self._market.action(outlook.log_value - log_multiplier[:, None])

    def _log_value(self, view: View, t: int) -> FloatArray:
        """log of expected revenue per click, (B, S): posterior conversion rate x mean order value."""
        market, keep = self._market, 1.0 - self._config.forgetting
        clicks = np.expm1(view.channel("log_clicks"))
        # The observation's posterior, solved for the conversions that led to it.
        exact = np.exp(view.channel("log_conversion_rate_ratio")) * market.conversion_rate
        prior = market.conversion_prior_clicks
        conversions = np.maximum(exact * (clicks + prior) - market.conversion_rate * prior, 0.0)
        self._clicks = self._clicks * keep + clicks - self._seen_clicks
        self._conversions = self._conversions * keep + conversions - self._seen_conversions
        self._seen_clicks, self._seen_conversions = clicks, conversions
        sales = np.maximum(self._conversions, 0.0) + self._prior_clicks * market.conversion_rate
        rate = sales / (np.maximum(self._clicks, 0.0) + self._prior_clicks)
        optimism = self._config.optimism * (1.0 - t / HOURS) / np.sqrt(sales)
        log_value: FloatArray = np.log(rate * market.order_value) + optimism
        return log_value

    def _volume(self, view: View, t: int) -> FloatArray:
        """Expected clicks of the rest of the flight if every auction were won, (B, S)."""
        clicks, expected = (np.expm1(view.channel(name)) for name in ("log_clicks", "log_expected_clicks"))
        ratio = (clicks + self._prior_volume) / (expected + self._prior_volume)
        ahead = np.full(len(clicks), self._traffic_ahead[t])
        if self._config.traffic_use:
            ahead += self._todays_surplus(clicks.sum(axis=1), expected.sum(axis=1), t)
        volume: FloatArray = self._calibrated_clicks * ratio * ahead[:, None]
        return volume

    def _todays_surplus(self, clicks: FloatArray, expected: FloatArray, t: int) -> FloatArray:
        """Traffic that the rest of today will bring beyond its share, (B,), in units of an average day."""
        if t % HOURS_PER_DAY == 0:
            self._at_midnight = (clicks, expected)
        today = (clicks - self._at_midnight[0] + TODAY_PRIOR) / (expected - self._at_midnight[1] + TODAY_PRIOR)
        flight = (clicks + TODAY_PRIOR) / (expected + TODAY_PRIOR)
        midnight = min(HOURS, (t // HOURS_PER_DAY + 1) * HOURS_PER_DAY)
        rest = self._traffic_ahead[t] - self._traffic_ahead[midnight]
        surplus: FloatArray = rest * ((today / flight) ** self._config.traffic_use - 1.0)
        return surplus

    def _log_price(self, view: View, t: int) -> FloatArray:
        """Expected location of competing bids over the rest of the flight, (B, S).

        Win rate and mean price below the bid of the last hour determine its location without knowing the bid:
        z = Phi^-1(win rate), mu = log price - sd^2/2 - log Phi(z - sd) + log win rate.
        """
        market = self._market
        if t == 0:
            return np.broadcast_to(market.log_price, (len(view.overall("time_left")), market.channels))
        win_rate = view.channel("win_rate")
        # Where almost nothing or almost everything was won, float32 has lost the digits that the level needs.
        known = (win_rate > 1e-6) & (win_rate < 1.0 - 1e-6)
        win_rate = np.where(known, win_rate, 0.5)
        z = ndtri(win_rate)
        paid = view.channel("log_price_ratio") + np.log(market.cpc)
        level = paid - market.log_sd**2 / 2.0 - log_ndtr(z - market.log_sd) + np.log(win_rate) - market.log_price
        decay = _mean_decay(market.price_autocorrelation, HOURS - t)
        weight = self._config.price_tracking * decay
        return market.log_price + weight * np.where(known, np.clip(level, -3.0, 3.0), 0.0)


def _mean_decay(rho: float, hours: int) -> float:
    """Mean of rho, rho^2, ..., rho^hours: what is left on average of a price level over the next hours."""
    if hours <= 0 or rho >= 1.0:
        return 1.0
    return rho * (1.0 - rho**hours) / ((1.0 - rho) * hours)
