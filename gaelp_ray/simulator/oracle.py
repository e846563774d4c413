"""The hindsight optimum: what a bidder that knew every hidden value would have earned.

With second prices and one budget, the best bids are value / lambda with one lambda per flight, the multiplier at which
expected cost equals the budget (Lagrangian of a fractional knapsack over all auctions; every auction worth at least
lambda per unit of cost is bought). Expected values stand for the luck of single auctions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import elementwise
from scipy.special import ndtr

from gaelp_ray.records import FloatArray
from gaelp_ray.simulator.hidden import Hidden

LOG_MULTIPLIER_RANGE = (-12.0, 12.0)


@dataclass(frozen=True)
class Optimum:
    """The optimum of B flights, arrays of shape (B,)."""

    multiplier: FloatArray  # lambda: the return that the last unit of budget earns
    cost: FloatArray  # expected cost; below the budget only where the whole market costs less
    revenue: FloatArray  # expected revenue


def hindsight_optimum(hidden: Hidden) -> Optimum:
    """Solve expected cost(lambda) = budget for each flight by Chandrupatla's bracketing method."""
    sd = hidden.landscape.log_sd
    value = hidden.conversion_rate * hidden.landscape.order_value
    clicks = hidden.traffic[:, :, None] * (hidden.volume * hidden.ctr)  # (H, B, S), if every auction were won
    z = (np.log(value) - hidden.log_price) / sd
    spend = clicks * np.exp(hidden.log_price + sd**2 / 2.0)
    # Flights first, so that the solver can drop those that have converged.
    z, spend = (np.ascontiguousarray(a.transpose(1, 0, 2)) for a in (z, spend))

    def cost(log_multiplier: FloatArray, flight: FloatArray) -> FloatArray:
        rows = flight.astype(np.intp)
        won = ndtr(z[rows] - (log_multiplier[:, None, None] / sd + sd))
        spent: FloatArray = np.einsum("bhs,bhs->b", spend[rows], won)
        return spent

    flights = np.arange(len(hidden.budget), dtype=np.float64)
    low = np.full_like(flights, LOG_MULTIPLIER_RANGE[0])

    def excess(log_multiplier: FloatArray, flight: FloatArray) -> FloatArray:
        spent = np.maximum(cost(log_multiplier, flight), 1e-300)
        return np.log(spent / hidden.budget[flight.astype(np.intp)])

    solved = elementwise.find_root(
        excess,
        (low, -low),
        args=(flights,),
        tolerances={"xatol": 1e-6},
    )
    # Where even the largest bids cost less than the budget there is no root: buy everything.
    log_multiplier = np.where(solved.success, solved.x, low)
    won = ndtr(z - (log_multiplier / sd)[:, None, None])
    earned = np.ascontiguousarray((clicks * value).transpose(1, 0, 2))
    return Optimum(
        multiplier=np.exp(log_multiplier),
        cost=cost(log_multiplier, flights),
        revenue=np.einsum("bhs,bhs->b", earned, won),
    )
