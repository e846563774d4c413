"""The random numbers of flights: each belongs to a key, so that a flight does not depend on the others of its batch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gaelp_ray.market.auction import Hour, Outcome
from gaelp_ray.market.compiled_auction import auction_of
from gaelp_ray.market.landscape import Landscape
from gaelp_ray.market.stream import Cells
from gaelp_ray.records import FloatArray
from gaelp_ray.simulator.compiled_ledger import ledger_of
from gaelp_ray.simulator.hidden import Hidden, draw_hidden, repeated
from gaelp_ray.simulator.ledger import Ledger


@dataclass(frozen=True)
class Drawn:
    """One hour of B flights."""

    hour: Hour
    bids: FloatArray  # (B, S)
    outcome: Outcome


class KeyedStream:
    """The random numbers of B flights, functions of (seed, flight, hour, channel, purpose, attempt).

    Args:
        seed: in 0..2^64 - 1.
        landscape: the calibrated market.
        numbers: of the flights, (B / copies,), each in 0..2^32 - 1.
        copies: how often each flight is flown, block after block. Copies share all random numbers.
    """

    def __init__(self, seed: int, landscape: Landscape, numbers: npt.NDArray[np.int64], copies: int = 1) -> None:
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
        return repeated(draw_hidden(self._single, self._landscape), self._copies)

    def ledger(self, budget: FloatArray) -> Ledger:
        """The books of flights with these budgets, (B,)."""
        return ledger_of(self._landscape, budget)

    def draw(self, hidden: Hidden, ledger: Ledger, actions: npt.NDArray[np.float32]) -> Drawn:
        """The hour that the ledger has come to."""
        log_bids = self._landscape.log_bids(actions)
        hour = hidden.hour(ledger.hour, ledger.log_fatigue, ledger.pending)
        bids, outcome = self._draw(ledger.hour, hour, log_bids, ledger.purse)
        return Drawn(hour, bids, outcome)
