"""An auction hour: its state, its money and its outcome, and how clicks are paid one by one where money may run out.

Arrays have shape (B, S): B flights, S channels. keyed_auction.py draws the hour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaelp_ray.market.prices import IndexArray, Pricing
from gaelp_ray.records import FloatArray

IntArray = npt.NDArray[np.int64]

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
