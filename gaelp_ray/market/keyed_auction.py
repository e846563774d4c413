"""One auction hour on keyed random numbers (stream.py), with the same bits everywhere.

What a cell draws depends on its key, its bid and its state alone, whatever else is in the batch. The clicks that
convert and those that do not are two Poisson numbers, as a thinned Poisson number splits into independent ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaelp_ray.market.auction import BLOCK, Hour, Outcome, Purse, in_a_row, serve
from gaelp_ray.market.elementary import exp, ndtri, total
from gaelp_ray.market.prices import IndexArray, Pricing
from gaelp_ray.market.stream import Cells, Purpose, binomial, gamma, poisson
from gaelp_ray.records import FloatArray

SINGLY = 3
"""Clicks up to which the prices of an hour are drawn one by one."""

SKEWNESS = (-2.0, 6.0)
"""Of a single price, clipped: beyond, the expansion of the cost is far from a distribution."""

LOG_RISK = -13.815510557964274
"""log(1e-6): of the chance at most that money runs out in an hour that is not resolved click by click."""


@dataclass(frozen=True)
class Clearing:
    """The price of a won click, (B, S): never above `bid`."""

    pricing: Pricing
    scale: FloatArray  # exp(location): the price is in units of it
    bid: FloatArray
    win: FloatArray  # chance of winning an auction
    mean: FloatArray
    variance: FloatArray
    skewness: FloatArray

    @classmethod
    def at(cls, hour: Hour, log_bids: FloatArray) -> Clearing:
        """The prices of an hour at these log bids."""
        bid, scale = exp(log_bids), exp(hour.log_price)
        shape, x = hour.pricing.shape, log_bids - hour.log_price
        if hour.pricing.first_price:
            none = np.zeros_like(bid)
            return cls(hour.pricing, scale, bid, shape.win(x), bid, none, none)
        moments = shape.moments(x)
        win = moments.win
        inverse = 1.0 / np.maximum(win, 1e-300)
        # Where nothing is ever won the quotient loses its digits; the price tends to the bid there.
        mean = np.where(win > 1e-12, scale * (moments.paid * inverse), bid)
        square = scale * scale * (moments.square * inverse)
        cube = scale * scale * scale * (moments.cube * inverse)
        spread, least = square - mean * mean, 1e-6 * (mean * mean)
        variance = np.maximum(spread, least)
        third = cube - 3.0 * mean * square + 2.0 * mean * mean * mean
        skewness = np.minimum(np.maximum(third / (variance * np.sqrt(variance)), SKEWNESS[0]), SKEWNESS[1])
        return cls(hour.pricing, scale, bid, win, mean, variance, np.where(spread > least, skewness, 0.0))

    def single(self, chance: FloatArray, cell: IndexArray, channel: IndexArray) -> FloatArray:
        """The price of single clicks of these cells (flight x S + channel): its quantile at a uniform `chance`."""
        bid = self.bid.take(cell)
        if self.pricing.first_price:
            return bid
        price = self.scale.take(cell) * self.pricing.shape.price(chance * self.win.take(cell), channel)
        return np.minimum(price, bid)


def draw_keyed(cells: Cells, hour: Hour, log_bids: FloatArray, purse: Purse) -> Outcome:
    """Draw one hour at these log bids, (B, S); `cells` broadcast to (B, S).

    Flights and channels are served while their purse holds money. The click that empties a purse is billed what is
    left in it: spend never exceeds the purse (tests/exact_auction.py resolves the same rule auction by auction).
    """
    prices = Clearing.at(hour, log_bids)
    open_ = purse.open()
    won = hour.volume * prices.win * open_
    clicked = won * hour.ctr
    converting = clicked * hour.conversion_rate
    sold_chance, unsold_chance = cells.uniforms(Purpose.CLICKS)
    sold = poisson(converting, sold_chance)
    clicks = sold + poisson(clicked - converting, unsold_chance)
    cost_chance, rest_chance = cells.uniforms(Purpose.REST)
    cost = _charge(cells, clicks, prices, cost_chance)
    rest = won - clicked
    for flights in _may_run_out(purse, clicks, cost, prices):
        clicks[flights], sold[flights], cost[flights], served = _resolve(
            cells, flights, (clicks[flights], sold[flights]), prices, purse
        )
        # A Poisson process up to a time that does not depend on it.
        rest[flights] = rest[flights] * served
    impressions = clicks + poisson(rest, rest_chance)
    waiting = sold + hour.pending
    conversions = waiting
    if hour.report_rate < 1.0:
        conversions = binomial(waiting, np.float64(hour.report_rate), cells.uniforms(Purpose.REPORTED)[0])
    revenue = _revenue(cells, hour, conversions)
    return Outcome(
        impressions=impressions.astype(np.int64),
        clicks=clicks.astype(np.int64),
        cost=cost,
        conversions=conversions.astype(np.int64),
        revenue=revenue,
        pending=(waiting - conversions).astype(np.int64),
        win_rate=prices.win,
        price=prices.mean,
        open=open_,
    )


def _charge(cells: Cells, clicks: FloatArray, prices: Clearing, chance: FloatArray) -> FloatArray:
    """Cost of clicks, (B, S), at these uniforms.

    Up to SINGLY clicks the sum of their prices. Above, a quadratic of a normal number with the exact mean and variance
    of that sum, and its skewness to first order (Cornish-Fisher), clipped to [0, clicks x bid].
    """
    if prices.pricing.first_price:
        return clicks * prices.bid
    n, w = np.maximum(clicks, 1.0), ndtri(chance)
    bend = prices.skewness / (6.0 * np.sqrt(n))
    deviation = (w + bend * (w * w - 1.0)) / np.sqrt(1.0 + 2.0 * (bend * bend))
    total = n * prices.mean + np.sqrt(n * prices.variance) * deviation
    total = np.minimum(np.maximum(total, 0.0), n * prices.bid)
    cost = np.where(clicks > SINGLY, total, 0.0)
    channels = clicks.shape[1]
    for number in range(SINGLY):
        cell = np.nonzero(((clicks > number) & (clicks <= SINGLY)).ravel())[0]
        if cell.size:
            price = prices.single(cells.take(cell).uniforms(Purpose.CLICK, number)[0], cell, cell % channels)
            cost.reshape(-1)[cell] += price
    return cost


def _may_run_out(purse: Purse, clicks: FloatArray, cost: FloatArray, prices: Clearing) -> list[IndexArray]:
    """Flights whose clicks may cost more than a purse holds, as indices in blocks.

    Decided by the clicks alone, before single prices are drawn, so that prices have the same law as in any other hour.
    Bernstein's inequality is a little wider than Bennett's, and free of transcendental functions. (A cost that exceeds
    the purse in spite of it has a chance below exp(LOG_RISK).)
    """
    if purse.channel is None and np.isinf(purse.flight).all():
        return []
    mean, variance = clicks * prices.mean, clicks * prices.variance
    excess = np.where(clicks > 0.0, prices.bid - prices.mean, 0.0)
    most = np.minimum(total(clicks * prices.bid), _upper_bound(total(mean), total(variance), excess.max(axis=1)))
    short = np.maximum(most, total(cost)) > purse.flight
    if purse.channel is not None:
        most = np.minimum(clicks * prices.bid, _upper_bound(mean, variance, excess))
        short |= (np.maximum(most, cost) > purse.channel).any(axis=1)
    flights = np.nonzero(short)[0]
    longest = int(total(clicks[flights]).max(initial=0.0))
    blocks = min(flights.size * longest // BLOCK + 1, flights.size)  # a flight is never split
    return np.array_split(flights, blocks) if blocks else []


def _upper_bound(mean: FloatArray, variance: FloatArray, excess: FloatArray) -> FloatArray:
    """Bernstein's: a sum of independent prices, each at most `excess` above its mean, is higher with chance 1e-6."""
    scale = excess * (-LOG_RISK / 3.0)
    bound: FloatArray = mean + scale + np.sqrt(scale * scale + variance * (-2.0 * LOG_RISK))
    return bound


