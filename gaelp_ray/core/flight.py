"""Whole flights in C, planned by BayesDual: the structure of flight.h."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from gaelp_ray.core.books import CompiledBooks
from gaelp_ray.core.dual import CompiledDual
from gaelp_ray.core.hour import Booked, CompiledHour, Drawn
from gaelp_ray.core.prices import CompiledPrices
from gaelp_ray.core.structure import INT, REAL, Pointers, arrays
from gaelp_ray.records import FloatArray

AnyArray = npt.NDArray[Any]

HOURS = ("traffic", "traffic_passed", "time_left", "hour_sin", "hour_cos")
"""What the books are told of each hour, (H,) each."""

FIRST_ROOM = 4096
"""Clicks of a flight in one hour that are served one by one; there is more room where an hour has more."""


class Parts(NamedTuple):
    """What flies: the auctions, the books and the bidder of the same B flights on S channels."""

    hour: CompiledHour
    books: CompiledBooks
    planner: CompiledDual


class Truth(NamedTuple):
    """What flights never show."""

    volume_share: FloatArray  # (H, B)
    log_price: FloatArray  # (H, B, S)
    conversion_rate: FloatArray  # (H, B, S)
    volume: FloatArray  # (B, S)
    ctr: FloatArray  # (B, S)


class Regret(NamedTuple):
    """What rewards of regret depend on, beside the flights."""

    prices: CompiledPrices  # with best responses
    multiplier: FloatArray  # (B,) of the hindsight optimum


class Terms(NamedTuple):
    """Of the market."""

    hours: Mapping[str, FloatArray]  # under the names of HOURS
    log_bid: FloatArray  # (S,) historical
    action_scale: float
    spend_cap: FloatArray | None  # (S,); None without caps
    report_rate: float
    fatigue: bool
    reward: Regret | bool  # regret, or revenue: whether the expected one


class Flown(NamedTuple):
    """What flights leave."""

    reward: FloatArray  # (H, B) of every hour, as a share of the budget
    observation: npt.NDArray[np.float32]  # (B, D) at the end
    pending: npt.NDArray[np.int64]  # (B, S)


class _Flights(ctypes.Structure):
    """`Flights` of flight.h."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        *(("expected", INT), ("report_rate", REAL), ("action_scale", REAL)),
        *arrays(*HOURS, *Truth._fields, "log_bid", "spend_cap", "prices", "multiplier", "reward"),
        *arrays("action", "log_bids", "hour_volume", "hour_ctr", "cap", "open"),
        *((name, INT) for name in ("first", "hour", "planned", "room")),
        *arrays("numbers", "integers"),
    ]


def fly(library: ctypes.CDLL, parts: Parts, truth: Truth, terms: Terms, first: npt.NDArray[np.float32]) -> Flown:
    """Fly all hours from the `first` observations, (B, D), on; the books and the bidder are then as after the last."""
    library.gaelp_fly.restype = INT
    hours, flights, channels = truth.log_price.shape
    shape = flights, channels
    own = _Flights(expected=terms.reward is True, report_rate=terms.report_rate, action_scale=terms.action_scale)
    pointers, reward, observation = Pointers(own), np.empty((hours, flights)), first.copy()
    if isinstance(terms.reward, Regret):
        own.prices = terms.reward.prices.address
        pointers.set("multiplier", terms.reward.multiplier)
    hourly = _hourly(shape, terms)
    per_cell = {"log_bid": np.tile(terms.log_bid, flights), "reward": reward}
    if terms.spend_cap is not None:
        per_cell["spend_cap"] = np.tile(terms.spend_cap, flights)
    for name, array in (*truth._asdict().items(), *terms.hours.items(), *hourly.items(), *per_cell.items()):
        pointers.set(name, array)
    pending = _join(parts, hourly, truth.ctr, terms.report_rate < 1.0)
    parts.books.pointers.set("observation", observation)
    room = FIRST_ROOM
    while room:
        pointers.set("numbers", np.empty(2 * room + channels))
        pointers.set("integers", np.empty(4 * room, np.int64))
        own.room = room
        structures = (parts.hour.structure, parts.books.structure, parts.planner.structure)
        room = library.gaelp_fly(ctypes.byref(own), *map(ctypes.byref, structures))
    parts.planner.begun()
    return Flown(reward, observation, pending)


def _hourly(shape: tuple[int, int], terms: Terms) -> dict[str, AnyArray]:
    """Room for an hour, which the next one overwrites."""
    hourly: dict[str, AnyArray] = {name: np.empty(shape) for name in ("log_bids", "hour_volume")}
    hourly["action"] = np.empty(shape, np.float32)
    hourly["open"] = np.empty(shape[0] if terms.spend_cap is None else shape, np.bool_)
    if terms.fatigue:
        hourly["hour_ctr"] = np.empty(shape)
    if terms.spend_cap is not None:
        hourly["cap"] = np.empty(shape)
    return hourly


def _join(parts: Parts, hourly: Mapping[str, AnyArray], ctr: FloatArray, delayed: bool) -> npt.NDArray[np.int64]:
    """Let the books read what the auctions write, and these what the books have; returns the conversions that wait."""
    hour, books = parts.hour, parts.books
    shape = hourly["log_bids"].shape
    drawn = {name: np.empty(shape) for name in (*Drawn._fields, "revenue")}
    booked = {name: np.zeros(shape, np.int64) for name in Booked._fields}
    known: dict[str, AnyArray | None] = {
        "log_bid": hourly["log_bids"],
        "volume": hourly["hour_volume"],
        "ctr": hourly.get("hour_ctr", ctr),
        "purse": books.pointers.array("budget_left"),
        "cap": hourly.get("cap"),
        "pending": booked["still_pending"] if delayed else None,
    }
    for name, array in (*drawn.items(), *booked.items(), *known.items()):
        hour.pointers.set(name, array)
    read: dict[str, AnyArray] = {
        "impressions": booked["impressions"],
        "clicks": booked["served"],
        "conversions": booked["conversions"],
        "cost": drawn["cost"],
        "revenue": drawn["revenue"],
        "win_rate": drawn["win"],
        "price": drawn["mean"],
        "bid": drawn["bid"],
        "open": hourly["open"],
        "earned": np.empty(shape[0]),
    }
    for name, array in read.items():
        books.pointers.set(name, array)
    books.structure.delayed, books.structure.open_by_channel = delayed, "cap" in hourly
    return booked["still_pending"]
