"""The whole way from a CSV file to the text of a market file."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from gaelp_ray.calibration.budget import choose_budget
from gaelp_ray.calibration.columns import ColumnChoice
from gaelp_ray.calibration.document import ASSUMED_DAYS, HOURS, Wishes, evidence_text, market_text, weekly_spend
from gaelp_ray.calibration.fit import Pooled, estimate, pool
from gaelp_ray.calibration.halves import random_halves
from gaelp_ray.calibration.table import CampaignTable, Origin, read_table
from gaelp_ray.calibration.validation import validate
from gaelp_ray.errors import TableError, did_you_mean
from gaelp_ray.market.market import Market, parse_market
from gaelp_ray.market.validation import Validation


@dataclass(frozen=True)
class Calibration:
    """A market, the text of its file, and what a person should know of how it came about."""

    market: Market
    text: str
    origin: Origin
    validation: Validation
    remarks: tuple[str, ...]


def calibrate(path: Path, choice: ColumnChoice, wishes: Wishes, seed: int = 0) -> Calibration:
    """Read a table, fit a market to it and validate the fit; writes nothing. Raises TableError."""
    _check(wishes)
    table = read_table(path, choice)
    pooled = pool(_with_revenue(table, wishes))
    found = estimate(pooled.table)
    validation = validate(pooled.table, wishes.order_value, seed)
    weekly = weekly_spend(pooled.table, wishes)
    draft = parse_market(market_text(pooled.table, found, wishes, weekly), wishes.name)
    budget = choose_budget(draft.landscape, weekly, wishes.budget)
    text = market_text(pooled.table, found, wishes, budget.number)
    text += evidence_text(validation, random_halves(pooled.table, seed))
    remarks = (*_remarks(table, pooled, wishes), *budget.remarks)
    return Calibration(parse_market(text, wishes.name), text, table.origin, validation, remarks)


def _check(wishes: Wishes) -> None:
    numbers = {"order-value": wishes.order_value, "period-days": wishes.period_days, "budget": wishes.budget}
    for name, number in numbers.items():
        if number is not None and not 0 < number < math.inf:
            raise TableError(f"--{name} {number:g}: must be a number above 0")
    if wishes.hours not in HOURS:
        raise TableError(f"--hours {wishes.hours!r}: {did_you_mean(wishes.hours, HOURS)}")


def _with_revenue(table: CampaignTable, wishes: Wishes) -> CampaignTable:
    """The table with one source of revenue: its own, or the order value that was given."""
    if wishes.order_value is not None:
        return replace(table, revenue=None)
    if table.revenue is None:
        raise TableError(
            f"{table.origin.name}: no column of revenue: name it with --columns revenue=NAME, or say what a conversion "
            "is worth with --order-value"
        )
    if not table.revenue.any():
        column = table.origin.columns["revenue"]
        raise TableError(
            f"{table.origin.name}: {column} is 0 in every row: say what a conversion is worth with --order-value"
        )
    return table


def _remarks(table: CampaignTable, pooled: Pooled, wishes: Wishes) -> list[str]:
    origin = table.origin
    said = [f"read {origin.rows:,} rows of {origin.name}"]
    if origin.totals:
        said.append(f"skipped {origin.totals} rows that are totals or belong to no segment")
    said.append("columns: " + ", ".join(f"{name} = {column}" for name, column in origin.columns.items()))
    said.append(f"channels: {' / '.join(origin.segment_columns)}")
    if table.revenue is not None and wishes.order_value is not None:
        said.append(f"{origin.columns['revenue']} is not used: --order-value was given")
    if origin.period is None and wishes.period_days is None:
        said.append(f"no column of days: {ASSUMED_DAYS:.0f} days are assumed (--period-days)")
    return said + pooled.sentences()