def _resolve(
    cells: Cells, flights: IndexArray, drawn: tuple[FloatArray, FloatArray], prices: Clearing, purse: Purse
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Serve clicks one by one in random order; `drawn` are all clicks and those that convert, (F, S).

    Returns both as served, their cost, and the share of the hour in which each channel was served, (F, S) or (F, 1).
    """
    clicks, sold = (count.astype(np.int64) for count in drawn)
    rows, channels = clicks.shape
    happens, channel = in_a_row(clicks)
    row = np.arange(rows)[:, None]
    before = np.cumsum(clicks, axis=1) - clicks
    number = np.arange(happens.shape[1]) - before[row, channel]  # of the click in its channel
    cell = (channel + channels * flights[:, None])[happens]
    bill, time = np.zeros(happens.shape), np.ones(happens.shape)
    chance, time[happens] = cells.take(cell).uniforms(Purpose.CLICK, number[happens])
    bill[happens] = prices.single(chance, cell, channel[happens])
    converts = happens & (number < sold[row, channel])
    order = np.argsort(time, axis=1, kind="stable")
    channel, converts = np.take_along_axis(channel, order, axis=1), np.take_along_axis(converts, order, axis=1)
    bill, time = np.take_along_axis(bill, order, axis=1), np.take_along_axis(time, order, axis=1)
    paid, served = serve(bill, time, channel, purse.of(flights))
    place = (channel + channels * row).ravel()

    def by_channel(weight: npt.NDArray[np.generic]) -> FloatArray:
        return np.bincount(place, weight.ravel(), clicks.size).reshape(clicks.shape).astype(np.float64)

    return by_channel(paid > 0.0), by_channel((paid > 0.0) & converts), by_channel(paid), served


def _revenue(cells: Cells, hour: Hour, conversions: FloatArray) -> FloatArray:
    """Of these conversions, (B, S): a sum of gammas of one scale is a gamma."""
    revenue, shape = np.zeros(conversions.shape), hour.order_value_shape
    cell = np.nonzero(conversions.ravel())[0]
    if cell.size:
        orders = gamma(shape * conversions.ravel()[cell], cells.take(cell), Purpose.ORDERS)
        revenue.reshape(-1)[cell] = orders * (hour.order_value / shape)[cell % conversions.shape[1]]
    return revenue
