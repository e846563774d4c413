"""The hindsight optimum and regret in C: the structures of optimum.h."""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from gaelp_ray.core.prices import CompiledPrices
from gaelp_ray.core.structure import INT, Pointers, address, arrays
from gaelp_ray.records import FloatArray


class Truth(NamedTuple):
    """What is known of B flights, H hours, S channels in hindsight."""

    order_value: FloatArray  # (S,)
    spend_cap: FloatArray | None  # None where no channel has one
    fatigue: FloatArray | None  # log of CTR that a won impression costs; None without fatigue
    volume: FloatArray  # (B, S)
    ctr: FloatArray
    traffic: FloatArray  # (H, B)
    log_price: FloatArray  # (H, B, S)
    conversion_rate: FloatArray
    budget: FloatArray  # (B,)


RESULTS = ("multiplier", "cost", "revenue")
"""(B,) each."""


class _Optimum(ctypes.Structure):
    """`Optimum` of optimum.h."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        *(("flights", INT), ("channels", INT), ("hours", INT)),
        *arrays("prices", *Truth._fields, *RESULTS),
    ]


def solve_optimum(library: ctypes.CDLL, prices: CompiledPrices, truth: Truth) -> FloatArray:
    """RESULTS of the optimum of each flight, (3, B), at these prices with their best responses."""
    hours, flights, channels = truth.log_price.shape
    optimum = _Optimum(flights=flights, channels=channels, hours=hours, prices=prices.address)
    pointers = Pointers(optimum)
    for name, array in zip(Truth._fields, truth, strict=True):
        pointers.set(name, array)
    results = np.empty((len(RESULTS), flights))
    pointers.set_rows(RESULTS, results)
    library.gaelp_optimum_room.restype, library.gaelp_optimum.restype = INT, None
    room = np.empty(library.gaelp_optimum_room(ctypes.byref(optimum)))
    library.gaelp_optimum(ctypes.byref(optimum), ctypes.c_void_p(address(room)))
    return results


class Bids(NamedTuple):
    """What an hour's bids of B flights on S channels leave, (B, S) each."""

    log_price: FloatArray
    volume: FloatArray
    ctr: FloatArray
    conversion_rate: FloatArray
    win: FloatArray
    mean: FloatArray
    open: npt.NDArray[np.bool_]  # or (B, 1)


class _Regret(ctypes.Structure):
    """`Regret` of optimum.h."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        *(("cells", INT), ("channels", INT), ("open_by_channel", INT)),
        *arrays("prices", "channel", "order_value", *Bids._fields, "multiplier", "lost"),
    ]


class CompiledRegret:
    """oracle.regret() of the hours of the same flights, at these prices with their best responses.

    Args:
        library: the compiled core.
        prices: of the S channels.
        order_value: (S,).
        multiplier: lambda of each flight, (B,).
    """

    def __init__(
        self, library: ctypes.CDLL, prices: CompiledPrices, order_value: FloatArray, multiplier: FloatArray
    ) -> None:
        flights, channels = len(multiplier), len(order_value)
        self._regret, self._prices = library.gaelp_regret, prices
        self._regret.restype = None
        self._structure = _Regret(cells=flights * channels, channels=channels, prices=prices.address)
        self._pointers = Pointers(self._structure)
        self._pointers.set("channel", np.tile(np.arange(channels, dtype=np.uint64), flights))
        self._pointers.set("order_value", np.tile(order_value, flights))
        self._pointers.set("multiplier", multiplier)

    def of(self, bids: Bids) -> FloatArray:
        """The regret of an hour, (B,)."""
        self._structure.open_by_channel = bids.open.shape[1] > 1
        lost = np.empty(len(bids.open))
        self._pointers.set("lost", lost)
        for name, array in zip(Bids._fields, bids, strict=True):
            self._pointers.set(name, array)
        self._regret(ctypes.byref(self._structure))
        return lost
