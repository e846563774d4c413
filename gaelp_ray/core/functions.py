"""The functions of the library on arrays, with the bits of market/elementary.py and market/stream.py."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gaelp_ray.records import FloatArray

_COUNT, _WORD, _ARRAY = ctypes.c_int64, ctypes.c_uint64, ctypes.c_void_p

ARGUMENTS = {
    "exp": (_COUNT, _ARRAY, _ARRAY),
    "log": (_COUNT, _ARRAY, _ARRAY),
    "ndtr": (_COUNT, _ARRAY, _ARRAY),
    "ndtri": (_COUNT, _ARRAY, _ARRAY),
    "poisson": (_COUNT, _ARRAY, _ARRAY, _ARRAY),
    "binomial": (_COUNT, _ARRAY, _ARRAY, _ARRAY, _ARRAY),
    "uniforms": (_COUNT, _WORD, _ARRAY, _ARRAY, _WORD, _WORD, _ARRAY, _ARRAY),
    "gamma": (_COUNT, _ARRAY, _WORD, _ARRAY, _ARRAY, _WORD, _ARRAY),
}
"""Types of the arguments; library.ABI_VERSION is raised with every change."""


@dataclass(frozen=True)
class Keys:
    """Where random numbers are wanted: a seed, and (N,) arrays of flight and of hour x 2^16 + channel."""

    seed: int
    flight: npt.NDArray[np.uint64]
    place: npt.NDArray[np.uint64]


class ArrayFunctions:
    """Functions of one library. Arrays of float64 and any shape; several arguments broadcast to one shape."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._functions: dict[str, Any] = {}
        for name, arguments in ARGUMENTS.items():
            function = getattr(library, f"gaelp_{name}")
            function.argtypes, function.restype = arguments, None
            self._functions[name] = function

    def _elementwise(self, name: str, *arrays: npt.ArrayLike) -> FloatArray:
        given = np.broadcast_arrays(*(np.asarray(array, np.float64) for array in arrays))
        contiguous = [np.ascontiguousarray(array) for array in given]
        result = np.empty(given[0].shape)
        self._functions[name](result.size, *(array.ctypes.data for array in contiguous), result.ctypes.data)
        return result

    def exp(self, x: npt.ArrayLike) -> FloatArray:
        """elementary.exp()."""
        return self._elementwise("exp", x)

    def log(self, x: npt.ArrayLike) -> FloatArray:
        """elementary.log()."""
        return self._elementwise("log", x)

    def ndtr(self, z: npt.ArrayLike) -> FloatArray:
        """elementary.ndtr()."""
        return self._elementwise("ndtr", z)

    def ndtri(self, p: npt.ArrayLike) -> FloatArray:
        """elementary.ndtri()."""
        return self._elementwise("ndtri", p)

    def poisson(self, mean: npt.ArrayLike, u: npt.ArrayLike) -> FloatArray:
        """stream.poisson()."""
        return self._elementwise("poisson", mean, u)

    def binomial(self, n: npt.ArrayLike, p: npt.ArrayLike, u: npt.ArrayLike) -> FloatArray:
        """stream.binomial()."""
        return self._elementwise("binomial", n, p, u)

    def uniforms(self, keys: Keys, purpose: int, attempt: int = 0) -> tuple[FloatArray, FloatArray]:
        """stream.Cells.uniforms(), (N,) each."""
        first, second = np.empty(keys.flight.shape), np.empty(keys.flight.shape)
        where = keys.seed, keys.flight.ctypes.data, keys.place.ctypes.data
        self._functions["uniforms"](first.size, *where, purpose, attempt, first.ctypes.data, second.ctypes.data)
        return first, second

    def gamma(self, shape: FloatArray, keys: Keys, purpose: int) -> FloatArray:
        """stream.gamma() of shapes (N,)."""
        drawn = np.empty(shape.shape)
        where = keys.seed, keys.flight.ctypes.data, keys.place.ctypes.data
        self._functions["gamma"](drawn.size, shape.ctypes.data, *where, purpose, drawn.ctypes.data)
        return drawn
