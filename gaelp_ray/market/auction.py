"""The arithmetic of one auction hour: bids in; expected or drawn impressions, clicks, cost and revenue out.

Auctions against one highest competing bid per channel (prices.py). Everything is a pure function on arrays
of shape (B, S): B flights, S channels. Auctions are resolved in aggregate, so that an hour costs the same whether it
holds ten auctions or a million. Only an hour in which the money may run out is resolved click by click.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import lambertw

from gaelp_ray.market.prices import IndexArray, Pricing
from gaelp_ray.records import FloatArray

IntArray = npt.NDArray[np.int64]

RISK = 1e-6
"""Chance at most that a flight runs out of money in an hour that is not resolved click by click."""

ROUNDING = 1e-12
"""Share of a purse that is never spent, so that sums in any order stay within it."""

BLOCK = 2**20
"""Clicks resolved at once; bounds memory."""


@dataclass(frozen=True)
class Hour:
    """The true state of one hour, all (B, S) except where said."""

    volume: FloatArray  # expected auctions
    log_price: FloatArray  # location of the highest competing bid
    pricing: Pricing
    ctr: FloatArray
    conversion_rate: FloatArray
    order_value: FloatArray  # (S,) mean revenue of a conversion
    order_value_shape: float  # gamma shape of a single order's value
    pending: IntArray | int = 0  # conversions of earlier clicks that nobody has seen yet
    report_rate: float = 1.0  # chance that a conversion which waits is reported in this hour


@dataclass(frozen=True)
class Outcome:
    """What an hour brought, all (B, S)."""

    impressions: IntArray
    clicks: IntArray
    cost: FloatArray
    conversions: IntArray  # reported in this hour
    revenue: FloatArray  # of the reported conversions
    pending: IntArray  # conversions that still wait to be reported
    win_rate: FloatArray  # probability of winning an auction at this bid
    price: FloatArray  # mean price of a won click at this bid
    open: npt.NDArray[np.bool_]  # whether there was money left to bid with, (B, 1) or (B, S)


@dataclass(frozen=True)
class Purse:
    """What may still be spent."""

    flight: FloatArray  # (B,)
    channel: FloatArray | None = None  # (B, S), where channels have caps of their own

    def open(self) -> npt.NDArray[np.bool_]:
        """Where bids are still taken: (B, 1) or (B, S)."""
        funded = (self.flight > 0.0)[:, None]
        return funded if self.channel is None else funded & (self.channel > 0.0)

    def of(self, flights: IndexArray) -> Purse:
        """The purses of these flights."""
        return Purse(self.flight[flights], None if self.channel is None else self.channel[flights])


def draw(rng: np.random.Generator, hour: Hour, bids: FloatArray, purse: Purse) -> Outcome:
    """Draw one hour at these bids.

    Flights and channels are served while their purse holds money. The click that empties a purse is billed what is
    left in it: spend never exceeds the purse (exact.py resolves the same rule auction by auction).
    """
    prices = Prices.at(hour, bids)
    open_ = purse.open()
    impressions = rng.poisson(hour.volume * prices.win * open_)
    clicks = rng.binomial(impressions, hour.ctr)
    cost = charge(rng, clicks, prices)
    for flights in _may_run_out(purse, clicks, cost, prices):
        without_click = impressions[flights] - clicks[flights]
        clicks[flights], cost[flights], served = _resolve(rng, flights, clicks[flights], prices, purse)
        impressions[flights] = clicks[flights] + rng.binomial(without_click, served)
    waiting = rng.binomial(clicks, hour.conversion_rate) + hour.pending
    conversions = waiting if hour.report_rate >= 1.0 else rng.binomial(waiting, hour.report_rate)
    revenue = np.zeros_like(cost)
    sold = np.nonzero(conversions)
    shape = hour.order_value_shape
    revenue[sold] = rng.gamma(shape * conversions[sold], hour.order_value[sold[1]] / shape)
    pending = waiting - conversions
    return Outcome(impressions, clicks, cost, conversions, revenue, pending, prices.win, prices.mean, open_)


@dataclass(frozen=True)
class Prices:
    """The price of a won click, (B, S): never above `bid`."""

    pricing: Pricing
    location: FloatArray
    bid: FloatArray
    win: FloatArray  # chance of winning an auction
    mean: FloatArray
    variance: FloatArray

    @classmethod
    def at(cls, hour: Hour, bids: FloatArray) -> Prices:
        """The prices of an hour at these bids."""
        log_bid = np.log(bids)
        win, mean = hour.pricing.clearing(log_bid, hour.log_price)
        variance = hour.pricing.variance(log_bid, hour.log_price, win, mean)
        return cls(hour.pricing, hour.log_price, bids, win, mean, variance)

    def single(self, chance: FloatArray, cell: IndexArray, channel: IndexArray) -> FloatArray:
        """The price of single clicks of these cells (flight x S + channel): its quantile at a uniform draw `chance`."""
        bid = self.bid.take(cell)
        if self.pricing.first_price:
            return bid
        x = self.pricing.shape.quantile_of(chance * self.win.take(cell), channel)
        price: FloatArray = np.minimum(np.exp(self.location.take(cell) + x), bid)
        return price


def charge(rng: np.random.Generator, clicks: IntArray, prices: Prices) -> FloatArray:
    """Cost of clicks: a draw of the sum of as many prices paid, (B, S).

    A beta on [0, clicks x bid] with that sum's mean and variance. Exact in both, and no click ever costs more than its
    bid; how close its shape comes to single auctions is measured in tests/market/test_exact.py.
    """
    if not prices.variance.any():  # the winner pays the bid
        return clicks * prices.mean
    share = np.minimum(prices.mean / prices.bid, 1.0 - 1e-9)
    variance = prices.variance / (prices.bid**2 * np.maximum(clicks, 1))
    concentration = np.maximum(share * (1.0 - share) / variance - 1.0, 1e-6)
    cost: FloatArray = clicks * prices.bid * rng.beta(share * concentration, (1.0 - share) * concentration)
    return cost


def _may_run_out(purse: Purse, clicks: IntArray, cost: FloatArray, prices: Prices) -> list[IndexArray]:
    """Flights whose clicks may cost more than a purse holds, as indices in blocks.

    Decided by the clicks alone, before single prices are drawn: the law of those is that of any other hour. (An
    aggregated cost that exceeds the purse in spite of the bound has a chance below RISK.)
    """
    most = clicks * prices.bid
    suspected = most.sum(axis=1) > purse.flight
    if purse.channel is not None:
        suspected |= (most > purse.channel).any(axis=1)
    flights = np.nonzero(suspected)[0]
    if not flights.size:
        return []
    number, cost, bid, price = clicks[flights], cost[flights], prices.bid[flights], prices.mean[flights]
    mean, variance = number * price, number * prices.variance[flights]
    excess = np.where(number > 0, bid - price, 0.0)
    most_in_all = _upper_bound(mean.sum(axis=1), variance.sum(axis=1), excess.max(axis=1))
    short = np.fmax(most_in_all, cost.sum(axis=1)) > purse.flight[flights]
    if purse.channel is not None:
        short |= (np.fmax(_upper_bound(mean, variance, excess), cost) > purse.channel[flights]).any(axis=1)
    flights = flights[short]
    longest = int(clicks[flights].sum(axis=1).max(initial=0))
    blocks = min(flights.size * longest // BLOCK + 1, flights.size)  # a flight is never split
    return np.array_split(flights, blocks) if blocks else []


def _upper_bound(mean: FloatArray, variance: FloatArray, excess: FloatArray) -> FloatArray:
    """Bennett's: a sum of independent prices, each at most `excess` above its mean, is higher with chance RISK."""
    if not variance.any():  # the winner pays the bid
        return mean
    scale = variance / np.maximum(excess, 1e-300)
    exponent = -np.log(RISK) * excess / np.maximum(scale, 1e-300)
    # Solves (1 + u) log(1 + u) - u = exponent.
    u = np.expm1(1.0 + lambertw((exponent - 1.0) / np.e).real)
    bound: FloatArray = mean + scale * u
    return bound


