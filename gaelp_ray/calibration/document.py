"""A calibration as a market file: readable text, every number with its source. Start at market_text()."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from gaelp_ray.calibration.fit import Estimates
from gaelp_ray.calibration.number import SOURCE, Number
from gaelp_ray.calibration.prices import Prices
from gaelp_ray.calibration.table import CampaignTable
from gaelp_ray.market import load_market
from gaelp_ray.market.held_out import HeldOut
from gaelp_ray.market.validation import PriceResponse, Validation

HOURS = {"avito": "airfrance-search", "open_bandit": "kag-social", "alimama": "ipinyou-display"}
"""Shipped shapes of the week's traffic, and the markets that they are taken from."""

ASSUMED_DAYS = 30.0

SUM_DIGITS = 12
"""Significant digits of sums over rows: no cent is lost."""

ASSUMED_FLIGHT = {
    "budget_log_range": Number(0.7, "assumed", "budgets differ by a factor exp(uniform(-0.7, 0.7))"),
    "max_bid_multiplier": Number(100, "assumed", "bids reach from 1/100 to 100 times the historical bid"),
}

ASSUMED_DEPARTURES = {
    "conversion_rate_log_sd": Number(0.5, "assumed", "the difficulty knob, called heterogeneity in a trial"),
    "ctr_log_sd": Number(0.2, "assumed"),
    "volume_log_sd": Number(0.3, "assumed"),
    "price_log_sd": Number(0.25, "assumed", "price level of a channel, AR(1) over hours"),
    "price_autocorrelation": Number(0.97, "assumed", "per hour"),
    "hour_log_sd": Number(0.3, "assumed", "traffic of one hour, all channels"),
    "day_log_sd": Number(0.4, "assumed", "traffic of one day, all channels"),
    "conversion_rate_drift": Number(0.02, "assumed", "log sd per hour of a random walk"),
}
"""As in airfrance-search: how a channel departs from its mean in a week cannot be told from how single rows differ."""


@dataclass(frozen=True)
class Wishes:
    """What a person says about a market beside the table."""

    name: str
    order_value: float | None = None  # revenue of a conversion, where the table has none
    currency: str | None = None
    period_days: float | None = None
    hours: str = "avito"
    auction: Literal["second_price", "first_price"] = "second_price"
    budget: float | None = None


def market_text(table: CampaignTable, found: Estimates, wishes: Wishes, budget: Number) -> str:
    """The text of a market file, without the evidence for it."""
    return "\n".join(_lines(table, found, wishes, budget)) + "\n"


def evidence_text(validation: Validation, held_out: HeldOut | None) -> str:
    """The blocks of a market file that change nothing in the market."""
    return "\n".join([*_validation(validation), *(_held_out(held_out) if held_out else ())]) + "\n"


def _lines(table: CampaignTable, found: Estimates, wishes: Wishes, budget: Number) -> Iterator[str]:
    origin = table.origin
    shape = load_market(HOURS[wishes.hours])
    yield "# Calibrated by `gaelp-ray calibrate`. Every number carries its source: a key of `sources`, or `assumed`."
    yield ""
    yield _pair("name", wishes.name)
    yield _pair("description", f"calibrated from {origin.name} by {' / '.join(origin.segment_columns)}")
    yield _pair("currency", wishes.currency or origin.currency or "units")
    yield _pair("auction", wishes.auction)
    yield ""
    yield "sources:"
    yield f"  {SOURCE}: {_flow(_provenance(table))}"
    yield f"  {shape.hour_of_week.source}: {_flow(' '.join(shape.sources[shape.hour_of_week.source].split()))}"
    yield ""
    yield "# What the campaigns did in the whole period."
    yield from ["channels:", f"  source: {SOURCE}", "  rows:"]
    yield from (f"    - {_flow(row, SUM_DIGITS)}" for row in _channels(table))
    yield _number("period_days", _days(table, wishes))
    if table.revenue is None:
        value = Number(wishes.order_value or math.nan, "assumed", "given on the command line")
        yield from ["", "outcomes:", f"  {_number('order_value', value)}"]
    yield from ["", "# The highest competing bid of an auction is lognormal.", "prices:", "  kind: lognormal"]
    yield f"  {_number('paid_over_bid', found.prices.paid_over_bid)}"
    yield f"  {_number('log_sd', found.prices.log_sd)}"
    yield from _prices_by_channel(table, found.prices)
    yield from ["", "# Share of the week's traffic in each hour; one row a day, Monday first.", "hour_of_week:"]
    yield from [f"  source: {shape.hour_of_week.source}", "  shares:"]
    yield from (f"    - {_flow(list(day))}" for day in shape.hour_of_week.shares)
    yield from ["", "flight:", f"  {_number('budget', budget)}"]
    yield from (f"  {_number(key, number)}" for key, number in ASSUMED_FLIGHT.items())
    yield from ["", "# How a flight departs from the calibrated means.", "departures:"]
    yield from (f"  {_number(key, number)}" for key, number in ASSUMED_DEPARTURES.items())
    yield f"  {_number('order_value_shape', found.order_value_shape)}"


