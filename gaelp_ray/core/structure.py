"""Arrays as C sees them: their addresses, and structures whose fields point to them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

INT, WORD, REAL, ARRAY = ctypes.c_int64, ctypes.c_uint64, ctypes.c_double, ctypes.c_void_p


_nothing_at: Callable[[Any], Any] = (ctypes.c_char * 0).from_buffer


def address(array: npt.NDArray[Any]) -> int:
    """array.ctypes.data of a contiguous array, which takes a third of the time this way where it can be written to."""
    return ctypes.addressof(_nothing_at(array)) if array.flags.writeable else int(array.ctypes.data)


def arrays(*names: str) -> list[tuple[str, Any]]:
    """Fields of a structure that are pointers to arrays."""
    return [(name, ARRAY) for name in names]


class Pointers:
    """Sets the pointers of a structure, and keeps the arrays alive."""

    def __init__(self, structure: ctypes.Structure) -> None:
        self._structure = structure
        self._kept: dict[str, npt.NDArray[Any]] = {}

    def set(self, name: str, array: npt.NDArray[Any] | None) -> None:
        """Point a field to an array, made contiguous; None: a null pointer."""
        if self._kept.get(name) is array:
            return
        if array is None:
            del self._kept[name]
            setattr(self._structure, name, None)
            return
        self._kept[name] = np.ascontiguousarray(array)
        setattr(self._structure, name, address(self._kept[name]))

    def array(self, name: str) -> npt.NDArray[Any]:
        """What set() pointed a field to."""
        return self._kept[name]

    def set_rows(self, names: Sequence[str], block: npt.NDArray[Any]) -> None:
        """Point fields to the rows of a contiguous array."""
        self._kept[names[0]] = block
        start, step = address(block), block.strides[0]
        for number, name in enumerate(names):
            setattr(self._structure, name, start + number * step)