def _resolve(
    rng: np.random.Generator, flights: IndexArray, clicks: IntArray, prices: Prices, purse: Purse
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Serve these clicks, (F, S), one by one in random order.

    Returns the clicks served, their cost, and the share of the hour in which each channel was served, all (F, S).
    """
    channels = clicks.shape[1]
    happens, channel = in_a_row(clicks)
    time = np.where(happens, rng.random(happens.shape), 1.0)
    order = np.argsort(time, axis=1)
    time, channel = np.take_along_axis(time, order, axis=1), np.take_along_axis(channel, order, axis=1)
    price = prices.single(rng.random(happens.shape), channel + channels * flights[:, None], channel)
    bill, served = serve(np.where(happens, price, 0.0), time, channel, purse.of(flights))
    cell = (channel + channels * np.arange(len(flights))[:, None]).ravel()
    number = np.bincount(cell, bill.ravel() > 0.0, clicks.size).astype(np.int64)
    cost = np.bincount(cell, bill.ravel(), clicks.size).astype(np.float64)
    return number.reshape(clicks.shape), cost.reshape(clicks.shape), served


def in_a_row(clicks: IntArray) -> tuple[npt.NDArray[np.bool_], IndexArray]:
    """The clicks of F flights in rows, channel by channel: (whether there is a click, its channel), (F, K)."""
    total = clicks.sum(axis=1)
    happens = np.arange(total.max()) < total[:, None]  # the first clicks of K are those of the flight
    channel = np.zeros(happens.shape, np.intp)
    channel[happens] = np.repeat(np.tile(np.arange(clicks.shape[1]), len(clicks)), clicks.ravel())
    return happens, channel


def serve(bill: FloatArray, time: FloatArray, channel: IndexArray, purse: Purse) -> tuple[FloatArray, FloatArray]:
    """Pay clicks, (F, K) in order of time, until purses are empty; a place without a click has a bill of 0 at time 1.

    Returns what is paid of each click, (F, K), and the share of the hour in which each channel was served, (F, S) or
    (F, 1) without caps.
    """
    # No click is billed above the purse: sums of bills keep their digits where a purse is much smaller than a bid.
    bill = np.minimum(bill, purse.flight[:, None])
    served = np.ones((len(bill), 1))
    if purse.channel is not None:
        bill = np.minimum(bill, np.take_along_axis(purse.channel, channel, axis=1))
        served = np.ones(purse.channel.shape)
        for s in range(served.shape[1]):
            paid, served[:, s] = _pay(np.where(channel == s, bill, 0.0), time, purse.channel[:, s])
            bill = np.where(channel == s, paid, bill)
    bill, until = _pay(bill, time, purse.flight)
    return bill, np.minimum(served, until[:, None])


def _pay(bill: FloatArray, time: FloatArray, purse: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(what the purse pays of each click, (F, K) in order of time; the time when it is empty, (F,), 1 for never)."""
    limit = purse[:, None] * (1.0 - ROUNDING)
    spent = np.cumsum(bill, axis=1)
    paid: FloatArray = np.minimum(np.maximum(limit - (spent - bill), 0.0), bill)
    return paid, np.where(spent >= limit, time, 1.0).min(axis=1)
