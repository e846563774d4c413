"""The planning problem behind every classical bidder: which multiplier spends a budget exactly.

One multiplier lambda, the return that the last unit of budget earns, prices every channel: a click is worth value /
lambda. In second-price auctions that is the best bid itself; in first-price auctions the best bid lies below it.
spend_all() finds lambda for expected volumes and prices, by_channel() what caps on single channels make of it, and
log_bids() the bids that go with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gaelp_ray.market import Landscape
from gaelp_ray.market.elementary import exp, log, total
from gaelp_ray.market.multiplier import solve
from gaelp_ray.market.observation import View
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
    caps: FloatArray | None = None  # (B, S) what is left of the channels' own caps, where they have any

    def spend(self, log_multiplier: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Expected spend of each channel at log lambda, (B, 1) or (B, S), and minus its derivative.

        Spend is clicks x exp(location) x payment(u) with u = log value - log lambda - location.
        """
        payment, slope = self.pricing.spend(self.log_value - self.log_price - log_multiplier)
        scale = self.clicks * exp(self.log_price)
        return scale * payment, scale * slope

    def impressions(self, log_multiplier: FloatArray, ctr: FloatArray) -> FloatArray:
        """Expected impressions of each channel at log lambda, (B, 1) or (B, S), with click-through rates `ctr`."""
        x = self.pricing.best_bid(self.log_value - self.log_price - log_multiplier)
        return self.clicks / ctr * self.pricing.shape.win(x)


def spend_all(outlook: Outlook, log_multiplier: FloatArray, steps: int) -> FloatArray:
    """log lambda, (B,), at which expected spend equals the budget, by `steps` steps from a first guess.

    A channel spends no more than its cap. A market cheaper than the budget ends at the lower end of the range.
    """

    def spend_of_all(x: FloatArray) -> tuple[FloatArray, FloatArray]:
        spend, slope = outlook.spend(x[:, None])
        if outlook.caps is not None:
            slope = np.where(spend < outlook.caps, slope, 0.0)
            spend = np.minimum(spend, outlook.caps)
        return total(spend), total(slope)

    return solve(spend_of_all, outlook.budget, log_multiplier, LOG_MULTIPLIER_RANGE, steps)


def by_channel(outlook: Outlook, log_multiplier: FloatArray, steps: int) -> FloatArray:
    """log lambda of each channel, (B, S), from the common one, (B,): a channel whose cap binds has its own."""
    each = np.repeat(log_multiplier[:, None], outlook.log_value.shape[1], axis=1)
    if outlook.caps is None:
        return each
    own = solve(outlook.spend, outlook.caps, each, LOG_MULTIPLIER_RANGE, steps)
    return np.maximum(own, each)


def declining(outlook: Outlook, market: Landscape, log_fatigue: FloatArray, log_multiplier: FloatArray) -> Outlook:
    """The outlook with fewer clicks: the mean of what fatigue will leave if the rest is bid for at log lambda, (B,)."""
    impressions = outlook.impressions(log_multiplier[:, None], market.ctr * exp(log_fatigue))
    loss = -market.log_fatigue(impressions)
    # The mean of exp(-x) over [0, loss], where 1 - exp(-loss) would have lost its digits as a series.
    series = 1.0 - loss * (0.5 - loss / 6.0)
    left = np.where(loss > 1e-4, (1.0 - exp(-loss)) / np.maximum(loss, 1e-4), series)
    return replace(outlook, clicks=outlook.clicks * left)


def caps_left(market: Landscape, view: View, budget: FloatArray) -> FloatArray | None:
    """What single channels may still spend of budgets (B,), (B, S); None in a market without caps."""
    if (market.spend_cap >= 1.0).all():
        return None
    return np.maximum((market.spend_cap - view.channel("spend_share")) * budget[:, None], 0.0)


def log_bids(pricing: Pricing, worth: FloatArray, log_price: FloatArray) -> FloatArray:
    """Best log bids, (B, S), for clicks whose log (value / lambda) is `worth`, at competing prices of this location."""
    return log_price + pricing.best_bid(worth - log_price)


def calibrated_multiplier(market: Landscape, budget: FloatArray, share: FloatArray | float = 1.0) -> FloatArray:
    """log lambda, (B,), that spends `budget` over `share` of the week in the calibrated market."""
    ones = np.ones((len(budget), 1))
    outlook = Outlook(
        log_value=ones * log(market.value),
        clicks=ones * (market.volume * market.ctr * total(market.traffic[None])) * np.reshape(share, (-1, 1)),
        log_price=ones * market.log_price,
        pricing=market.pricing,
        budget=budget,
    )
    return spend_all(outlook, np.zeros(len(budget)), steps=15)
