"""ExactBayes: BayesDual's plan with the exact beliefs of the market's own model, and no constant to tune.

BayesDual approximates: a gamma belief of conversion rates, traffic read from sums of clicks, prices that will be where
their mean is. Here every departure that a flight draws is inferred by Bayes' rule with the distribution it is drawn
from: conversion rates on a grid (rate_posterior.py), channel levels and the day's traffic jointly
(traffic_filter.py), and a plan that knows how far prices will spread. docs/decisions/035-exact-bayes.md has the
equations and what each part is worth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaelp_ray.agents.base import Action, FixedBidder
from gaelp_ray.agents.horizon import Blocks, Horizon, PriceLevel
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
from gaelp_ray.agents.rate_posterior import RatePosterior
from gaelp_ray.agents.traffic_filter import TrafficFilter
from gaelp_ray.market import Landscape
from gaelp_ray.market.landscape import HOURS, HOURS_PER_DAY
from gaelp_ray.market.observation import Observation, View
from gaelp_ray.records import FloatArray, zeros

FIRST_STEPS, NEWTON_STEPS = 15, 3
"""Steps of the plan in the first hour, and in later ones from the last hour's solution."""

NEGLIGIBLE = 1e-5
"""Share of the expected clicks so far below which float32 observations lose an hour's expected clicks."""


class ExactBayes(FixedBidder):
    """Plans every hour with exact posteriors of values and volumes, and with prices as spread as they will be."""

    insights: int = 3

    def __init__(self, market: Landscape) -> None:
        self._market = market
        self._rates, self._traffic = RatePosterior(market), TrafficFilter(market)
        self._blocks = [Blocks.ahead(market, t) for t in range(HOURS)]

    def insight(self) -> FloatArray:
        """log lambda against the first plan, mean log level of the channels, and log of today's factor, (B, 3)."""
        assert self._log_multiplier is not None and self._first_multiplier is not None
        shift = self._log_multiplier - self._first_multiplier
        return np.concatenate([shift[:, None], self._traffic.flight()], axis=1)

    def begin(self, flights: int, rng: np.random.Generator) -> None:
        """Back to the calibrated beliefs."""
        self._rates.begin(flights)
        self._traffic.begin(flights)
        self._counts = Counts(self._market, flights)
        self._prices = PriceLevel(self._market, flights)
        self._log_multiplier: FloatArray | None = None
        self._first_multiplier: FloatArray | None = None

    def act(self, obs: Observation, explore: bool = False) -> Action:
        """Bid posterior value / lambda, lambda from the plan for the rest of the flight."""
        view = View(obs)
        t = HOURS - round(float(view.overall("time_left")[0]) * HOURS)
        self._learn(view, t)
        outlook = self._outlook(view, t)
        each = self._plan(outlook, view)
        worth = outlook.log_value - np.clip(each, *LOG_MULTIPLIER_RANGE)
        return self._market.action(log_bids(self._market.pricing, worth, self._prices.next_hour(t)))

    def _learn(self, view: View, t: int) -> None:
        """Update all beliefs with what the last hour brought."""
        hour = self._counts.since_last_hour(view)
        if t == 0:
            return
        self._rates.update(hour.ripe_clicks, hour.conversions)
        self._traffic.update(hour.clicks, hour.expected)
        if t % HOURS_PER_DAY == 0:
            self._traffic.new_day()
        self._prices.update(view, t)

    def _outlook(self, view: View, t: int) -> Horizon:
        """The rest of the flight as it is believed to be."""
        market, blocks = self._market, self._blocks[t]
        budget = market.budget * np.exp(view.overall("log_budget"))
        usual = market.volume * market.ctr
        if market.fatigue_rate:
            usual = usual * np.exp(view.channel("log_fatigue"))
        outlook = Horizon(
            log_value=np.log(self._rates.mean() * market.order_value),
            clicks=blocks.clicks(usual * self._traffic.today(), usual * self._traffic.later()),
            log_price=blocks.log_price(self._prices),
            pricing=blocks.pricing,
            budget=view.overall("budget_left") * budget,
            caps=caps_left(market, view, budget),
        )
        if self._log_multiplier is None:
            start = calibrated_multiplier(market, budget)
            self._log_multiplier = self._first_multiplier = spend_all(outlook, start, FIRST_STEPS)
        return outlook

    def _plan(self, outlook: Horizon, view: View) -> FloatArray:
        """log lambda of each channel, (B, S), that spends what is left; the next hour starts from it."""
        assert self._log_multiplier is not None
        plan: Outlook = outlook
        if self._market.fatigue_rate:
            plan = declining(outlook, self._market, view.channel("log_fatigue"), self._log_multiplier)
        self._log_multiplier = spend_all(plan, self._log_multiplier, NEWTON_STEPS)
        return by_channel(plan, self._log_multiplier, NEWTON_STEPS)


@dataclass(frozen=True)
class HourCounts:
    """What one hour brought, (B, S)."""

    clicks: FloatArray
    expected: FloatArray  # clicks at the calibrated volume and the same win rates; 0 where they are not known
    ripe_clicks: FloatArray  # weighted by the chance that their conversions, if any, have been reported
    conversions: FloatArray  # reported


class Counts:
    """Counts of single hours, recovered from the sums that observations hold as logarithms in float32."""

    def __init__(self, market: Landscape, flights: int) -> None:
        self._market = market
        self._clicks, self._expected, self._unripe, self._conversions = (
            zeros(flights, market.channels) for _ in range(4)
        )

    def since_last_hour(self, view: View) -> HourCounts:
        """The counts of the hour between the last observation and this one."""
        market = self._market
        clicks, expected = np.rint(np.expm1(view.channel("log_clicks"))), np.expm1(view.channel("log_expected_clicks"))
        unripe = (self._unripe + clicks - self._clicks) * (1.0 - market.report_rate)
        # The observation's posterior, solved for the conversions that led to it.
        rate, prior = market.conversion_rate, market.conversion_prior_clicks
        posterior = np.exp(view.channel("log_conversion_rate_ratio")) * rate
        conversions = np.maximum(np.rint(posterior * (clicks - unripe + prior) - rate * prior), self._conversions)
        due = expected - self._expected
        hour = HourCounts(
            clicks=clicks - self._clicks,
            expected=np.where(due > NEGLIGIBLE * expected, due, 0.0),
            ripe_clicks=clicks - self._clicks - (unripe - self._unripe),
            conversions=conversions - self._conversions,
        )
        self._clicks, self._expected, self._unripe, self._conversions = clicks, expected, unripe, conversions
        return hour
