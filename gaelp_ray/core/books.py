"""The books of flights in C: the structure that books.h reads and updates."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from gaelp_ray.core.structure import INT, REAL, Pointers, arrays
from gaelp_ray.records import FloatArray

MARKET = ("calibrated_clicks", "cpc", "order_value", "prior_clicks", "prior_conversions", "calibrated_rate", "max_bid")
"""What is known of the channels, (S,) each."""

HOUR = ("impressions", "clicks", "conversions", "cost", "revenue", "win_rate", "price", "bid", "true_rate", "open")
"""The hour that is booked: counts of int64, `open` of bool, (B, 1) or (B, S); the others (B, S) of float64."""

SUMS = (
    *("all_impressions", "all_clicks", "all_conversions", "all_cost", "all_revenue", "expected_clicks"),
    *("recent_spend", "unripe", "log_fatigue", "log_price_ratio"),
    *("budget_left", "expected_revenue", "pacing_error", "bids_above_cap", "hours_off_pace"),
)
"""What gaelp_close() updates: (B, S) of the first two rows, (B,) of the last."""


class Calendar(NamedTuple):
    """What is known of an hour that is booked, and of the next one."""

    traffic: float  # of the hour, calibrated, in average days
    waits: float  # chance that a conversion is not reported yet
    traffic_passed: float  # share of the flight's, at the end of the hour
    time_left: float  # share of the flight
    hour_sin: float  # of the next hour of the day as an angle
    hour_cos: float
    delayed: bool  # whether conversions are reported late at all


class _Books(ctypes.Structure):
    """`Books` of books.h."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        *(("flights", INT), ("channels", INT)),
        *arrays(*MARKET, "fatigue_slope", "budget", "log_budget"),
        *((name, REAL) for name in ("max_pacing_error", *Calendar._fields[:-1])),
        *(("delayed", INT), ("open_by_channel", INT)),
        *arrays(*HOUR, *SUMS, "earned", "observation"),
    ]


class CompiledBooks:
    """Books hours of B flights on S channels.

    Args:
        library: the compiled core.
        market: arrays under the names of MARKET, and `fatigue_slope`, None without fatigue.
        flights: `budget` and `log_budget`, (B,), and the arrays of SUMS, which are updated in place.
        max_pacing_error: beyond which an hour is off its pace.
        observation_size: D, numbers that a flight observes.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        market: Mapping[str, FloatArray | None],
        flights: Mapping[str, FloatArray],
        max_pacing_error: float,
        observation_size: int,
    ) -> None:
        self._close = library.gaelp_close
        self._close.restype = None
        self._shape = flights["all_cost"].shape
        self.structure = _Books(flights=self._shape[0], channels=self._shape[1], max_pacing_error=max_pacing_error)
        self._argument = ctypes.byref(self.structure)
        self.pointers = Pointers(self.structure)
        for name, channels in market.items():
            self.pointers.set(name, None if channels is None else np.tile(channels, self._shape[0]))
        for name, array in flights.items():
            self.pointers.set(name, array)
        self._earned = np.empty(self._shape[0])
        self._observation = np.empty((self._shape[0], observation_size), np.float32)
        self.pointers.set("earned", self._earned)
        self.pointers.set("observation", self._observation)

    def close(
        self, hour: Mapping[str, npt.NDArray[Any]], calendar: Calendar
    ) -> tuple[FloatArray, npt.NDArray[np.float32]]:
        """(expected revenue of the hour, (B,); observation of the next, (B, D)); arrays that the next hour overwrites.

        hour: arrays under the names of HOUR.
        """
        for name, array in hour.items():
            self.pointers.set(name, array)
        for name, value in zip(Calendar._fields, calendar, strict=True):
            setattr(self.structure, name, value)
        self.structure.open_by_channel = hour["open"].shape[1] > 1
        self._close(self._argument)
        return self._earned, self._observation
