"""Ledger.book() and Ledger.observe() in C where the core is compiled: the same bits, several times faster."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from gaelp_ray.core.books import Calendar, CompiledBooks
from gaelp_ray.core.library import load
from gaelp_ray.market import observation
from gaelp_ray.market.auction import IntArray, Outcome
from gaelp_ray.market.elementary import log
from gaelp_ray.market.landscape import DAYS, HOURS, HOURS_PER_DAY, Landscape
from gaelp_ray.market.observation import Observation
from gaelp_ray.records import FloatArray
from gaelp_ray.simulator.ledger import Ledger


def _clock() -> dict[str, FloatArray]:
    after = range(1, HOURS + 1)
    # One by one, as Ledger.observe() does: a sine of several numbers at once may have other last bits.
    angles = [2.0 * np.pi * (hour % HOURS_PER_DAY) / HOURS_PER_DAY for hour in after]
    return {
        "time_left": np.array([1.0 - hour / HOURS for hour in after]),
        "hour_sin": np.array([np.sin(angle) for angle in angles]),
        "hour_cos": np.array([np.cos(angle) for angle in angles]),
    }


CLOCK = _clock()
"""How the observations after each hour begin, (168,)."""


def ledger_of(landscape: Landscape, budget: FloatArray) -> Ledger:
    """The books of flights with these budgets, (B,), kept by C or numpy."""
    library = load().library
    return Ledger(landscape, budget) if library is None else CompiledLedger(library, landscape, budget)


class CompiledLedger(Ledger):
    """A Ledger whose arrays C updates in place."""

    def __init__(self, library: ctypes.CDLL, landscape: Landscape, budget: FloatArray) -> None:
        super().__init__(landscape, budget)
        self._observation = super().observe()
        self.books = self._in_c(library)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and pickled without the addresses of its arrays."""
        state = {name: value for name, value in self.__dict__.items() if name != "books"}
        return _restored, (self._market, state)

    def restore(self, library: ctypes.CDLL) -> None:
        """Point the library to arrays that were replaced."""
        self.books = self._in_c(library)

    def _in_c(self, library: ctypes.CDLL) -> CompiledBooks:
        landscape = self._market
        slope = -landscape.fatigue_rate / (DAYS * landscape.volume) if landscape.fatigue_rate else None
        market = {
            "calibrated_clicks": self._calibrated_clicks,
            "cpc": landscape.cpc,
            "order_value": landscape.order_value,
            "prior_clicks": self._prior_clicks,
            "prior_conversions": self._prior_conversions,
            "calibrated_rate": landscape.conversion_rate,
            "max_bid": landscape.safety.max_bid,
            "fatigue_slope": slope,
        }
        flights = {
            "budget": self.budget,
            "log_budget": log(self.budget / landscape.budget),
            "all_impressions": self._impressions,
            "all_clicks": self._clicks,
            "all_conversions": self._conversions,
            "all_cost": self._cost,
            "all_revenue": self._revenue,
            "expected_clicks": self._expected_clicks,
            "recent_spend": self._recent_spend,
            "unripe": self._unripe,
            "log_fatigue": self.log_fatigue,
            "log_price_ratio": self._log_price_ratio,
            "budget_left": self.budget_left,
            "expected_revenue": self._expected_revenue,
            "pacing_error": self._pacing_error,
            **self._violations,
        }
        size = observation.size(landscape.channels)
        return CompiledBooks(library, market, flights, landscape.safety.max_pacing_error, size)

    def book(self, outcome: Outcome, conversion_rate: FloatArray, bids: FloatArray) -> FloatArray:
        """Add one hour; returns its expected revenue per flight, (B,), an array that the next hour overwrites."""
        hour = {
            "impressions": outcome.impressions,
            "clicks": outcome.clicks,
            "conversions": outcome.conversions,
            "cost": outcome.cost,
            "revenue": outcome.revenue,
            "win_rate": outcome.win_rate,
            "price": outcome.price,
            "bid": bids,
            "true_rate": conversion_rate,
            "open": outcome.open,
        }
        if self._market.report_rate < 1.0:
            self.pending = outcome.pending
        calendar, self.hour = self._calendar(self.hour), self.hour + 1
        earned, self._observation = self.books.close(hour, calendar)
        return earned

    def _calendar(self, hour: int) -> Calendar:
        report_rate = self._market.report_rate
        return Calendar(
            traffic=self._market.traffic[hour],
            waits=1.0 - report_rate if hour < HOURS - 1 else 0.0,
            traffic_passed=self._traffic_passed[hour + 1],
            **{name: values[hour] for name, values in CLOCK.items()},
            delayed=report_rate < 1.0,
        )

    def hours(self) -> dict[str, FloatArray]:
        """Constants of each hour for C, (168,) each: its traffic, and the clock of the next observations."""
        return {"traffic": self._market.traffic, "traffic_passed": self._traffic_passed[1:], **CLOCK}

    def end(self, observed: Observation, pending: IntArray) -> None:
        """Take over what C has left at the end of the flights."""
        self.hour, self._observation = HOURS, observed
        if self._market.report_rate < 1.0:
            self.pending = pending

    def observe(self) -> Observation:
        """The observations (B, D) of the next hour."""
        copied: Observation = self._observation.copy()
        return copied


def _restored(landscape: Landscape, state: dict[str, Any]) -> Ledger:
    """A ledger that was copied or pickled, kept by what computes here."""
    ledger = ledger_of(landscape, state["budget"])
    ledger.__dict__.update(state)
    library = load().library
    if library is not None and isinstance(ledger, CompiledLedger):
        ledger.restore(library)
    return ledger
