"""The hours of BayesDual planned in C: the structure of dual.h."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from gaelp_ray.core.library import load
from gaelp_ray.core.prices import CompiledPrices
from gaelp_ray.core.structure import ARRAY, INT, REAL, Pointers, address, arrays
from gaelp_ray.errors import InputError
from gaelp_ray.records import FloatArray

CHANNELS = (
    *("log_price", "log_cpc", "log_bid", "ctr", "clicks_per_day"),
    *("conversion_rate", "rate_prior_clicks", "rate_prior_sales", "order_value"),
    *("calibrated_gap", "calibrated_scale", "tiring", "spend_cap"),
)
"""What is known of the channels, (S,) each; the last two None without fatigue and without caps."""

HOURS = ("decay", "traffic_ahead")
"""(168,) and (169,)."""

NUMBERS = ("mean_budget", "waits", "price_autocorrelation", "drift_variance", "action_scale")

CONSTANTS = (
    *("optimism", "shade", "pacing_shade", "traffic_use", "forgetting", "price_tracking", "drift_tracking"),
    *("volume_prior", "day_variance", "hour_variance"),
)
"""Of the bidder, (B,) each."""

PER_CHANNEL = (
    *("all_clicks", "unripe", "seen_clicks", "seen_sales", "clicks", "sales", "prior_clicks", "prior_sales"),
    *("heard_clicks", "heard_expected"),
)
PER_FLIGHT = (
    *("clicks_at_midnight", "expected_at_midnight", "flight", "today"),
    *("level", "level_variance", "day", "day_level_variance", "covariance"),
    *("log_multiplier", "first_multiplier"),
)
"""What the bidder remembers: (S, B) of the first, (B,) of the second."""

ROWS, AT_ONCE = 10, 64
"""Of the work space, as in dual.h."""


class Dual(ctypes.Structure):
    """`Dual` of dual.h."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        *(("flights", INT), ("channels", INT)),
        *arrays("prices", *CHANNELS, *HOURS),
        *((name, REAL) for name in NUMBERS),
        ("filters", INT),
        *arrays(*CONSTANTS, *PER_CHANNEL, *PER_FLIGHT, "work"),
    ]


class Known(NamedTuple):
    """What is known of a market."""

    prices: CompiledPrices  # with best responses
    series: Mapping[str, FloatArray | None]  # under the names of CHANNELS and HOURS
    numbers: Mapping[str, float]  # under the names of NUMBERS


class CompiledDual:
    """The plans of B flights on S channels, and what they remember.

    Args:
        library: the compiled core.
        known: the market.
        constants: arrays (B,) under the names of CONSTANTS.
        first: what is remembered at first, (S, B) or (B,), and not 0: the priors of conversion rates at least.
        filters: whether levels of traffic are filtered, not counted.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        known: Known,
        constants: Mapping[str, FloatArray],
        first: Mapping[str, FloatArray],
        filters: bool,
    ) -> None:
        self._arguments = known, constants, filters
        self._plan = library.gaelp_plan
        self._plan.argtypes, self._plan.restype = (ARRAY, INT, INT, ARRAY, ARRAY), None
        channels, flights = first["prior_clicks"].shape
        self.shape = flights, channels
        self.structure = Dual(flights=flights, channels=channels, filters=filters, **known.numbers)
        self._pointers = Pointers(self.structure)
        shapes = dict.fromkeys(PER_CHANNEL, (channels, flights)) | dict.fromkeys(PER_FLIGHT, (flights,))
        self._memory = {name: np.zeros(shape) for name, shape in shapes.items()}
        for name, array in first.items():
            self._memory[name][...] = array
        for name, pointed in (*known.series.items(), *constants.items(), *self._memory.items()):
            self._pointers.set(name, pointed)
        self._prices = known.prices
        self.structure.prices = self._prices.address
        self._pointers.set("work", np.empty((ROWS, channels, AT_ONCE)))
        self._fresh = True

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and pickled with what is remembered, and without addresses."""
        return _restored, (*self._arguments, self._memory, self._fresh)

    @property
    def log_multiplier(self) -> FloatArray:
        """log lambda of the last plan, (B,)."""
        return self._memory["log_multiplier"]

    @property
    def first_multiplier(self) -> FloatArray:
        """log lambda of the first plan, (B,)."""
        return self._memory["first_multiplier"]

    @property
    def traffic(self) -> tuple[FloatArray, FloatArray]:
        """Clicks / expected clicks of all channels, (B,): over the flight, and since midnight."""
        return self._memory["flight"], self._memory["today"]

    def plan(self, obs: npt.NDArray[np.float32], t: int) -> npt.NDArray[np.float32]:
        """The actions of hour t, (B, S), at these observations, (B, D)."""
        obs, action = np.ascontiguousarray(obs), np.empty(self.shape, np.float32)
        self._plan(ctypes.byref(self.structure), t, self._fresh, address(obs), address(action))
        self.begun()
        return action

    def begun(self) -> None:
        """The first plan has been made."""
        self._fresh = False


def _restored(
    known: Known,
    constants: Mapping[str, FloatArray],
    filters: bool,
    memory: Mapping[str, FloatArray],
    fresh: bool,
) -> CompiledDual:
    library = load().library
    if library is None:
        raise InputError(
            "a bidder was copied during a flight, from a process with the compiled core to one without: call begin() "
            "and fly in one process"
        )
    restored = CompiledDual(library, known, constants, memory, filters)
    if not fresh:
        restored.begun()
    return restored
