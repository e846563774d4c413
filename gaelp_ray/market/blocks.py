"""The blocks of a market file: what may stand in each, every number with its source.

market.py puts them together. A number is `{value, source, note}`; a block whose numbers come from one place names its
source once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from gaelp_ray.errors import did_you_mean
from gaelp_ray.market.landscape import Competition, lognormal_competition, table_competition


class Block(BaseModel):
    """Frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Sourced(Block):
    """One number and where it comes from: a key of the market's `sources`, or `assumed`."""

    value: float = Field(allow_inf_nan=False)
    source: str
    note: str = ""


def within(low: float, high: float) -> AfterValidator:
    """A pydantic check: low < value < high, both open."""

    def check(number: Sourced) -> Sourced:
        if not low < number.value < high:
            raise ValueError(f"{number.value} is not between {low} and {high}")
        return number

    return AfterValidator(check)


def _at_least_zero(number: Sourced) -> Sourced:
    if number.value < 0:
        raise ValueError(f"{number.value} is below 0")
    return number


Positive = Annotated[Sourced, within(0.0, math.inf)]
Spread = Annotated[Sourced, AfterValidator(_at_least_zero)]
"""A standard deviation of logarithms; 0 switches the departure off."""


class Channel(Block):
    """What one channel (publisher, segment) did in the calibration period, in sums."""

    name: str
    impressions: float = Field(gt=0)
    clicks: float = Field(gt=0)
    cost: float = Field(gt=0)
    conversions: float | None = Field(None, gt=0)
    revenue: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _funnel(self) -> Channel:
        if not self.impressions >= self.clicks >= (self.conversions or 0.0):
            raise ValueError("impressions >= clicks >= conversions does not hold")
        if self.revenue is not None and self.conversions is None:
            raise ValueError("revenue without conversions: give both, or neither and `outcomes`")
        return self


class Channels(Block):
    """All channels, from one source."""

    source: str
    rows: tuple[Channel, ...] = Field(min_length=1)


class Outcomes(Block):
    """What the source does not know of conversions or of their worth: the same on every channel."""

    conversion_rate: Annotated[Sourced, within(0.0, 1.0)] | None = None
    order_value: Positive


class ChannelPrices(Block):
    """Prices of one channel: its own paid_over_bid and log_sd in the place of the market's."""

    channel: str
    paid_over_bid: float = Field(gt=0, lt=0.95)
    log_sd: float = Field(gt=0, lt=5)


class PricesByChannel(Block):
    """Channels with prices of their own, from one source."""

    source: str
    note: str = ""
    rows: tuple[ChannelPrices, ...] = Field(min_length=1)


class LognormalPrices(Block):
    """Spread of competing prices per click, and how far below the bid the paid price lies."""

    kind: Literal["lognormal"]
    paid_over_bid: Annotated[Sourced, within(0.0, 0.95)]
    log_sd: Annotated[Sourced, within(0.0, 5.0)]
    by_channel: PricesByChannel | None = None

    @model_serializer(mode="wrap")
    def _without_an_absent_block(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave `by_channel` out where it is absent: the hashes of markets that never had it stay the same."""
        data: dict[str, Any] = serialize(self)
        if self.by_channel is None:
            data.pop("by_channel", None)
        return data

    def check(self, channels: Sequence[str]) -> None:
        """Raises ValueError: `by_channel` names an unknown channel, or one channel twice."""
        rows = self.by_channel.rows if self.by_channel else ()
        names = [row.channel for row in rows]
        for name in names:
            if name not in channels:
                raise ValueError(f"prices.by_channel: no channel {name!r}. {did_you_mean(name, channels)}")
            if names.count(name) > 1:
                raise ValueError(f"prices.by_channel: {name!r} is listed twice: keep one row")

    def competition(self, channels: Sequence[Channel]) -> Competition:
        """Prices at which the channels would have paid what they paid."""
        cpc = np.array([row.cost / row.clicks for row in channels])
        paid, log_sd = self.paid_over_bid.value, self.log_sd.value
        if self.by_channel is None:
            return lognormal_competition(cpc, paid, log_sd)
        own = {row.channel: (row.paid_over_bid, row.log_sd) for row in self.by_channel.rows}
        each = np.array([own.get(row.name, (paid, log_sd)) for row in channels])
        return lognormal_competition(cpc, each[:, 0], each[:, 1])


class PriceRow(Block):
    """Prices of won impressions of one channel: quantiles, and the share of auctions that the historical bid won."""

    channel: str
    win_rate: float = Field(gt=0, le=1)
    quantiles: tuple[float, ...]


class TablePrices(Block):
    """Competing prices per mille impressions, from quantiles of the prices of *won* impressions.

    The chance that a bid wins is win_rate x the share of won prices below it: leaving win_rate out would overstate
    winning, because auctions that the historical bid lost are in no table.
    """

    kind: Literal["table"]
    source: str
    historical_bid: Positive
    end: float = Field(gt=0)  # the highest price
    shares: tuple[float, ...]  # of won prices below each quantile
    rows: tuple[PriceRow, ...]

    @model_validator(mode="after")
    def _rising(self) -> TablePrices:
        for name, series in [("shares", self.shares), *((row.channel, row.quantiles) for row in self.rows)]:
            if len(series) != len(self.shares) or list(series) != sorted(series) or min(series) <= 0:
                raise ValueError(f"{name}: needs {len(self.shares)} rising numbers above 0")
        if self.shares[-1] >= 1 or max(max(row.quantiles) for row in self.rows) > self.end:
            raise ValueError("shares must lie below 1, and quantiles within the end of the table")
        return self

    def check(self, channels: Sequence[str]) -> None:
        """Raises ValueError: the rows do not name the channels in their order."""
        if [row.channel for row in self.rows] != list(channels):
            raise ValueError("prices.rows must name the channels in their order")

    def competition(self, channels: Sequence[Channel]) -> Competition:
        """Prices per click of channels with these click-through rates; `channels` are those of the rows."""
        shares = np.array([0.0, *self.shares, 1.0])
        tables = [([0.0, *row.quantiles, self.end], list(row.win_rate * shares)) for row in self.rows]
        ctr = np.array([channel.clicks / channel.impressions for channel in channels])
        return table_competition(ctr, self.historical_bid.value, self.end, tables)


class HourOfWeek(Block):
    """Share of a week's traffic per hour: 7 rows of 24."""

    source: str
    shares: tuple[tuple[float, ...], ...]

    @model_validator(mode="after")
    def _a_week(self) -> HourOfWeek:
        if len(self.shares) != 7 or any(len(day) != 24 for day in self.shares):
            raise ValueError("needs 7 days of 24 shares")
        if min(map(min, self.shares)) < 0 or abs(sum(map(sum, self.shares)) - 1) > 1e-3:
            raise ValueError("the 168 shares must be at least 0 and sum to 1")
        return self


class Flight(Block):
    """The campaign that is flown: its budget, and how far bids reach."""

    budget: Positive
    budget_log_range: Spread
    max_bid_multiplier: Annotated[Sourced, within(1.0, 1e6)]


class Departures(Block):
    """How a flight departs from the calibrated means (standard deviations of logarithms)."""

    conversion_rate_log_sd: Spread
    ctr_log_sd: Spread
    volume_log_sd: Spread
    price_log_sd: Spread
    price_autocorrelation: Annotated[Sourced, within(-1.0, 1.0)]
    hour_log_sd: Spread
    day_log_sd: Spread
    conversion_rate_drift: Spread
    order_value_shape: Positive
