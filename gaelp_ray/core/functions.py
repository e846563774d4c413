"""The library's functions on arrays: the bits of market/elementary.py and market/stream.py. Start at compiled()."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, ParamSpec

import numpy as np
import numpy.typing as npt

from gaelp_ray.core.library import load
from gaelp_ray.core.structure import ARRAY, INT, WORD, address
from gaelp_ray.records import FloatArray

Words = npt.NDArray[np.uint64]

Arguments = ParamSpec("Arguments")

ELEMENTWISE = {"exp": 1, "log": 1, "ndtr": 1, "ndtri": 1, "poisson": 2, "binomial": 3}
"""Functions of so many arrays, element by element."""


def compiled(function: Callable[Arguments, FloatArray]) -> Callable[Arguments, FloatArray]:
    """Decorator: the library computes this function of ELEMENTWISE if it is loaded, with the same name and bits."""
    name = function.__name__

    @wraps(function)
    def compute(*args: Arguments.args, **kwargs: Arguments.kwargs) -> FloatArray:
        functions = array_functions()
        return function(*args, **kwargs) if functions is None else functions.elementwise(name, *args)

    return compute


def array_functions() -> ArrayFunctions | None:
    """Those of the library that is loaded in this process."""
    library = load().library
    return None if library is None else _functions_of(library)


class ArrayFunctions:
    """Functions of one library."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._elementwise: dict[str, Any] = {}
        for name, arrays in ELEMENTWISE.items():
            self._elementwise[name] = function = getattr(library, f"gaelp_{name}")
            function.argtypes, function.restype = (INT, *(ARRAY,) * (arrays + 1)), None
        self._uniforms, self._gamma = library.gaelp_uniforms, library.gaelp_gamma
        keys = WORD, ARRAY, ARRAY, WORD
        self._uniforms.argtypes, self._uniforms.restype = (INT, *keys, ARRAY, ARRAY, ARRAY), None
        self._gamma.argtypes, self._gamma.restype = (INT, *keys, ARRAY, ARRAY), None

    def elementwise(self, name: str, *arrays: Any) -> FloatArray:
        """A function of ELEMENTWISE, of float64 arrays that broadcast to one shape."""
        given = [np.asarray(array, np.float64, order="C") for array in _to_one_shape(arrays)]
        result = np.empty(given[0].shape)
        self._elementwise[name](result.size, *map(address, given), address(result))
        number_or_array: FloatArray = result[()]
        return number_or_array

    def uniforms(
        self, seed: int, key: tuple[Words, Words], purpose: int, attempt: Words
    ) -> tuple[FloatArray, FloatArray]:
        """stream.Cells.uniforms(): two uniforms for each flight and place (hour x 2^16 + channel), which broadcast."""
        flight, place, number = map(np.ascontiguousarray, _to_one_shape((*key, attempt)))
        first, second = np.empty(flight.shape), np.empty(flight.shape)
        where = seed, address(flight), address(place), purpose, address(number)
        self._uniforms(flight.size, *where, address(first), address(second))
        return first, second

    def gamma(self, shape: FloatArray, seed: int, key: tuple[Words, Words], purpose: int) -> FloatArray:
        """stream.gamma() of shapes of the cells with these flights and places, which broadcast to them."""
        flight, place = (np.ascontiguousarray(np.broadcast_to(words, shape.shape)) for words in key)
        shape, drawn = np.ascontiguousarray(shape), np.empty(shape.shape)
        where = seed, address(flight), address(place), purpose
        self._gamma(drawn.size, *where, address(shape), address(drawn))
        return drawn


_functions_of = cache(ArrayFunctions)


def _to_one_shape(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """Broadcast, which takes longer than the function on small arrays, only where it is needed."""
    shapes = [np.shape(array) for array in arrays]
    if all(shape == shapes[0] for shape in shapes[1:]):
        return arrays
    common = np.broadcast_shapes(*shapes)
    return tuple(np.broadcast_to(array, common) for array in arrays)
