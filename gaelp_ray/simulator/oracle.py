"""The hindsight optimum: what a bidder that knew every hidden value would have earned.

With one budget, the best bids belong to one multiplier lambda per flight: a click is worth value / lambda, and expected
cost equals the budget (Lagrangian of a fractional knapsack over all auctions). In second-price auctions the best bid is
that worth; in first-price auctions it is the argmax of (worth - bid) x chance of winning, cell by cell (prices.py).
A channel with a cap of its own that binds has a multiplier of its own. Expected values stand for the luck of single
auctions; a delay of conversions changes nothing, since a flight answers for all of its clicks.

With fatigue, an impression won early costs click-through rate later. Its shadow price follows backwards in time from
what later hours earn (Pontryagin's costate), and bids on the value of a click net of it: _with_fatigue().
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gaelp_ray.market.auction import Hour, Outcome
from gaelp_ray.market.landscape import DAYS
from gaelp_ray.market.multiplier import solve
from gaelp_ray.market.prices import Pricing
from gaelp_ray.records import FloatArray
from gaelp_ray.simulator.hidden import Hidden

BOUNDS = (-12.0, 12.0)
"""Range of log lambda."""

STEPS = 80
"""Of the solver, which stops by itself after about eight."""

ROUNDS = 24
"""Between bids and shadow prices of impressions."""

STEP = 0.3
"""Share of the way that each round moves."""


@dataclass(frozen=True)
class Optimum:
    """The optimum of B flights, arrays of shape (B,)."""

    multiplier: FloatArray  # lambda: the return that the last unit of budget earns
    cost: FloatArray  # expected cost; below the budget only where the whole market costs less
    revenue: FloatArray  # expected revenue


@dataclass(frozen=True)
class Cells:
    """Every hour of every channel, (B, H, S), flights first."""

    pricing: Pricing
    log_price: FloatArray
    clicks: FloatArray  # expected, if every auction were won
    log_worth: FloatArray  # log of what a bidder should count a click for: its value, less what fatigue costs later
    value: FloatArray  # expected revenue of a click
    budget: FloatArray  # (B,)
    caps: FloatArray  # (B, S) money that a channel may cost; infinite without a cap

    def spend(self, log_multiplier: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Cost of each channel at log lambda, (B, 1) or (B, S), and minus its derivative: (B, S)."""
        paid, slope = self.pricing.spend(self.log_worth - self.log_price - log_multiplier[:, None, :])
        scale = self.clicks * np.exp(self.log_price)
        return np.einsum("bhs,bhs->bs", scale, paid), np.einsum("bhs,bhs->bs", scale, slope)

    def multipliers(self, start: FloatArray) -> FloatArray:
        """log lambda of each channel, (B, S): one for all of a flight, but where a cap binds."""
        common = solve(self._total, self.budget, start, BOUNDS, STEPS)[:, None]
        binding = self.spend(common)[0] > self.caps
        each = np.repeat(common, self.caps.shape[1], axis=1)
        if binding.any():
            own = solve(self.spend, np.where(binding, self.caps, 1.0), each, BOUNDS, STEPS)
            each = np.where(binding, own, each)
        return each

    def _total(self, log_multiplier: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Cost of the flight at one log lambda for all channels, each within its cap, and minus its derivative."""
        cost, slope = self.spend(log_multiplier[:, None])
        open_ = cost < self.caps
        return np.where(open_, cost, self.caps).sum(axis=1), np.where(open_, slope, 0.0).sum(axis=1)

    def outcome(self, log_multiplier: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(chance of winning, price paid per auction) with the best bids, (B, H, S)."""
        u = self.log_worth - self.log_price - log_multiplier[:, None, :]
        return self.pricing.shape.win(self.pricing.best_bid(u)), np.exp(self.log_price) * self.pricing.payment(u)

    def optimum(self, log_multiplier: FloatArray) -> Optimum:
        """What the best bids at these multipliers bring."""
        win, paid = self.outcome(log_multiplier)
        return Optimum(
            multiplier=np.exp(log_multiplier.min(axis=1)),
            cost=np.einsum("bhs,bhs->b", self.clicks, paid),
            revenue=np.einsum("bhs,bhs,bhs->b", self.clicks, self.value, win),
        )


def hindsight_optimum(hidden: Hidden) -> Optimum:
    """The optimum of each flight; a market cheaper than the budget is bought whole."""
    cells = _cells(hidden)
    log_multiplier = cells.multipliers(np.zeros(len(hidden.budget)))
    if hidden.landscape.fatigue_rate:
        return _with_fatigue(hidden, cells, log_multiplier)
    return cells.optimum(log_multiplier)


def regret(hour: Hour, outcome: Outcome, multiplier: FloatArray) -> FloatArray:
    """Expected surplus (revenue - lambda x cost) that the hour's bids lose against the best ones at lambda, (B,).

    At least 0. Where the budget was spent before, nothing was won and all of the surplus is lost. With fatigue or caps,
    whose price lambda does not hold, the best bids are those of a market without them.
    """
    value = hour.conversion_rate * hour.order_value
    price = multiplier[:, None]
    best_bid = hour.pricing.best_bid(np.log(value / price) - hour.log_price) + hour.log_price
    win, paid = hour.pricing.clearing(best_bid, hour.log_price)
    best = win * (value - price * paid)
    made = np.where(outcome.open, outcome.win_rate * (value - price * outcome.price), 0.0)
    # Tabulated best bids of first-price auctions can lie a hair beside the best.
    lost: FloatArray = (hour.volume * hour.ctr * np.maximum(best - made, 0.0)).sum(axis=1)
    return lost


def _cells(hidden: Hidden) -> Cells:
    market = hidden.landscape
    value = hidden.conversion_rate * market.order_value
    clicks = hidden.traffic[:, :, None] * (hidden.volume * hidden.ctr)
    by_flight = (np.ascontiguousarray(array.transpose(1, 0, 2)) for array in (hidden.log_price, clicks, value))
    log_price, clicks, value = by_flight
    caps = np.where(market.spend_cap < 1.0, market.spend_cap * hidden.budget[:, None], np.inf)
    return Cells(market.pricing, log_price, clicks, np.log(value), value, hidden.budget, caps)


def _with_fatigue(hidden: Hidden, fresh: Cells, log_multiplier: FloatArray) -> Optimum:
    """The best plan met on the way to bids, fatigue and shadow prices that agree.

    Each round's bids are played through with the fatigue that they really bring. Most flights settle; where a budget is
    about as large as a tired market, rounds can go on to differ, and the best of them counts.
    """
    market, ctr = hidden.landscape, hidden.ctr[:, None, :]
    shadow, tired = np.zeros_like(fresh.clicks), np.zeros_like(fresh.clicks)
    flights = len(hidden.budget)
    best = Optimum(np.ones(flights), np.zeros(flights), np.zeros(flights))
    cells = fresh
    for _ in range(ROUNDS):
        win, paid = cells.outcome(log_multiplier)
        impressions = fresh.clicks / ctr * win
        truly = market.log_fatigue(np.cumsum(impressions, axis=1) - impressions)
        best = _better(best, replace(cells, clicks=fresh.clicks * np.exp(truly)).optimum(log_multiplier), hidden.budget)
        surplus = cells.clicks * (fresh.value * win - np.exp(log_multiplier)[:, None, :] * paid)
        later = np.cumsum(surplus[:, ::-1], axis=1)[:, ::-1] - surplus
        tired += STEP * (truly - tired)
        shadow += STEP * (later * market.fatigue_rate / (DAYS * market.volume) - shadow)
        net = np.maximum(fresh.value - shadow / (ctr * np.exp(tired)), 1e-9 * fresh.value)
        cells = replace(fresh, clicks=fresh.clicks * np.exp(tired), log_worth=np.log(net))
        log_multiplier = cells.multipliers(log_multiplier.min(axis=1))
    return best


def _better(a: Optimum, b: Optimum, budget: FloatArray) -> Optimum:
    """Flight by flight the one that earns more; what costs more than the budget is cut down in proportion."""
    over = np.maximum(b.cost / budget, 1.0)
    cost, revenue = b.cost / over, b.revenue / over
    more = revenue > a.revenue
    pairs = ((a.multiplier, b.multiplier), (a.cost, cost), (a.revenue, revenue))
    return Optimum(*(np.where(more, new, old) for old, new in pairs))
