"""The hindsight optimum: what a bidder that knew every hidden value would have earned.

With one budget, the best bids belong to one multiplier lambda per flight: a click is worth value / lambda, and expected
cost equals the budget (Lagrangian of a fractional knapsack over all auctions). In second-price auctions the best bid is
that worth; in first-price auctions it is the argmax of (worth - bid) x chance of winning, cell by cell (prices.py).
A channel with a cap of its own that binds has a multiplier of its own. Expected values stand for the luck of single
auctions; a delay of conversions changes nothing, since a flight answers for all of its clicks.

With fatigue, an impression won early costs click-through rate later. Its shadow price follows backwards in time from
what later hours earn (Pontryagin's costate), and bids on the value of a click net of it: _with_fatigue().

Elementary functions, and sums over hours and channels in their order: the same bits everywhere, in C (core/c/optimum.h)
where the core is compiled. A flight does not depend on its batch.
"""

from __future__ import annotations

from ctypes import CDLL
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from gaelp_ray.core.library import load
from gaelp_ray.core.optimum import Bids, CompiledRegret, Truth, solve_optimum
from gaelp_ray.market.auction import Hour, Outcome
from gaelp_ray.market.compiled_prices import prices_in_c
from gaelp_ray.market.elementary import exp, log, total
from gaelp_ray.market.landscape import DAYS
from gaelp_ray.market.multiplier import solve
from gaelp_ray.market.prices import Pricing
from gaelp_ray.records import FloatArray
from gaelp_ray.simulator.hidden import Hidden

BOUNDS = (-12.0, 12.0)
"""Range of log lambda."""

STEPS = 80
"""Of the solver, which stops by itself after about eight."""

