"""One auction hour in C: the structure that hour.h reads and fills."""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from gaelp_ray.core.prices import CompiledPrices
from gaelp_ray.core.structure import ARRAY, INT, REAL, WORD, Pointers, address, arrays
from gaelp_ray.records import FloatArray

IntArray = npt.NDArray[np.int64]


class Known(NamedTuple):
    """What an hour starts from, float64 and contiguous."""

    log_bid: FloatArray  # (B, S), as all but the purse
    log_price: FloatArray
    volume: FloatArray
    ctr: FloatArray
    conversion_rate: FloatArray
    purse: FloatArray  # (B,)
    cap: FloatArray | None


class Drawn(NamedTuple):
    """What gaelp_draw() and gaelp_serve() leave for others, (B, S) each."""

    bid: FloatArray
    win: FloatArray
    mean: FloatArray
    cost: FloatArray


INNER = ("scale", "variance", "skewness", "clicks", "sold", "rest", "rest_chance")
"""What they leave for gaelp_book(), (B, S) each."""


class Booked(NamedTuple):
    """What gaelp_book() writes, (B, S) each, beside the revenue."""

    impressions: IntArray
    served: IntArray
    conversions: IntArray
    still_pending: IntArray


class Constants(NamedTuple):
    """What is the same in every hour."""

    prices: CompiledPrices
    order_scale: FloatArray  # (S,)
    order_shape: float


class _Hour(ctypes.Structure):
    """`Hour` of hour.h."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        *(("cells", INT), ("channels", INT), ("seed", WORD), ("hour", WORD)),
        *arrays("flight", "channel", "prices"),
        *arrays(*Known._fields),
        *arrays(*Drawn._fields, *INNER, "may_run_out"),
        *arrays("pending"),
        *(("report_rate", REAL), ("order_shape", REAL)),
        *arrays("order_scale", *Booked._fields, "revenue"),
    ]


class CompiledHour:
    """Draws hours of the same B flights on S channels.

    Args:
        library: the compiled core.
        seed: of all random numbers.
        flights: (B,) numbers of the flights.
        constants: of the S channels.
    """

    def __init__(self, library: ctypes.CDLL, seed: int, flights: npt.NDArray[np.integer], constants: Constants) -> None:
        self._draw, self._serve, self._book = library.gaelp_draw, library.gaelp_serve, library.gaelp_book
        self._draw.restype, self._serve.restype, self._book.restype = INT, None, None
        self._serve.argtypes = ARRAY, INT, ARRAY, ARRAY
        self._shape = len(flights), len(constants.order_scale)
        self.structure = _Hour(cells=self._shape[0] * self._shape[1], channels=self._shape[1], seed=seed)
        self.structure.order_shape = constants.order_shape
        self._argument = ctypes.byref(self.structure)
        self.pointers = Pointers(self.structure)
        self.pointers.set("flight", np.repeat(flights.astype(np.uint64), self._shape[1]))
        self.pointers.set("channel", np.tile(np.arange(self._shape[1], dtype=np.uint64), self._shape[0]))
        self.pointers.set_rows(INNER, np.empty((len(INNER), *self._shape)))
        self.pointers.set("may_run_out", np.empty(self._shape[0], np.uint8))
        self.pointers.set("order_scale", np.tile(constants.order_scale, self._shape[0]))
        self._prices = constants.prices
        self.structure.prices = self._prices.address
        # Written anew every hour: the caches hold them, and the structure's pointers stay.
        drawn, self._revenue = np.empty((len(Drawn._fields), *self._shape)), np.empty(self._shape)
        counts = np.empty((len(Booked._fields), *self._shape), np.int64)
        self.pointers.set_rows(Drawn._fields, drawn)
        self.pointers.set_rows(Booked._fields, counts)
        self.pointers.set("revenue", self._revenue)
        self._drawn, self._booked = Drawn(*drawn), Booked(*counts)

    def draw(self, hour: int, known: Known) -> Drawn:
        """The hour's clicks and what they cost, until the money runs out; arrays that the next hour overwrites."""
        self.structure.hour = hour
        for name, array in zip(Known._fields, known, strict=True):
            self.pointers.set(name, array)
        longest = self._draw(self._argument)
        if longest:
            numbers, integers = np.empty(2 * longest + self._shape[1]), np.empty(4 * longest, np.int64)
            self._serve(self._argument, longest, address(numbers), address(integers))
        return self._drawn

    def book(self, pending: IntArray | None, report_rate: float) -> tuple[Booked, FloatArray]:
        """(counts, revenue) of the hour drawn last: arrays that the next hour overwrites, after reading `pending`."""
        self.pointers.set("pending", pending)
        self.structure.report_rate = report_rate
        self._book(self._argument)
        return self._booked, self._revenue
