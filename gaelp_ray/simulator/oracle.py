"""The hindsight optimum: what a bidder that knew every hidden value would have earned.

With one budget, the best bids belong to one multiplier lambda per flight: a click is worth value / lambda, and expected
cost equals the budget (Lagrangian of a fractional knapsack over all auctions). In second-price auctions the best bid is
that worth; in first-price auctions it is the argmax of (worth - bid) x chance of winning, cell by cell (prices.py).
Expected values stand for the luck of single auctions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import elementwise

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
    pricing = hidden.landscape.pricing
    value = hidden.conversion_rate * hidden.landscape.order_value
    clicks = hidden.traffic[:, :, None] * (hidden.volume * hidden.ctr)  # (H, B, S), if every auction were won
    # Flights first, so that the solver can drop those that have converged.
    worth, scale, earned = (
        np.ascontiguousarray(array.transpose(1, 0, 2))
        for array in (np.log(value) - hidden.log_price, clicks * np.exp(hidden.log_price), clicks * value)
    )

    def cost(log_multiplier: FloatArray, flight: FloatArray) -> FloatArray:
        rows = flight.astype(np.intp)
        paid = pricing.payment(worth[rows] - log_multiplier[:, None, None])
        spent: FloatArray = np.einsum("bhs,bhs->b", scale[rows], paid)
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
    best = pricing.best_bid(worth - log_multiplier[:, None, None])
    return Optimum(
        multiplier=np.exp(log_multiplier),
        cost=cost(log_multiplier, flights),
        revenue=np.einsum("bhs,bhs->b", earned, pricing.shape.win(best)),
    )