def _validation(validation: Validation) -> Iterator[str]:
    yield ""
    yield "# Fitted on random halves of the rows, simulated on the other halves; medians over the splits. Each error"
    yield "# stands beside its floor, the same error between the two real halves: 1 is as good as more real data."
    yield "validation:"
    for key, value in validation.model_dump(mode="json", exclude={"price_response"}).items():
        if not isinstance(value, dict) or key == "row_spread":
            yield f"  {key}: {_flow(value)}"
            continue
        yield f"  {key}:"
        yield from (f"    {name}: {_flow(figure)}" for name, figure in value.items() if figure is not None)
        if value["coverage_90"] is None:
            yield "    coverage_90: null"
    if validation.price_response is not None:
        yield from _price_response(validation.price_response)


def _price_response(response: PriceResponse) -> Iterator[str]:
    if response.not_tested is not None:
        yield f"  price_response: {_flow({'not_tested': response.not_tested})}"
        return
    yield "  # Rows of high bids in units of rows of low bids; errors are of the logarithms of these ratios."
    yield "  price_response:"
    for key, error in (("clicks", response.clicks), ("cpc", response.cpc)):
        if error is not None:
            yield f"    {key}:"
            yield from (f"      {name}: {_flow(figure)}" for name, figure in error.model_dump(mode="json").items())
    yield "    channels:"
    yield from (f"      - {_flow(row.model_dump(mode='json'))}" for row in response.channels)


def _held_out(held_out: HeldOut) -> Iterator[str]:
    yield from ["", "# Real campaigns to compare the market with: each is predicted from its channel without it."]
    yield from ["held_out:", f"  kind: {held_out.kind}", f"  source: {held_out.source}"]
    yield from [f"  {_pair('note', held_out.note)}", "  rows:"]
    for row in held_out.rows:
        yield f"    - {_flow(row.model_dump(exclude_none=True), SUM_DIGITS)}"


def _prices_by_channel(table: CampaignTable, prices: Prices) -> Iterator[str]:
    if not prices.has_bids:
        return
    note = "empirical Bayes: each channel's own, shrunk towards the numbers above as far as it is uncertain"
    yield from ["  by_channel:", f"    source: {SOURCE}", f"    {_pair('note', note)}", "    rows:"]
    for channel, paid, log_sd in zip(table.segments, prices.paid_over_bids, prices.log_sds, strict=True):
        yield f"      - {_flow({'channel': channel, 'paid_over_bid': float(paid), 'log_sd': float(log_sd)})}"


def _provenance(table: CampaignTable) -> str:
    origin = table.origin
    read = ", ".join(f"{name} from {column!r}" for name, column in origin.columns.items())
    days = ""
    if origin.period:
        period = origin.period
        days = f"; {period.first} to {period.last} ({', '.join(period.columns)})"
    return f"{origin.name}, {origin.rows} rows, SHA-256 {origin.sha256[:12]}{days}; {read}"


def _channels(table: CampaignTable) -> Iterator[dict[str, Any]]:
    names = ("impressions", "clicks", "cost", "conversions", *(() if table.revenue is None else ("revenue",)))
    sums = {name: table.sums(getattr(table, name)) for name in names}
    for s, segment in enumerate(table.segments):
        yield {"name": segment, **{name: float(sums[name][s]) for name in names}}


def _days(table: CampaignTable, wishes: Wishes) -> Number:
    if wishes.period_days is not None:
        return Number(wishes.period_days, "assumed", "given on the command line")
    if table.origin.period is None:
        return Number(ASSUMED_DAYS, "assumed", "the table has no days, and --period-days was not given")
    return Number(table.origin.period.days, SOURCE, "calendar days, first to last")


def weekly_spend(table: CampaignTable, wishes: Wishes) -> Number:
    """What the channels spent in seven days of the period."""
    days = _days(table, wishes)
    weekly = 7.0 * float(table.cost.sum()) / days.value
    return Number(weekly, days.source, "what the channels spent per week of the period")


def _number(key: str, number: Number) -> str:
    shown: dict[str, Any] = {"value": _rounded(number.value), "source": number.source}
    return f"{key}: {_flow(shown | ({'note': number.note} if number.note else {}))}"


def _pair(key: str, text: str) -> str:
    return f"{key}: {_flow(text)}"


def _rounded(number: float, digits: int = 6) -> float | int:
    number = float(f"{number:.{digits}g}")
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


def _flow(value: Any, digits: int = 6) -> str:
    """One line of YAML."""
    if isinstance(value, float):
        value = _rounded(value)
    if isinstance(value, dict):
        value = {k: _rounded(v, digits) if isinstance(v, float) else v for k, v in value.items()}
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=math.inf, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
