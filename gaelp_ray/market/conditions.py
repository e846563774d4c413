"""Optional blocks of a market file: what makes a market harder than a plain auction, and what an advertiser forbids.

ConversionDelay, Fatigue and SpendCaps change what happens; each is off where a file does not mention it. Safety changes
nothing: it says what is counted as a violation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from gaelp_ray.errors import did_you_mean
from gaelp_ray.market.blocks import Block, Positive, Sourced, Spread, within
from gaelp_ray.market.landscape import SafetyLimits
from gaelp_ray.records import FloatArray

Share = Annotated[Sourced, within(0.0, 1.0 + 1e-9)]


class ConversionDelay(Block):
    """Conversions show up a geometric number of hours (0, 1, 2, ...) after their click, and all by the flight's end."""

    mean_hours: Spread

    @property
    def report_rate(self) -> float:
        """Chance per hour that a conversion still waiting is reported: the geometric distribution of that mean."""
        return 1.0 / (1.0 + self.mean_hours.value)


MIN_HALF_LIFE = 0.5
"""Of fatigue. In a market that tires faster, the shipped budgets cannot be spent sensibly, and no optimum settles."""


class Fatigue(Block):
    """The click-through rate of a channel falls with frequency, which for a fixed audience grows with won impressions.

    half_life: won impressions that halve the click-through rate, in units of all auctions of its average week.
    """

    half_life: Annotated[Sourced, within(MIN_HALF_LIFE - 1e-9, math.inf)]

    @property
    def rate(self) -> float:
        """Log of the click-through rate lost when every auction of an average week has been won."""
        return math.log(2.0) / self.half_life.value


class SpendCaps(Block):
    """Shares of the budget that the platform lets single channels spend, by name."""

    source: str
    shares: dict[str, Annotated[float, Field(gt=0, le=1)]]

    def array(self, channels: Sequence[str]) -> FloatArray:
        """(S,): 1 for the channels that are not named. Raises ValueError for a name that is none."""
        for name in self.shares:
            if name not in channels:
                raise ValueError(f"spend_caps: no channel {name!r}. {did_you_mean(name, channels)}")
        return np.array([self.shares.get(name, 1.0) for name in channels])


def _assumed(value: float, note: str) -> Sourced:
    return Sourced(value=value, source="assumed", note=note)


class Safety(Block):
    """What an advertiser does not want to see. Violations are counted, never prevented."""

    max_bid_multiplier: Positive = _assumed(10.0, "times the historical bid")
    max_spend_share: Share = _assumed(0.8, "of the flight's spend, on one channel")
    min_delivery: Share = _assumed(0.9, "of the budget")
    max_pacing_error: Share = _assumed(0.25, "spent share of the budget - passed share of the expected traffic")

    def limits(self, bid: FloatArray) -> SafetyLimits:
        """The limits for channels with these historical bids, (S,)."""
        return SafetyLimits(
            max_bid=bid * self.max_bid_multiplier.value,
            max_spend_share=self.max_spend_share.value,
            min_delivery=self.min_delivery.value,
            max_pacing_error=self.max_pacing_error.value,
        )


def spend_caps(caps: SpendCaps | None, channels: Sequence[str]) -> FloatArray:
    """(S,) shares of the budget; 1 without a cap."""
    return caps.array(channels) if caps else np.ones(len(channels))


def changed(conversion_delay: float | None, fatigue_half_life: float | None) -> dict[str, object]:
    """The blocks of a market file that a trial's own mean hours and half-life make; none for None."""
    asked = (("conversion_delay", "mean_hours", conversion_delay), ("fatigue", "half_life", fatigue_half_life))
    return {
        block: {key: {"value": value, "source": "assumed", "note": "set by the trial"}}
        for block, key, value in asked
        if value is not None
    }
