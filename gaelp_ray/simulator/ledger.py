"""The books of B flights: what was spent and earned so far, and the observation that follows from it."""

from __future__ import annotations

import numpy as np

from gaelp_ray.market.auction import IntArray, Outcome, Purse
from gaelp_ray.market.elementary import exp, log, total
from gaelp_ray.market.landscape import HOURS, HOURS_PER_DAY, Landscape
from gaelp_ray.market.observation import Observation, pack
from gaelp_ray.records import FloatArray, zeros

RECENT = 0.1
"""Weight of the last hour in the moving average of spending."""

ROUNDING = 1e-12
"""Share of the budget that is never spent, so that sums in whatever order stay within it."""

SMALL_CHANGE = 1e-9
"""Share of the budget that buys nothing any more: the flight, or a channel at its cap, is out of money."""


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
        self.log_fatigue = zeros(*shape)  # log of what the impressions so far have left of the click-through rate
        self.pending: IntArray | int = 0  # conversions that happened and are not reported yet
        self._unripe = zeros(*shape)  # clicks whose conversions, if any, would not have been reported yet
        self._pacing_error: FloatArray = zeros(len(budget))
        self._violations = {name: zeros(len(budget)) for name in ("bids_above_cap", "hours_off_pace")}
        self._win_rate, self._log_price_ratio = zeros(*shape), zeros(*shape)
        self._uncapped = bool((landscape.spend_cap >= 1.0).all())
        self._prior_clicks = landscape.conversion_prior_clicks
        self._prior_conversions = self._prior_clicks * landscape.conversion_rate
        self._calibrated_clicks = landscape.volume * landscape.ctr
        # Share of the expected traffic that has passed before each hour, and at the end.
        self._traffic_passed = np.concatenate([[0.0], np.cumsum(landscape.traffic) / landscape.traffic.sum()])

    @property
    def purse(self) -> Purse:
        """What may still be spent."""
        if self._uncapped:
            return Purse(self.budget_left)
        left = self._market.spend_cap * self.budget[:, None] - self._cost
        return Purse(self.budget_left, np.where(left > SMALL_CHANGE * self.budget[:, None], left, 0.0))

    def book(self, outcome: Outcome, conversion_rate: FloatArray, bids: FloatArray) -> FloatArray:
        """Add one hour; returns its expected revenue per flight, (B,): clicks x true rate x mean order value.

        Expected revenue counts a click in the hour it happens, however late its conversion is reported.
        """
        market = self._market
        self._impressions += outcome.impressions
        self._clicks += outcome.clicks
        self._cost += outcome.cost
        self._conversions += outcome.conversions
        self._revenue += outcome.revenue
        # Without money there is nothing to expect.
        expected = self._calibrated_clicks * ((market.traffic[self.hour] * outcome.open) * outcome.win_rate)
        if market.fatigue_rate:
            expected *= exp(self.log_fatigue)
            self.log_fatigue = market.log_fatigue(self._impressions)
        self._expected_clicks += expected
        if market.report_rate < 1.0:
            self.pending = outcome.pending
            # In the last hour everything is reported.
            waits = 1.0 - market.report_rate if self.hour < HOURS - 1 else 0.0
            self._unripe = (self._unripe + outcome.clicks) * waits
        earned: FloatArray = total(outcome.clicks * conversion_rate * market.order_value)
        self._expected_revenue += earned
        self._recent_spend *= 1.0 - RECENT
        self._recent_spend += (RECENT * HOURS) * outcome.cost / self.budget[:, None]
        self._win_rate, self._log_price_ratio = outcome.win_rate, log(outcome.price / market.cpc)
        left = self.budget * (1.0 - ROUNDING) - total(self._cost)
        self.budget_left = np.where(left > SMALL_CHANGE * self.budget, left, 0.0)
        self.hour += 1
        # Spent share of the budget - share of the expected traffic that has passed.
        self._pacing_error = 1.0 - self.budget_left / self.budget - self._traffic_passed[self.hour]
        self._count_violations(bids)
        return earned

    def _count_violations(self, bids: FloatArray) -> None:
        limits = self._market.safety
        self._violations["bids_above_cap"] += (bids > limits.max_bid).sum(axis=1)
        self._violations["hours_off_pace"] += np.abs(self._pacing_error) > limits.max_pacing_error

    def observe(self) -> Observation:
        """The observations (B, D) of the next hour."""
        left = self.budget_left / self.budget
        flat = np.ones(len(self.budget))
        angle = 2.0 * np.pi * (self.hour % HOURS_PER_DAY) / HOURS_PER_DAY
        ripe = self._clicks - self._unripe if self._market.report_rate < 1.0 else self._clicks
        posterior = (self._conversions + self._prior_conversions) / (ripe + self._prior_clicks)
        per_channel = {
            "log_conversion_rate_ratio": log(posterior / self._market.conversion_rate),
            "win_rate": self._win_rate,
            "log_price_ratio": self._log_price_ratio,
            "log_clicks": log(1.0 + self._clicks),
            "log_expected_clicks": log(1.0 + self._expected_clicks),
            "spend_share": self._cost / self.budget[:, None],
            "recent_spend": self._recent_spend,
            "log_fatigue": self.log_fatigue,
        }
        overall = {
            "time_left": flat * (1.0 - self.hour / HOURS),
            "budget_left": left,
            "pacing_error": self._pacing_error,
            "hour_sin": flat * np.sin(angle),
            "hour_cos": flat * np.cos(angle),
            "log_budget": log(self.budget / self._market.budget),
        }
        return pack(per_channel, overall)

    def sums(self) -> dict[str, FloatArray]:
        """Sums per flight, (B,) arrays under the names of FlightTotals (all but the oracle's)."""
        limits, cost = self._market.safety, total(self._cost)
        return {
            "impressions": total(self._impressions),
            "clicks": total(self._clicks),
            "cost": cost,
            "conversions": total(self._conversions),
            "revenue": total(self._revenue),
            "budget": self.budget.copy(),
            "expected_revenue": self._expected_revenue.copy(),
            "shares_above_cap": (self._cost > limits.max_spend_share * cost[:, None]).sum(axis=1, dtype=np.float64),
            "short_of_delivery": (cost < limits.min_delivery * self.budget).astype(np.float64),
            **{name: counted.copy() for name, counted in self._violations.items()},
        }
