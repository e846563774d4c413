"""Competing prices, and who pays what: the part of a market that makes winning an auction cost something.

The highest competing price of an auction is exp(location) times a draw of a *shape*: a lognormal, or a table. The
location carries the channel's level and its ups and downs. All methods work on x = log bid - location, (..., S), by
elementary functions: the same bits everywhere.
A Pricing adds the auction's rule: in a second-price auction the winner pays the competing price, in a first-price
auction the bid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gaelp_ray.market.elementary import SMALLEST, exp, log, ndtr, ndtri
from gaelp_ray.records import FloatArray

IndexArray = npt.NDArray[np.intp]

SQRT_2PI = float(np.sqrt(2.0 * np.pi))


class Shape(Protocol):
    """Distribution of the competing price at location 0."""

    @property
    def channels(self) -> int:
        """1 where all channels share the shape."""

    def win(self, x: FloatArray) -> FloatArray:
        """P(price < exp(x))."""

    def paid(self, x: FloatArray) -> FloatArray:
        """E[price; price < exp(x)]: mean second-price payment over all auctions, won or not."""

    def square(self, x: FloatArray) -> FloatArray:
        """E[price^2; price < exp(x)]."""

    def paid_slope(self, x: FloatArray) -> FloatArray:
        """Derivative of paid() in x."""

    def quantile(self, win: FloatArray) -> FloatArray:
        """x at which win() has this value."""

    def moments(self, x: FloatArray) -> Moments:
        """win(), paid(), square() and the third of the row."""

    def price(self, win: FloatArray, channel: IndexArray) -> FloatArray:
        """exp(quantile()) for single auctions, each of the channel named beside it."""


@dataclass(frozen=True)
class Moments:
    """E[price^k; price < exp(x)] for k = 0 (the chance of winning) to 3, arrays in the shape of x."""

    win: FloatArray
    paid: FloatArray
    square: FloatArray
    cube: FloatArray


@dataclass(frozen=True)
class Lognormal:
    """log price ~ Normal(0, log_sd); one log_sd for all channels, or one each, (S,)."""

    log_sd: float | FloatArray
    channels: int = 1

    @property
    def _variance(self) -> FloatArray:
        sd = np.asarray(self.log_sd, np.float64)
        return sd * sd

    def win(self, x: FloatArray) -> FloatArray:
        """Phi(x / sd)."""
        return ndtr(x / self.log_sd)

    def paid(self, x: FloatArray) -> FloatArray:
        """exp(sd^2/2) Phi(x / sd - sd)."""
        return exp(0.5 * self._variance) * ndtr(x / self.log_sd - self.log_sd)

    def square(self, x: FloatArray) -> FloatArray:
        """exp(2 sd^2) Phi(x / sd - 2 sd)."""
        return exp(2.0 * self._variance) * ndtr(x / self.log_sd - 2.0 * self.log_sd)

    def paid_slope(self, x: FloatArray) -> FloatArray:
        """exp(sd^2/2) phi(x / sd - sd) / sd."""
        z = x / self.log_sd - self.log_sd
        return exp(0.5 * self._variance - 0.5 * z * z) / (SQRT_2PI * self.log_sd)

    def quantile(self, win: FloatArray) -> FloatArray:
        """sd Phi^-1(win)."""
        return self.log_sd * ndtri(win)

    def moments(self, x: FloatArray) -> Moments:
        """exp(k^2 sd^2/2) Phi(x / sd - k sd)."""
        sd = np.asarray(self.log_sd, np.float64)
        z, half = x / sd, 0.5 * (sd * sd)
        paid, square, cube = (exp(k * k * half) * ndtr(z - k * sd) for k in (1.0, 2.0, 3.0))
        return Moments(ndtr(z), paid, square, cube)

    def price(self, win: FloatArray, channel: IndexArray) -> FloatArray:
        """exp(sd Phi^-1(win)), with the log_sd of the channel."""
        sd = np.ravel(self.log_sd)
        return exp(sd[channel % sd.size] * ndtri(win))


class Table:
    """A price table: equal bins, and the chance that the price lies below the end of each.

    Args:
        width: width of a bin, in units of the price at location 0.
        cumulative: (S, K + 1), rising from 0; the last entry is below 1 where some auctions cannot be won at all.

    Within a bin the price is uniform, so that means and squares are exact integrals.
    """

    def __init__(self, width: float, cumulative: FloatArray) -> None:
        self.width, self.cumulative = width, np.atleast_2d(np.asarray(cumulative, np.float64))
        self.channels, self.bins = self.cumulative.shape[0], self.cumulative.shape[1] - 1
        edges = width * np.arange(self.bins + 1)
        square = edges * edges
        self._mass = np.diff(self.cumulative, axis=1) / width  # density per unit of price
        self._paid, self._square, self._cube = (
            np.pad(np.cumsum(self._mass * np.diff(power) / number, axis=1), ((0, 0), (1, 0)))
            for number, power in ((2.0, square), (3.0, square * edges), (4.0, square * square))
        )

    @property
    def series(self) -> dict[str, FloatArray]:
        """What win(), moments() and price() look up at the start of each bin, (channels, K + 1) each."""
        return {
            "cumulative": self.cumulative,
            "mass": np.pad(self._mass, ((0, 0), (0, 1))),
            "paid": self._paid,
            "square": self._square,
            "cube": self._cube,
        }

    def _place(self, x: FloatArray) -> tuple[FloatArray, FloatArray, tuple[IndexArray, IndexArray]]:
        """(price, start of its bin, index of channel and bin) of each x; beyond the table, its end."""
        price = np.minimum(exp(x), self.width * self.bins)
        bins = np.minimum((price / self.width).astype(np.intp), self.bins - 1)
        rows = np.broadcast_to(np.arange(self.channels), bins.shape)
        # A quotient that was rounded up to a whole number is of a price below this bin.
        return price, np.minimum(bins * self.width, price), (rows, bins)

    def win(self, x: FloatArray) -> FloatArray:
        """Linear within a bin."""
        price, start, cell = self._place(x)
        return self.cumulative[cell] + self._mass[cell] * (price - start)

    def paid(self, x: FloatArray) -> FloatArray:
        """Integral of price x density up to exp(x)."""
        price, start, cell = self._place(x)
        return self._paid[cell] + self._mass[cell] * (price * price - start * start) / 2.0

    def square(self, x: FloatArray) -> FloatArray:
        """Integral of price^2 x density up to exp(x)."""
        price, start, cell = self._place(x)
        return self._square[cell] + self._mass[cell] * (price * price * price - start * start * start) / 3.0

    def paid_slope(self, x: FloatArray) -> FloatArray:
        """price^2 x density of the price; 0 beyond the table."""
        price, _, cell = self._place(x)
        return np.where(exp(x) > price, 0.0, self._mass[cell] * (price * price))

    def quantile(self, win: FloatArray) -> FloatArray:
        """By linear interpolation, channel by channel."""
        channel = np.broadcast_to(np.arange(win.shape[-1]), win.shape)
        return log(np.maximum(self.price(win, channel), 1e-300))

    def moments(self, x: FloatArray) -> Moments:
        """Integrals of price^k x density up to exp(x)."""
        price, start, cell = self._place(x)
        mass, square, start_square = self._mass[cell], price * price, start * start
        return Moments(
            self.cumulative[cell] + mass * (price - start),
            self._paid[cell] + mass * (square - start_square) / 2.0,
            self._square[cell] + mass * (square * price - start_square * start) / 3.0,
            self._cube[cell] + mass * (square * square - start_square * start_square) / 4.0,
        )

    def price(self, win: FloatArray, channel: IndexArray) -> FloatArray:
        """By linear interpolation, channel by channel."""
        row, prices = channel % self.channels, np.empty_like(win)
        for s in range(self.channels):
            here, cumulative = row == s, self.cumulative[s]
            chance = np.minimum(win[here], cumulative[-1])
            # cumulative[left] < chance <= cumulative[left + 1]
            left = np.maximum(np.searchsorted(cumulative, chance) - 1, 0)
            # Where nothing is won the first bin may be empty.
            mass = np.maximum(self._mass[s, left], SMALLEST)
            prices[here] = self.width * left + (chance - cumulative[left]) / mass
        return prices


# Grid of log (value / lambda) - location on which first-price responses are tabulated, and of the shading below it.
_U = -12.0 + 0.02 * np.arange(1200)
RESPONSE_GRID = (float(_U[0]), float(_U[1] - _U[0]), len(_U) - 1.001)
"""First u, step, and the last place, in steps, that is looked up."""

_SHADING = exp(np.linspace(log(np.array(1e-3)), log(np.array(8.0)), 200))


@dataclass(frozen=True, eq=False)
class Pricing:
    """A shape of competing prices and the rule by which the winner pays.

    Equal to itself alone, so that what is made of it once can be kept.
    """

    shape: Shape
    first_price: bool = False

    def clearing(self, log_bid: FloatArray, location: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(chance of winning, mean price of a won click) at these bids."""
        x = log_bid - location
        win = self.shape.win(x)
        bid = exp(log_bid)
        if self.first_price:
            return win, np.broadcast_to(bid, win.shape)
        price = exp(location) * self.shape.paid(x) / np.maximum(win, 1e-300)
        # Where nothing is ever won the quotient loses its digits; the price tends to the bid there.
        return win, np.where(win > 1e-12, price, bid)

    def variance(self, log_bid: FloatArray, location: FloatArray, win: FloatArray, price: FloatArray) -> FloatArray:
        """Variance of the price of one won click, with `win` and `price` of clearing(); 0 where the bid is paid."""
        if self.first_price:
            return np.zeros_like(price)
        square = exp(2.0 * location) * self.shape.square(log_bid - location) / np.maximum(win, 1e-300)
        return np.maximum(square - price * price, 1e-6 * (price * price))

    def best_bid(self, u: FloatArray) -> FloatArray:
        """The x that earns most at log (value / lambda) - location = u.

        Second price: u itself (truth pays). First price: argmax of (exp(u) - exp(x)) win(x), tabulated.
        """
        return self._lookup(self.responses["best"], u) if self.first_price else u

    def payment(self, u: FloatArray) -> FloatArray:
        """Mean payment per auction, won or not, at location 0 when bidding best_bid(u)."""
        return self._lookup(self.responses["payment"], u) if self.first_price else self.shape.paid(u)

    def spend(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(payment(u), its derivative in u)."""
        if self.first_price:
            return self.payment(u), self._lookup(self.responses["slope"], u)
        return self.payment(u), self.shape.paid_slope(u)

    def location(self, win: FloatArray, log_paid: FloatArray) -> FloatArray:
        """The location at which a bid that won with this chance paid this price, without knowing the bid."""
        x = self.shape.quantile(win)
        relative = x if self.first_price else log(self.shape.paid(x) / win)
        return log_paid - relative

    @cached_property
    def responses(self) -> dict[str, FloatArray]:
        """Best x, payment and its slope on the grid of u, (S, U) each."""
        u = np.repeat(_U[:, None], self.shape.channels, axis=1)

        def gain(shading: FloatArray) -> FloatArray:
            return (1.0 - exp(-shading)) * self.shape.win(u - shading)

        best, most = np.full_like(u, _SHADING[0]), np.zeros_like(u)
        for shading in _SHADING:
            tried = gain(np.full_like(u, shading))
            best, most = np.where(tried > most, shading, best), np.maximum(tried, most)
        # Ternary search between the neighbours of the best: a grid alone would leave stairs in the slope.
        low, high = best * _SHADING[0] / _SHADING[1], best * _SHADING[1] / _SHADING[0]
        for _ in range(40):
            left, right = low + (high - low) / 3.0, high - (high - low) / 3.0
            rising = gain(left) < gain(right)
            low, high = np.where(rising, left, low), np.where(rising, high, right)
        x = (u - (low + high) / 2.0).T
        payment = exp(x) * self.shape.win(x.T).T
        return {"best": x, "payment": payment, "slope": np.gradient(payment, _U, axis=1)}

    def _lookup(self, table: FloatArray, u: FloatArray) -> FloatArray:
        """Linear interpolation in a (S, U) table of the grid."""
        first, step, last = RESPONSE_GRID
        place = np.clip((u - first) / step, 0.0, last)
        left = place.astype(np.intp)
        rows = np.broadcast_to(np.arange(self.shape.channels), left.shape) if self.shape.channels > 1 else 0
        below, above = table[rows, left], table[rows, left + 1]
        between: FloatArray = below + (place - left) * (above - below)
        return between
