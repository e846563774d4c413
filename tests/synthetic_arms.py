"""Arms whose truth is known, for races without a simulator: skewed revenue, the dearer the flight the worse, and luck
that a flight brings to all arms alike beside a little of each arm's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gaelp_ray.records import PER_FLIGHT, FlightTotals


@dataclass(frozen=True)
class Truth:
    """An arm. roas: in the long run. own: sd of its luck in a flight. delivery: of the budget, in the long run.
    wins: share of flights that earn anything."""

    roas: float
    own: float = 0.1
    delivery: float = 0.97
    delivery_sd: float = 0.01
    wins: float = 1.0


@dataclass(frozen=True)
class Field:
    """Arms that fly the same flights: a round is decided by the seed and its number, whoever takes part."""

    truths: Mapping[str, Truth]
    seed: int

    def fly(self, left: Sequence[str], number: int, flights: int) -> dict[str, FlightTotals]:
        """One round, as a race asks for it."""
        dice = np.random.default_rng([self.seed, number])
        budget = dice.uniform(50.0, 150.0, flights)
        luck = (6.0 - budget / 100.0 * 12.0 / 13.0) / 5.0 * dice.gamma(4.0, 0.25, flights)
        flown = {}
        for name, truth in self.truths.items():
            own, spent = dice.normal(1.0, truth.own, flights), dice.normal(1.0, truth.delivery_sd, flights)
            if truth.wins < 1.0:
                own *= (dice.random(flights) < truth.wins) / truth.wins
            cost = np.maximum(budget * truth.delivery * spent, 0.0)
            revenue = truth.roas * cost * luck * own
            sums = {"budget": budget, "cost": cost, "revenue": revenue, "expected_revenue": revenue}
            flown[name] = FlightTotals(steps=168, **{column: np.ones(flights) for column in PER_FLIGHT} | sums)
        return {name: flown[name] for name in left}


def equal(arms: int, seed: int, **gains: float) -> Field:
    """So many arms of a ROAS of 5, but for those that are named: `a=0.1` earns 10 % more."""
    names = "abcdefgh"[:arms]
    return Field({name: Truth(5.0 * (1.0 + gains.get(name, 0.0))) for name in names}, seed)
