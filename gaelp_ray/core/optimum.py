"""The hindsight optimum and regret in C, for lognormal prices in second-price auctions: the structures of optimum.h."""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from gaelp_ray.core.structure import INT, Pointers, address, arrays
from gaelp_ray.records import FloatArray


class Truth(NamedTuple):
    """What is known of B flights, H hours, S channels in hindsight."""

    log_sd: FloatArray  # (S,)
    half_variance: FloatArray  # log_sd^2 / 2
    lift: FloatArray  # exp(half_variance)
    norm: FloatArray  # sqrt(2 pi) log_sd
    order_value: FloatArray
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
        *arrays(*Truth._fields, *RESULTS),
    ]


def solve_optimum(library: ctypes.CDLL, truth: Truth) -> FloatArray:
    """RESULTS of the optimum of each flight, (3, B)."""
    hours, flights, channels = truth.log_price.shape
    optimum = _Optimum(flights=flights, channels=channels, hours=hours)
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
    """An hour of B flights on S channels, and what its bids leave."""

    log_sd: FloatArray  # (S,)
    lift: FloatArray  # exp(log_sd^2 / 2)
    order_value: FloatArray
    log_price: FloatArray  # (B, S)
    volume: FloatArray
    ctr: FloatArray
    conversion_rate: FloatArray
    win: FloatArray
    mean: FloatArray
    open: npt.NDArray[np.bool_]
    multiplier: FloatArray  # (B,)


class _Regret(ctypes.Structure):
    """`Regret` of optimum.h."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        *(("cells", INT), ("channels", INT)),
        *arrays(*Bids._fields, "lost"),
    ]


def regret_of(library: ctypes.CDLL, bids: Bids) -> FloatArray:
    """oracle.regret() of an hour, (B,)."""
    regret, lost = _Regret(cells=bids.log_price.size, channels=len(bids.log_sd)), np.empty(len(bids.multiplier))
    pointers = Pointers(regret)
    for name, array in zip((*Bids._fields, "lost"), (*bids, lost), strict=True):
        pointers.set(name, array)
    library.gaelp_regret.restype = None
    library.gaelp_regret(ctypes.byref(regret))
    return lost
