"""One thread for numpy's matrix products, so that a number does not depend on how many cores a machine has.

OpenBLAS shares a large product among the cores, and with another number of them its last digits are others: a policy's
output changes, and a flight goes another way. Start at one_thread().
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np  # noqa: F401  # loads the libraries that are looked for here
from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """For the length of a block, or of a function that it decorates; in the whole process meanwhile."""
    with _libraries().limit(limits=1, user_api="blas"):
        yield


@cache
def _libraries() -> ThreadpoolController:
    """Once for a process: to look for them takes 10 ms, to limit them 10 microseconds."""
    return ThreadpoolController()


def matrix_products() -> str:
    """What computes them, with its kernels, which follow the processor: `openblas Haswell`; empty: not known."""
    found = (library for library in _libraries().info() if library["user_api"] == "blas")
    return ", ".join(sorted({f"{library['internal_api']} {library.get('architecture')}" for library in found}))
