"""The random numbers of flights: stream 1 (one generator for a batch) or stream 2 (a key for each number).

In stream 1 copies of a flight share the hidden state and draw auctions of their own. In stream 2 they share all random
numbers, and a flight does not depend on the other flights of its batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from gaelp_ray.market.auction import Hour, Outcome, draw
from gaelp_ray.market.compiled_auction import auction_of
from gaelp_ray.market.elementary import exp
from gaelp_ray.market.landscape import Landscape
from gaelp_ray.market.stream import Cells
from gaelp_ray.records import FloatArray
from gaelp_ray.simulator.compiled_ledger import ledger_of
from gaelp_ray.simulator.hidden import Hidden, draw_hidden, draw_hidden_keyed, repeated
from gaelp_ray.simulator.ledger import Ledger

StreamNumber: TypeAlias = Literal[1, 2]


@dataclass(frozen=True)
class Drawn:
    """One hour of B flights."""

    hour: Hour
    bids: FloatArray  # (B, S)
    outcome: Outcome


class RandomStream(Protocol):
    """The random numbers of B flights."""

    def hidden(self) -> Hidden:
        """What the flights never show."""

    def ledger(self, budget: FloatArray) -> Ledger:
        """The books of flights with these budgets, (B,)."""

    def draw(self, hidden: Hidden, ledger: Ledger, actions: npt.NDArray[np.float32]) -> Drawn:
        """The hour that the ledger has come to."""


@dataclass(frozen=True)
class SequentialStream:
    """Stream 1: the numbers of a generator, in the order in which they are asked for."""

    rng: np.random.Generator
    landscape: Landscape
    flights: int
    copies: int

    def hidden(self) -> Hidden:
        """What the flights never show, common to the copies."""
        return repeated(draw_hidden(self.rng, self.landscape, self.flights // self.copies), self.copies)

    def ledger(self, budget: FloatArray) -> Ledger:
        """The books of flights with these budgets, (B,)."""
        return Ledger(self.landscape, budget)

    def draw(self, hidden: Hidden, ledger: Ledger, actions: npt.NDArray[np.float32]) -> Drawn:
        """The hour that the ledger has come to."""
        bids = self.landscape.bids(actions)
        hour = hidden.hour(ledger.hour, ledger.log_fatigue, ledger.pending)
        return Drawn(hour, bids, draw(self.rng, hour, bids, ledger.purse))


class KeyedStream:
    """Stream 2: numbers that belong to (seed, flight, hour, channel, purpose, attempt).

    Args:
        seed: in 0..2^64 - 1.
        landscape: the calibrated market.
        numbers: of the flights, (B / copies,), each in 0..2^32 - 1.
        copies: how often each flight is flown, block after block.
    """

    def __init__(self, seed: int, landscape: Landscape, numbers: npt.NDArray[np.int64], copies: int) -> None:
        self._arguments = seed, landscape, numbers, copies
        self._landscape, self._copies = landscape, copies
        self._single = Cells(seed, numbers[:, None], np.array(0), np.arange(landscape.channels))
        self.cells = replace(self._single, flight=np.tile(numbers, copies)[:, None])
        self._draw = auction_of(self.cells, landscape)

    def __reduce__(self) -> tuple[type[KeyedStream], tuple[int, Landscape, npt.NDArray[np.int64], int]]:
        """Copied and pickled without addresses of arrays."""
        return KeyedStream, self._arguments

    def hidden(self) -> Hidden:
        """What the flights never show, common to the copies."""
        return repeated(draw_hidden_keyed(self._single, self._landscape), self._copies)

    def ledger(self, budget: FloatArray) -> Ledger:
        """The books of flights with these budgets, (B,)."""
        return ledger_of(self._landscape, budget)

    def draw(self, hidden: Hidden, ledger: Ledger, actions: npt.NDArray[np.float32]) -> Drawn:
        """The hour that the ledger has come to."""
        log_bids = self._landscape.log_bids(actions)
        hour = hidden.hour(ledger.hour, ledger.log_fatigue, ledger.pending, exp)
        bids, outcome = self._draw(ledger.hour, hour, log_bids, ledger.purse)
        return Drawn(hour, bids, outcome)
