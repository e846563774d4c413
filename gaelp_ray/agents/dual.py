"""BayesDual: each hour re-solve the one multiplier that spends what is left over the expected rest of the flight.

The strongest classical bidder here, and the reference line of every leaderboard. Three beliefs go into the plan:
values (gamma posterior of each channel's conversion rate), volumes (gamma posterior of its clicks against what was
expected) and prices (the level of the last hour, decaying as its AR(1) process does). Every weight is a constant of
DualConfig, so that a sweep can tune the bidder like any learner.
"""

from __future__ import annotations

import numpy as np

from gaelp_ray.agents.base import Action, FixedBidder
from gaelp_ray.agents.planning import LOG_MULTIPLIER_RANGE, Outlook, calibrated_multiplier, log_bids, spend_all
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
        self._decay = [_mean_decay(market.price_autocorrelation, HOURS - t) for t in range(HOURS)]
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
        level = self._price_level(view, t)
        outlook = Outlook(
            log_value=self._log_value(view, t),
            clicks=self._volume(view, t),
            log_price=self._market.log_price + level * self._decay[t],
            pricing=self._market.pricing,
            budget=view.overall("budget_left") * budget,
        )
        if self._log_multiplier is None:
            self._log_multiplier = spend_all(outlook, calibrated_multiplier(self._market, budget), steps=15)
        self._log_multiplier = spend_all(outlook, self._log_multiplier, NEWTON_STEPS)
        shade = self._config.shade + self._config.pacing_shade * (1.0 - t / HOURS)
        log_multiplier = np.clip(self._log_multiplier + shade, *LOG_MULTIPLIER_RANGE)
        worth = outlook.log_value - log_multiplier[:, None]
        now = self._market.log_price + level * self._market.price_autocorrelation
        return self._market.action(log_bids(self._market.pricing, worth, now))

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

    def _price_level(self, view: View, t: int) -> FloatArray:
        """How far competing prices lay above the calibrated ones in the last hour, (B, S), times price_tracking.

        Win rate and price paid determine it without knowing the bid (Pricing.location).
        """
        market = self._market
        win_rate = view.channel("win_rate")
        # Where almost nothing or almost everything was won, float32 has lost the digits that the level needs.
        known = (win_rate > 1e-6) & (win_rate < 1.0 - 1e-6)
        if t == 0 or not known.any():
            return zeros(*win_rate.shape)
        log_paid = view.channel("log_price_ratio") + np.log(market.cpc)
        level = market.pricing.location(np.where(known, win_rate, 0.5), log_paid) - market.log_price
        tracked: FloatArray = self._config.price_tracking * np.where(known, np.clip(level, -3.0, 3.0), 0.0)
        return tracked


def _mean_decay(rho: float, hours: int) -> float:
    """Mean of rho, rho^2, ..., rho^hours: what is left on average of a price level over the next hours."""
    if hours <= 0 or rho >= 1.0:
        return 1.0
    return rho * (1.0 - rho**hours) / ((1.0 - rho) * hours)
