"""The planning problem behind every classical bidder: which multiplier spends a budget exactly.

One multiplier lambda, the return that the last unit of budget earns, prices every channel: a click is worth value /
lambda. In second-price auctions that is the best bid itself; in first-price auctions the best bid lies below it.
spend_all() finds lambda for expected volumes and prices, log_bids() the bids that go with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaelp_ray.market import Landscape
from gaelp_ray.market.prices import Pricing
from gaelp_ray.records import FloatArray

LOG_MULTIPLIER_RANGE = (-7.0, 9.0)


@dataclass(frozen=True)
class Outlook:
    """What a bidder expects of the rest of B flights, (B, S) where not said otherwise."""

    log_value: FloatArray  # log of expected revenue per click
    clicks: FloatArray  # expected clicks if every auction were won
    log_price: FloatArray  # expected location of the competing bid
    pricing: Pricing
    budget: FloatArray  # (B,) what is left to spend


def spend_all(outlook: Outlook, log_multiplier: FloatArray, steps: int) -> FloatArray:
    """log lambda, (B,), at which expected spend equals the budget, by `steps` Newton steps from a first guess.

    Spend per channel is clicks x exp(location) x payment(u) with u = log value - log lambda - location; it falls with
    lambda. Newton's method on its logarithm can cycle where channels lie far apart, so that a step out of the bracket
    found so far is replaced by bisection. A market cheaper than the budget ends at the lower end of the range.
    """
    scale = outlook.clicks * np.exp(outlook.log_price)
    top = outlook.log_value - outlook.log_price
    log_budget = np.log(np.maximum(outlook.budget, 1e-9))
    x = log_multiplier
    # A hair wider than the range, so that its ends are inside.
    low, high = np.full_like(x, LOG_MULTIPLIER_RANGE[0] - 1e-6), np.full_like(x, LOG_MULTIPLIER_RANGE[1] + 1e-6)
    for _ in range(steps):
        payment, derivative = outlook.pricing.spend(top - x[:, None])
        spend = np.maximum((scale * payment).sum(axis=1), 1e-300)
        slope = (scale * derivative).sum(axis=1)
        excess = np.log(spend) - log_budget
        low, high = np.where(excess > 0, x, low), np.where(excess > 0, high, x)
        newton = x + np.clip(excess * spend / np.maximum(slope, 1e-300), -2.0, 2.0)
        newton = np.clip(newton, *LOG_MULTIPLIER_RANGE)
        settled = np.abs(newton - x) < 1e-9  # at the root, which is then also an end of the bracket
        x = np.where(((newton > low) & (newton < high)) | settled, newton, (low + high) / 2.0)
    return x


def log_bids(pricing: Pricing, worth: FloatArray, log_price: FloatArray) -> FloatArray:
    """Best log bids, (B, S), for clicks whose log (value / lambda) is `worth`, at competing prices of this location."""
    return log_price + pricing.best_bid(worth - log_price)


def calibrated_multiplier(market: Landscape, budget: FloatArray, share: FloatArray | float = 1.0) -> FloatArray:
    """log lambda, (B,), that spends `budget` over `share` of the week in the calibrated market."""
    ones = np.ones((len(budget), 1))
    outlook = Outlook(
        log_value=ones * np.log(market.value),
        clicks=ones * (market.volume * market.ctr * market.traffic.sum()) * np.reshape(share, (-1, 1)),
        log_price=ones * market.log_price,
        pricing=market.pricing,
        budget=budget,
    )
    return spend_all(outlook, np.zeros(len(budget)), steps=15)