SAMPLE = 7
"""Of the hours, one in so many: every hour of the day once in a week."""

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
    """Every hour of every channel, (H, B, S)."""

    pricing: Pricing
    log_price: FloatArray
    price: FloatArray  # exp(log_price)
    clicks: FloatArray  # expected, if every auction were won
    log_worth: FloatArray  # log of what a bidder should count a click for: its value, less what fatigue costs later
    value: FloatArray  # expected revenue of a click
    budget: FloatArray  # (B,)
    caps: FloatArray  # (B, S) money that a channel may cost; infinite without a cap

    @cached_property
    def worth(self) -> FloatArray:
        """log_worth relative to the location of the price."""
        return self.log_worth - self.log_price

    @cached_property
    def scale(self) -> FloatArray:
        """Money per unit of a payment at location 0."""
        return self.clicks * self.price

    def spend(self, log_multiplier: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Cost of each channel at log lambda, (B, 1) or (B, S), and minus its derivative: (B, S)."""
        paid, slope = self.pricing.spend(self.worth - log_multiplier)
        return _over_hours(self.scale * paid), _over_hours(self.scale * slope)

    def near(self) -> FloatArray:
        """A log lambda to start from, (B,): the root for a sample of the hours, without caps."""
        worth, scale = self.worth[::SAMPLE], self.scale[::SAMPLE]

        def spend(log_multiplier: FloatArray) -> tuple[FloatArray, FloatArray]:
            paid, slope = self.pricing.spend(worth - log_multiplier[:, None])
            return total(_over_hours(scale * paid)), total(_over_hours(scale * slope))

        budget = self.budget * (len(worth) / len(self.worth))
        return solve(spend, budget, np.zeros(len(budget)), BOUNDS, STEPS)

    def multipliers(self, start: FloatArray) -> FloatArray:
        """log lambda of each channel, (B, S): one for all of a flight, but where a cap binds."""
        common = solve(self._total, self.budget, start, BOUNDS, STEPS)[:, None]
        each = np.repeat(common, self.caps.shape[1], axis=1)
        if np.isinf(self.caps).all():
            return each
        binding = self.spend(common)[0] > self.caps
        own = solve(self.spend, np.where(binding, self.caps, 1.0), each, BOUNDS, STEPS)
        return np.where(binding, own, each)

    def _total(self, log_multiplier: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Cost of the flight at one log lambda for all channels, each within its cap, and minus its derivative."""
        cost, slope = self.spend(log_multiplier[:, None])
        open_ = cost < self.caps
        return total(np.where(open_, cost, self.caps)), total(np.where(open_, slope, 0.0))

    def outcome(self, log_multiplier: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(chance of winning, payment per auction at location 0) with the best bids, (H, B, S)."""
        u = self.worth - log_multiplier
        return self.pricing.shape.win(self.pricing.best_bid(u)), self.pricing.payment(u)

    def optimum(self, log_multiplier: FloatArray) -> Optimum:
        """What the best bids at these multipliers bring."""
        win, paid = self.outcome(log_multiplier)
        return Optimum(
            multiplier=exp(log_multiplier.min(axis=1)),
            cost=total(_over_hours(self.scale * paid)),
            revenue=total(_over_hours(self.clicks * self.value * win)),
        )


def _over_hours(x: FloatArray) -> FloatArray:
    """Sums over the hours, (H, B, S) -> (B, S), in their order: np.sum adds in an order of its own."""
    added: FloatArray = x[0].copy()
    for hour in x[1:]:
        added += hour
    return added


def hindsight_optimum(hidden: Hidden, copies: int = 1) -> Optimum:
    """The optimum of each flight; a market cheaper than the budget is bought whole.

    copies: the B flights are B / copies different ones, block after block; each is solved once.
    """
    if copies > 1:
        single = hindsight_optimum(hidden.first(len(hidden.budget) // copies))
        return Optimum(*(np.tile(getattr(single, field.name), copies) for field in fields(Optimum)))
    library = load().library
    if library is not None:
        return _solved_in_c(library, hidden)
    cells = _cells(hidden)
    log_multiplier = cells.multipliers(cells.near())
    if hidden.landscape.fatigue_rate:
        return _with_fatigue(hidden, cells, log_multiplier)
    return cells.optimum(log_multiplier)


def regret(hour: Hour, outcome: Outcome, multiplier: FloatArray) -> FloatArray:
    """Expected surplus (revenue - lambda x cost) that the hour's bids lose against the best ones at lambda, (B,).

    At least 0. Where the budget was spent before, nothing was won and all of the surplus is lost. With fatigue or caps,
    whose price lambda does not hold, the best bids are those of a market without them.
    """
    return Regret(hour.pricing, hour.order_value, multiplier)(hour, outcome)


class Regret:
    """regret() of hours of the same flights: `order_value` (S,), `multiplier` lambda of each flight, (B,)."""

    def __init__(self, pricing: Pricing, order_value: FloatArray, multiplier: FloatArray) -> None:
        self._arguments = pricing, order_value, multiplier
        library, self._compiled = load().library, None
        if library is not None:
            prices = prices_in_c(pricing, len(order_value), plans=True)
            self._compiled = CompiledRegret(library, prices, order_value, multiplier)

    def __reduce__(self) -> tuple[type[Regret], tuple[Pricing, FloatArray, FloatArray]]:
        """Copied and pickled without addresses of arrays."""
        return Regret, self._arguments

    def __call__(self, hour: Hour, outcome: Outcome) -> FloatArray:
        """The regret of an hour, (B,)."""
        if self._compiled is None:
            return _regret_in_numpy(hour, outcome, self._arguments[2])
        state = hour.log_price, hour.volume, hour.ctr, hour.conversion_rate
        return self._compiled.of(Bids(*state, outcome.win_rate, outcome.price, outcome.open))


def _regret_in_numpy(hour: Hour, outcome: Outcome, multiplier: FloatArray) -> FloatArray:
    value = hour.conversion_rate * hour.order_value
    price = multiplier[:, None]
    shape, x = hour.pricing.shape, hour.pricing.best_bid(log(value / price) - hour.log_price)
    win = shape.win(x)
    paid = exp(hour.log_price) * (exp(x) * win if hour.pricing.first_price else shape.paid(x))
    best = win * value - price * paid
    made = np.where(outcome.open, outcome.win_rate * (value - price * outcome.price), 0.0)
    # Tabulated best bids of first-price auctions can lie a hair beside the best.
    return total(hour.volume * hour.ctr * np.maximum(best - made, 0.0))


def _solved_in_c(library: CDLL, hidden: Hidden) -> Optimum:
    market = hidden.landscape
    truth = Truth(
        order_value=market.order_value,
        spend_cap=market.spend_cap if (market.spend_cap < 1.0).any() else None,
        fatigue=market.fatigue_rate / (DAYS * market.volume) if market.fatigue_rate else None,
        volume=hidden.volume,
        ctr=hidden.ctr,
        traffic=hidden.traffic,
        log_price=hidden.log_price,
        conversion_rate=hidden.conversion_rate,
        budget=hidden.budget,
    )
    return Optimum(*solve_optimum(library, prices_in_c(market.pricing, market.channels, plans=True), truth))


def _cells(hidden: Hidden) -> Cells:
    market = hidden.landscape
    value = hidden.conversion_rate * market.order_value
    clicks = hidden.traffic[:, :, None] * (hidden.volume * hidden.ctr)
    caps = np.where(market.spend_cap < 1.0, market.spend_cap * hidden.budget[:, None], np.inf)
    price = exp(hidden.log_price)
    return Cells(market.pricing, hidden.log_price, price, clicks, log(value), value, hidden.budget, caps)


def _with_fatigue(hidden: Hidden, fresh: Cells, log_multiplier: FloatArray) -> Optimum:
    """The best plan met on the way to bids, fatigue and shadow prices that agree.

    Each round's bids are played through with the fatigue that they really bring. Most flights settle; where a budget is
    about as large as a tired market, rounds can go on to differ, and the best of them counts.
    """
    market, ctr = hidden.landscape, hidden.ctr
    shadow, tired = np.zeros_like(fresh.clicks), np.zeros_like(fresh.clicks)
    flights = len(hidden.budget)
    best = Optimum(np.ones(flights), np.zeros(flights), np.zeros(flights))
    cells = fresh
    for _ in range(ROUNDS):
        win, paid = cells.outcome(log_multiplier)
        impressions = fresh.clicks / ctr * win
        truly = market.log_fatigue(np.cumsum(impressions, axis=0) - impressions)
        best = _better(best, replace(cells, clicks=fresh.clicks * exp(truly)).optimum(log_multiplier), hidden.budget)
        surplus = cells.clicks * (fresh.value * win - exp(log_multiplier) * (fresh.price * paid))
        later = np.cumsum(surplus[::-1], axis=0)[::-1] - surplus
        tired = tired + STEP * (truly - tired)
        shadow = shadow + STEP * (later * (market.fatigue_rate / (DAYS * market.volume)) - shadow)
        left = exp(tired)
        net = np.maximum(fresh.value - shadow / (ctr * left), 1e-9 * fresh.value)
        cells = replace(fresh, clicks=fresh.clicks * left, log_worth=log(net))
        log_multiplier = cells.multipliers(log_multiplier.min(axis=1))
    return best


def _better(a: Optimum, b: Optimum, budget: FloatArray) -> Optimum:
    """Flight by flight the one that earns more; what costs more than the budget is cut down in proportion."""
    over = np.maximum(b.cost / budget, 1.0)
    cost, revenue = b.cost / over, b.revenue / over
    more = revenue > a.revenue
    pairs = ((a.multiplier, b.multiplier), (a.cost, cost), (a.revenue, revenue))
    return Optimum(*(np.where(more, new, old) for old, new in pairs))
