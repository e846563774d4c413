"""Competing prices in C: the structure that prices.h reads."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from gaelp_ray.core.structure import INT, REAL, Pointers, arrays
from gaelp_ray.records import FloatArray

LOGNORMAL = ("log_sd", "lift_1", "lift_2", "lift_3", "half_variance", "slope_scale")
"""Constants of the channels, (S,) each: lift_k is exp(k^2 log_sd^2 / 2), slope_scale sqrt(2 pi) log_sd."""

TABLE = ("cumulative", "mass", "paid", "square", "cube")
"""Of a price table by the start of each bin, (rows, bins + 1) each; one row where all channels share it."""

RESPONSES = ("best", "payment", "slope")
"""Best responses to first prices on a grid of u, (rows, U) each; one row where all channels share them."""


class Grid(NamedTuple):
    """Of u = log (value / lambda) - location."""

    first: float
    step: float
    last: float  # in steps from the first


class _Prices(ctypes.Structure):
    """`Prices` of prices.h."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        ("first_price", INT),
        *arrays(*LOGNORMAL),
        *(("bins", INT), ("next_row", INT), ("width", REAL)),
        *arrays(*TABLE),
        *(("next_responses", INT), ("first_u", REAL), ("step_of_u", REAL), ("last_u", REAL)),
        *arrays(*RESPONSES),
    ]


class CompiledPrices:
    """The prices of S channels.

    Args:
        series: arrays under the names of LOGNORMAL or TABLE, and for plans in first-price auctions RESPONSES.
        first_price: whether the winner pays the bid.
        width: of a bin of the table.
        grid: of the responses.
    """

    def __init__(
        self, series: Mapping[str, FloatArray], first_price: bool, width: float = 0.0, grid: Grid | None = None
    ) -> None:
        self._arguments = series, first_price, width, grid
        self._prices = _Prices(first_price=first_price, width=width)
        if "cumulative" in series:
            rows, edges = series["cumulative"].shape
            self._prices.bins, self._prices.next_row = edges - 1, edges if rows > 1 else 0
        if grid is not None:
            rows, points = series["best"].shape
            self._prices.next_responses = points if rows > 1 else 0
            self._prices.first_u, self._prices.step_of_u, self._prices.last_u = grid
        self._pointers = Pointers(self._prices)
        for name, array in series.items():
            self._pointers.set(name, array)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and pickled without addresses."""
        return CompiledPrices, self._arguments

    @property
    def address(self) -> int:
        """Address of the structure, valid during the lifetime of this object."""
        return ctypes.addressof(self._prices)
