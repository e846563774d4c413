"""Price levels and conversion rates of whole flights in C: the structure that weeks.h reads and fills."""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gaelp_ray.core.functions import Words
from gaelp_ray.core.structure import INT, REAL, WORD, Pointers, arrays
from gaelp_ray.records import FloatArray


class Departures(NamedTuple):
    """Sizes of the departures from the calibration."""

    price_sd: float  # of an hour's innovation
    price_autocorrelation: float
    drift_sd: float
    half_drift_variance: float
    highest_rate: float


class _Weeks(ctypes.Structure):
    """`Weeks` of weeks.h."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        *(("cells", INT), ("hours", INT), ("seed", WORD)),
        *arrays("flight", "channel"),
        *((name, REAL) for name in Departures._fields),
        *arrays("half_variance", "calibrated_log_price", "first_rate", "log_price", "conversion_rate"),
    ]


def draw_weeks(
    library: ctypes.CDLL,
    key: tuple[int, Words, Words],
    departures: Departures,
    half_variance: FloatArray,
    start: tuple[FloatArray, FloatArray],
) -> tuple[FloatArray, FloatArray]:
    """(locations of the competing price, conversion rates), (H, B, S) each.

    key: seed, flights (B, 1), channels (S,). half_variance: of the price level in each hour, (H,). start: the
    calibrated location of the price, (S,), and the conversion rate before its drift, (B, S).
    """
    seed, flight, channel = key
    shape = len(flight), len(channel)
    # One block: malloc returns two large ones to the system whenever they are freed, and getting their memory again
    # takes longer than to fill it.
    log_price, conversion_rate = np.empty((2, len(half_variance), *shape))
    weeks = _Weeks(cells=shape[0] * shape[1], hours=len(half_variance), seed=seed, **departures._asdict())
    pointers = Pointers(weeks)
    for name, array in (("flight", flight), ("channel", channel), ("calibrated_log_price", start[0])):
        pointers.set(name, np.broadcast_to(array, shape))
    pointers.set("first_rate", start[1])
    pointers.set("half_variance", half_variance)
    pointers.set("log_price", log_price)
    pointers.set("conversion_rate", conversion_rate)
    library.gaelp_weeks(ctypes.byref(weeks))
    return log_price, conversion_rate
