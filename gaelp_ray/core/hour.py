"""One auction hour in C, for lognormal prices in second-price auctions: the structure that market.c reads and fills."""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

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
    """What gaelp_draw() writes, (B, S) each."""

    scale: FloatArray
    bid: FloatArray
    win: FloatArray
    mean: FloatArray
    variance: FloatArray
    skewness: FloatArray
    clicks: FloatArray
    sold: FloatArray
    cost: FloatArray
    rest: FloatArray
    rest_chance: FloatArray


class Booked(NamedTuple):
    """What gaelp_book() writes, (B, S) each, beside the revenue."""

    impressions: IntArray
    served: IntArray
    conversions: IntArray
    still_pending: IntArray


class Constants(NamedTuple):
    """What is the same in every hour: (S,) or a number."""

    log_sd: FloatArray
    lift_1: FloatArray
    lift_2: FloatArray
    lift_3: FloatArray
    order_scale: FloatArray
    order_shape: float


_INT, _WORD, _REAL, _ARRAY = ctypes.c_int64, ctypes.c_uint64, ctypes.c_double, ctypes.c_void_p


def _arrays(*names: str) -> list[tuple[str, Any]]:
    return [(name, _ARRAY) for name in names]


class _Hour(ctypes.Structure):
    """`Hour` of market.c."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        *(("cells", _INT), ("channels", _INT), ("seed", _WORD), ("hour", _WORD)),
        *_arrays("flight", "channel", "log_sd", "lift_1", "lift_2", "lift_3"),
        *_arrays(*Known._fields),
        *_arrays(*Drawn._fields, "may_run_out"),
        *_arrays("pending"),
        *(("report_rate", _REAL), ("order_shape", _REAL)),
        *_arrays("order_scale", *Booked._fields, "revenue"),
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
        self._draw.restype, self._serve.restype, self._book.restype = _INT, None, None
        self._serve.argtypes = _ARRAY, _INT, _ARRAY, _ARRAY
        self._shape = len(flights), len(constants.log_sd)
        self._kept: dict[str, npt.NDArray[Any]] = {}  # whatever the structure points to
        self._hour = _Hour(cells=self._shape[0] * self._shape[1], channels=self._shape[1], seed=seed)
        self._hour.order_shape = constants.order_shape
        self._point("flight", np.repeat(flights.astype(np.uint64), self._shape[1]))
        self._point("channel", np.tile(np.arange(self._shape[1], dtype=np.uint64), self._shape[0]))
        for name in ("log_sd", "lift_1", "lift_2", "lift_3", "order_scale"):
            self._point(name, np.tile(getattr(constants, name), self._shape[0]))

    def _point(self, name: str, array: npt.NDArray[Any] | None) -> None:
        if array is None:
            setattr(self._hour, name, None)
            return
        self._kept[name] = np.ascontiguousarray(array)
        setattr(self._hour, name, self._kept[name].ctypes.data)

    def _point_into(self, names: tuple[str, ...], block: npt.NDArray[Any]) -> None:
        """Point fields to the rows of a new array, which is kept."""
        self._kept[names[0]] = block
        address, step = block.ctypes.data, block.strides[0]
        for number, name in enumerate(names):
            setattr(self._hour, name, address + number * step)

    def draw(self, hour: int, known: Known) -> Drawn:
        """The hour's clicks and what they cost, until the money runs out."""
        self._hour.hour = hour
        for name, array in zip(Known._fields, known, strict=True):
            self._point(name, array)
        drawn = np.empty((len(Drawn._fields), *self._shape))
        self._point_into(Drawn._fields, drawn)
        self._point("may_run_out", np.empty(self._shape[0], np.uint8))
        longest = self._draw(ctypes.byref(self._hour))
        if longest:
            numbers, integers = np.empty(2 * longest + self._shape[1]), np.empty(4 * longest, np.int64)
            self._serve(ctypes.byref(self._hour), longest, numbers.ctypes.data, integers.ctypes.data)
        return Drawn(*drawn)

    def book(self, pending: IntArray | None, report_rate: float) -> tuple[Booked, FloatArray]:
        """(counts, revenue) of the hour drawn last."""
        self._point("pending", pending)
        self._hour.report_rate = report_rate
        counts, revenue = np.empty((len(Booked._fields), *self._shape), np.int64), np.empty(self._shape)
        self._point_into(Booked._fields, counts)
        self._point("revenue", revenue)
        self._book(ctypes.byref(self._hour))
        return Booked(*counts), revenue
