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

import numpy as np
import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from gaelp_ray.errors import MarketError, did_you_mean
from gaelp_ray.market.blocks import (
    Block,
    Channel,
    Channels,
    Departures,
    Flight,
    HourOfWeek,
    LognormalPrices,
    Outcomes,
    Positive,
    TablePrices,
)
from gaelp_ray.market.conditions import ConversionDelay, Fatigue, Safety, SpendCaps, changed, spend_caps
from gaelp_ray.market.held_out import HeldOut
from gaelp_ray.market.landscape import History, Landscape, solve_landscape
from gaelp_ray.market.validation import Validation

PRESETS = resources.files("gaelp_ray.market") / "presets"


class Market(Block):
    """A calibrated ad market. Raises MarketError when a file is wrong or a number names no source."""

    name: str
    description: str
    currency: str
    sources: dict[str, str]
    auction: Literal["second_price", "first_price"] = "second_price"
    channels: Channels
    period_days: Positive
    outcomes: Outcomes | None = None
    prices: Annotated[LognormalPrices | TablePrices, Field(discriminator="kind")]
    hour_of_week: HourOfWeek
    flight: Flight
    departures: Departures
    conversion_delay: ConversionDelay | None = None
    fatigue: Fatigue | None = None
    spend_caps: SpendCaps | None = None
    safety: Safety = Safety()
    validation: Validation | None = None
    held_out: HeldOut | None = None

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        yield "name", self.name
        yield "channels", len(self.channels.rows)
        yield "currency", self.currency
        yield "budget", self.flight.budget.value
        yield "hash", self.hash[:12]

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

    @model_validator(mode="after")
    def _has_what_the_arrays_need(self) -> Market:
        given = self.outcomes
        if given is None and any(row.revenue is None for row in self.channels.rows):
            raise ValueError("channels without revenue need `outcomes.order_value`")
        if (given is None or given.conversion_rate is None) and any(r.conversions is None for r in self.channels.rows):
            raise ValueError("channels without conversions need `outcomes.conversion_rate`")
        self.prices.check(self.channel_names)
        self.prices.competition(self.channels.rows)
        spend_caps(self.spend_caps, self.channel_names)
        if self.held_out:
            self.held_out.check(self.channels.rows)
        return self

    @cached_property
    def landscape(self) -> Landscape:
        """The numbers as arrays."""
        blocks = (self.flight.model_dump(), self.departures.model_dump())
        scalars = {name: sourced["value"] for block in blocks for name, sourced in block.items()}
        competition = self.prices.competition(self.channels.rows)
        conditions = {
            "report_rate": self.conversion_delay.report_rate if self.conversion_delay else 1.0,
            "fatigue_rate": self.fatigue.rate if self.fatigue else 0.0,
            "spend_cap": spend_caps(self.spend_caps, self.channel_names),
            "safety": self.safety.limits(competition.bid),
        }
        return solve_landscape(self._history(), competition, self.auction == "first_price", scalars | conditions)

    @property
    def channel_names(self) -> list[str]:
        """Names of the S channels, in their order."""
        return [row.name for row in self.channels.rows]

    def _history(self) -> History:
        rows = self.channels.rows
        column = {name: np.array([getattr(row, name) for row in rows]) for name in ("impressions", "clicks", "cost")}
        rate, value = zip(*(self._outcome(row) for row in rows), strict=True)
        return History(
            **column,
            conversion_rate=np.array(rate),
            order_value=np.array(value),
            days=self.period_days.value,
            shares=self.hour_of_week.shares,
        )

    def _outcome(self, row: Channel) -> tuple[float, float]:
        """(conversion rate, order value) of a channel: its own where it has them, else the market's `outcomes`."""
        given = self.outcomes
        rate = given.conversion_rate.value if given and given.conversion_rate else math.nan
        value = given.order_value.value if given else math.nan
        if row.conversions is not None:
            rate = row.conversions / row.clicks
            value = row.revenue / row.conversions if row.revenue is not None else value
        return rate, value

    @cached_property
    def hash(self) -> str:
        """SHA-256 over all numbers and sources: two markets with one hash are the same market."""
        # How well a market was validated, or can be, is no part of it.
        numbers = self.model_dump(exclude={"validation", "held_out"})
        return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()

    def variant(
        self,
        departures: Literal["realistic", "nominal"] = "realistic",
        heterogeneity: float | None = None,
        auction: Literal["second_price", "first_price"] | None = None,
        conversion_delay: float | None = None,
        fatigue_half_life: float | None = None,
    ) -> Market:
        """The same market made easier or harder.

        `nominal` switches off traffic noise and the drift of conversion rates; `heterogeneity` replaces
        `conversion_rate_log_sd`; `auction` replaces the rule by which winners pay; `conversion_delay` (mean hours) and
        `fatigue_half_life` (won share of a week's auctions) replace those conditions.
        """
        changes: dict[str, float] = {}
        if departures == "nominal":
            changes |= {"hour_log_sd": 0.0, "day_log_sd": 0.0, "conversion_rate_drift": 0.0}
        if heterogeneity is not None:
            changes["conversion_rate_log_sd"] = heterogeneity
        conditions = changed(conversion_delay, fatigue_half_life)
        if not changes and not conditions and auction in (None, self.auction):
            return self
        sourced = {k: {"value": v, "source": "assumed", "note": "set by the trial"} for k, v in changes.items()}
        departed = _plain(self.departures) | sourced
        # Validated anew rather than copied: a copy would keep the cached landscape and hash.
        varied = {"departures": departed, "auction": auction or self.auction} | conditions
        return market_from(_plain(self) | varied, self.name)


def _plain(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json")


def _sources_in(node: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        if isinstance(node.get("source"), str):  # a channel may have that name, too
            yield where, node["source"]
        for key, child in node.items():
            yield from _sources_in(child, f"{where}.{key}".lstrip("."))


def market_names() -> list[str]:
    """Names of the markets that the package ships."""
    return sorted(entry.name.removesuffix(".yaml") for entry in PRESETS.iterdir() if entry.name.endswith(".yaml"))


def is_market_file(name: object) -> bool:
    """Whether a market is a file of somebody's own, by its path, and not one that the package ships."""
    return str(name).endswith((".yaml", ".yml"))


def load_market(name: str | Path) -> Market:
    """A shipped market by its name, or any market file by its path (ending in .yaml or .yml).

    Raises MarketError: unknown name, unreadable file, or the list of what is wrong in it.
    """
    name = str(name)
    if not is_market_file(name):
        if name not in market_names():
            raise MarketError(f"unknown market {name!r}. {did_you_mean(name, market_names(), 'gaelp-ray markets')}")
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
