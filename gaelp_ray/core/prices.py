"""Competing prices in C: the structure that prices.h reads."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, ClassVar

from gaelp_ray.core.structure import INT, REAL, Pointers, arrays
from gaelp_ray.records import FloatArray

LOGNORMAL = ("log_sd", "lift_1", "lift_2", "lift_3")
"""Constants of the channels, (S,) each: lift_k is exp(k^2 log_sd^2 / 2)."""

TABLE = ("cumulative", "mass", "paid", "square", "cube")
"""Of a price table by the start of each bin, (rows, bins + 1) each; one row where all channels share it."""


class _Prices(ctypes.Structure):
    """`Prices` of prices.h."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        ("first_price", INT),
        *arrays(*LOGNORMAL),
        *(("rows", INT), ("bins", INT), ("width", REAL)),
        *arrays(*TABLE),
    ]


class CompiledPrices:
    """The prices of S channels: arrays under the names of LOGNORMAL, or of TABLE with the width of a bin."""

    def __init__(self, series: Mapping[str, FloatArray], first_price: bool, width: float = 0.0) -> None:
        self._prices = _Prices(first_price=first_price, width=width)
        if "cumulative" in series:
            self._prices.rows, self._prices.bins = series["cumulative"].shape[0], series["cumulative"].shape[1] - 1
        self._pointers = Pointers(self._prices)
        for name, array in series.items():
            self._pointers.set(name, array)

    @property
    def address(self) -> int:
        """Of the structure, which lives as long as this object."""
        return ctypes.addressof(self._prices)
