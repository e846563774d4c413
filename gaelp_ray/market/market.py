"""Market files: calibrated numbers, each with its source.

A market file is YAML (see presets/airfrance-search.yaml). load_market() takes the name of a shipped market or a path;
Market.landscape turns the numbers into the arrays that the simulator and the bidders calculate with.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from gaelp_ray.errors import MarketError, did_you_mean
from gaelp_ray.market.landscape import Landscape, solve_landscape

PRESETS = resources.files("gaelp_ray.market") / "presets"


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sourced(_Block):
    """One number and where it comes from: a key of the market's `sources`, or `assumed`."""

    value: float = Field(allow_inf_nan=False)
    source: str
    note: str = ""


def _within(low: float, high: float) -> AfterValidator:
    """low < value < high, both open."""

    def check(number: Sourced) -> Sourced:
        if not low < number.value < high:
            raise ValueError(f"{number.value} is not between {low} and {high}")
        return number

    return AfterValidator(check)


def _at_least_zero(number: Sourced) -> Sourced:
    if number.value < 0:
        raise ValueError(f"{number.value} is below 0")
    return number


Positive = Annotated[Sourced, _within(0.0, math.inf)]
Spread = Annotated[Sourced, AfterValidator(_at_least_zero)]
"""A standard deviation of logarithms; 0 switches the departure off."""


class Channel(_Block):
    """What one channel (publisher, segment) did in the calibration period, in sums."""

    name: str
    impressions: float = Field(gt=0)
    clicks: float = Field(gt=0)
    cost: float = Field(gt=0)
    conversions: float = Field(gt=0)
    revenue: float = Field(gt=0)

    @model_validator(mode="after")
    def _funnel(self) -> Channel:
        if not self.impressions >= self.clicks >= self.conversions:
            raise ValueError("impressions >= clicks >= conversions does not hold")
        return self


class Channels(_Block):
    """All channels, from one source."""

    source: str
    rows: tuple[Channel, ...] = Field(min_length=1)


class Prices(_Block):
    """Spread of competing prices, and how far below the bid the paid price lies."""

    paid_over_bid: Annotated[Sourced, _within(0.0, 0.95)]
    log_sd: Annotated[Sourced, _within(0.0, 5.0)]


class HourOfWeek(_Block):
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


class Flight(_Block):
    """The campaign that is flown: its budget, and how far bids reach."""

    budget: Positive
    budget_log_range: Spread
    max_bid_multiplier: Annotated[Sourced, _within(1.0, 1e6)]


class Departures(_Block):
    """How a flight departs from the calibrated means (standard deviations of logarithms)."""

    conversion_rate_log_sd: Spread
    ctr_log_sd: Spread
    volume_log_sd: Spread
    price_log_sd: Spread
    price_autocorrelation: Annotated[Sourced, _within(-1.0, 1.0)]
    hour_log_sd: Spread
    day_log_sd: Spread
    conversion_rate_drift: Spread
    order_value_shape: Positive


class Market(_Block):
    """A calibrated ad market. Raises MarketError when a file is wrong or a number names no source."""

    name: str
    description: str
    currency: str
    sources: dict[str, str]
    auction: Literal["second_price", "first_price"] = "second_price"
    channels: Channels
    period_days: Positive
    prices: Prices
    hour_of_week: HourOfWeek
    flight: Flight
    departures: Departures

    @model_validator(mode="after")
    def _every_number_has_a_source(self) -> Market:
        known = {*self.sources, "assumed"}
        for where, source in self.provenance():
            if source not in known:
                raise ValueError(f"{where} names the source {source!r}. {did_you_mean(source, known)}")
        return self

    def provenance(self) -> Iterator[tuple[str, str]]:
        """(where, source) of every number or block of numbers."""
        yield from _sources_in(self.model_dump(exclude={"sources"}), "")

    @cached_property
    def landscape(self) -> Landscape:
        """The numbers as arrays, with the price level solved from the mean price paid."""
        columns = ("impressions", "clicks", "cost", "conversions", "revenue")
        sums = {column: [getattr(row, column) for row in self.channels.rows] for column in columns}
        scalars = {name: sourced["value"] for name, sourced in self.departures.model_dump().items()}
        return solve_landscape(
            sums,
            days=self.period_days.value,
            shares=self.hour_of_week.shares,
            prices={name: sourced["value"] for name, sourced in self.prices.model_dump().items()}
            | {"first_price": self.auction == "first_price"},
            scalars=scalars | {name: sourced["value"] for name, sourced in self.flight.model_dump().items()},
        )

    @cached_property
    def hash(self) -> str:
        """SHA-256 over all numbers and sources: two markets with one hash are the same market."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()

    def variant(
        self,
        departures: Literal["realistic", "nominal"] = "realistic",
        heterogeneity: float | None = None,
        auction: Literal["second_price", "first_price"] | None = None,
    ) -> Market:
        """The same market made easier or harder.

        `nominal` switches off traffic noise and the drift of conversion rates; `heterogeneity` replaces
        `conversion_rate_log_sd`; `auction` replaces the rule by which winners pay.
        """
        changes: dict[str, float] = {}
        if departures == "nominal":
            changes |= {"hour_log_sd": 0.0, "day_log_sd": 0.0, "conversion_rate_drift": 0.0}
        if heterogeneity is not None:
            changes["conversion_rate_log_sd"] = heterogeneity
        if not changes and auction in (None, self.auction):
            return self
        sourced = {k: {"value": v, "source": "assumed", "note": "set by the trial"} for k, v in changes.items()}
        departed = _plain(self.departures) | sourced
        # Validated anew rather than copied: a copy would keep the cached landscape and hash.
        return market_from(_plain(self) | {"departures": departed, "auction": auction or self.auction}, self.name)


def _plain(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json")


def _sources_in(node: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        if "source" in node:
            yield where, node["source"]
        for key, child in node.items():
            yield from _sources_in(child, f"{where}.{key}".lstrip("."))


def market_names() -> list[str]:
    """Names of the markets that the package ships."""
    return sorted(entry.name.removesuffix(".yaml") for entry in PRESETS.iterdir() if entry.name.endswith(".yaml"))


def load_market(name: str | Path) -> Market:
    """A shipped market by its name, or any market file by its path (ending in .yaml or .yml).

    Raises MarketError: unknown name, unreadable file, or the list of what is wrong in it.
    """
    name = str(name)
    if not name.endswith((".yaml", ".yml")):
        if name not in market_names():
            raise MarketError(f"unknown market {name!r}. {did_you_mean(name, market_names())}")
        return parse_market((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"), name)
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MarketError(f"cannot read the market file {name}: {error}") from None
    return parse_market(text, name)


def parse_market(text: str, where: str) -> Market:
    """A Market from the text of a market file; `where` names it in errors."""
    try:
        return market_from(yaml.safe_load(text), where)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        raise MarketError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None


def market_from(data: object, where: str) -> Market:
    """A Market from plain values, as a market file or a model folder holds them."""
    try:
        return Market.model_validate(data)
    except ValidationError as error:
        lines = [f"{where}: {'.'.join(map(str, p['loc'])) or 'market'}: {p['msg']}" for p in error.errors()]
        raise MarketError("\n".join(lines)) from None
