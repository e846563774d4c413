"""The books of B flights: what was spent and earned so far, and the observation that follows from it."""

from __future__ import annotations

import numpy as np

from gaelp_ray.market.auction import Outcome
from gaelp_ray.market.landscape import HOURS, HOURS_PER_DAY, Landscape
from gaelp_ray.market.observation import Observation, pack
from gaelp_ray.records import FloatArray, zeros

RECENT = 0.1
"""Weight of the last hour in the moving average of spending."""

ROUNDING = 1e-12
"""Share of the budget that is never spent, so that sums in whatever order stay within it."""

SMALL_CHANGE = 1e-9
"""Share of the budget that buys nothing any more: the flight is over its money."""


class Ledger:
    """Sums per flight and channel, (B, S), from the start of the flights."""

    def __init__(self, landscape: Landscape, budget: FloatArray) -> None:
        shape = (len(budget), landscape.channels)
        self.hour = 0
        self.budget = budget
        self.budget_left = budget.copy()
        self._market = landscape
        self._impressions, self._clicks, self._conversions = (zeros(*shape) for _ in range(3))
        self._cost, self._revenue, self._expected_clicks = (zeros(*shape) for _ in range(3))
        self._expected_revenue = zeros(len(budget))
        self._recent_spend = zeros(*shape)
        self._win_rate, self._log_price_ratio = zeros(*shape), zeros(*shape)
        self._prior_clicks = landscape.conversion_prior_clicks
        self._prior_conversions = self._prior_clicks * landscape.conversion_rate
        self._calibrated_clicks = landscape.volume * landscape.ctr
        # Share of the expected traffic that has passed before each hour, and at the end.
        self._traffic_passed = np.concatenate([[0.0], np.cumsum(landscape.traffic) / landscape.traffic.sum()])

    def book(self, outcome: Outcome, conversion_rate: FloatArray) -> FloatArray:
        """Add one hour; returns its expected revenue per flight, (B,): clicks x true rate x mean order value."""
        market = self._market
        self._impressions += outcome.impressions
        self._clicks += outcome.clicks
        self._cost += outcome.cost
        self._conversions += outcome.conversions
        self._revenue += outcome.revenue
        self._expected_clicks += self._calibrated_clicks * (market.traffic[self.hour] * outcome.win_rate)
        earned: FloatArray = (outcome.clicks * conversion_rate) @ market.order_value
        self._expected_revenue += earned
        self._recent_spend *= 1.0 - RECENT
        self._recent_spend += (RECENT * HOURS) * outcome.cost / self.budget[:, None]
        self._win_rate, self._log_price_ratio = outcome.win_rate, np.log(outcome.price / market.cpc)
        left = self.budget * (1.0 - ROUNDING) - self._cost.sum(axis=1)
        self.budget_left = np.where(left > SMALL_CHANGE * self.budget, left, 0.0)
        self.hour += 1
        return earned

    def observe(self) -> Observation:
        """The observations (B, D) of the next hour."""
        left = self.budget_left / self.budget
        flat = np.ones(len(self.budget))
        angle = 2.0 * np.pi * (self.hour % HOURS_PER_DAY) / HOURS_PER_DAY
        posterior = (self._conversions + self._prior_conversions) / (self._clicks + self._prior_clicks)
        per_channel = {
            "log_conversion_rate_ratio": np.log(posterior / self._market.conversion_rate),
            "win_rate": self._win_rate,
            "log_price_ratio": self._log_price_ratio,
            "log_clicks": np.log1p(self._clicks),
            "log_expected_clicks": np.log1p(self._expected_clicks),
            "spend_share": self._cost / self.budget[:, None],
            "recent_spend": self._recent_spend,
        }
        overall = {
            "time_left": flat * (1.0 - self.hour / HOURS),
            "budget_left": left,
            "pacing_error": 1.0 - left - self._traffic_passed[self.hour],
            "hour_sin": flat * np.sin(angle),
            "hour_cos": flat * np.cos(angle),
            "log_budget": np.log(self.budget / self._market.budget),
        }
        return pack(per_channel, overall)

    def sums(self) -> dict[str, FloatArray]:
        """Sums per flight, (B,) arrays under the names of FlightTotals (all but the oracle's)."""
        return {
            "impressions": self._impressions.sum(axis=1),
            "clicks": self._clicks.sum(axis=1),
            "cost": self._cost.sum(axis=1),
            "conversions": self._conversions.sum(axis=1),
            "revenue": self._revenue.sum(axis=1),
            "budget": self.budget.copy(),
            "expected_revenue": self._expected_revenue.copy(),
        }
