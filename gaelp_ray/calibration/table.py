"""From a file to arrays: read_table() checks every row and says what it did.

Two passes over the file, row by row: the first finds out how the numbers of each column are written, the second reads
them. Only the numbers stay in memory.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gaelp_ray.calibration.columns import ColumnChoice, header_currency
from gaelp_ray.calibration.days import Period, period
from gaelp_ray.calibration.numerals import MISSING, DecimalMark, read, value
from gaelp_ray.calibration.sheet import Sheet, open_sheet
from gaelp_ray.errors import TableError
from gaelp_ray.records import FloatArray

WHOLE = ("impressions", "clicks")
NUMBERS = (*WHOLE, "cost", "conversions", "conversion_rate", "revenue", "bid")

IndexArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Origin:
    """Where a table came from, and what was made of its file."""

    name: str  # of the file, without its folder
    sha256: str
    rows: int
    totals: int  # rows left out: sums of others, or without a segment, as Meta's summary rows are
    columns: Mapping[str, str]  # field: column
    segment_columns: tuple[str, ...]
    period: Period | None
    currency: str | None


@dataclass(frozen=True)
class CampaignTable:
    """N rows (ads, keywords or campaign-days) of S segments; all arrays (N,)."""

    origin: Origin
    segments: tuple[str, ...]
    segment: IndexArray  # index into segments
    impressions: FloatArray
    clicks: FloatArray
    cost: FloatArray
    conversions: FloatArray
    revenue: FloatArray | None  # None: the table has none
    bid: FloatArray | None  # per click; NaN where a row has none
    day: IndexArray | None = None  # equal numbers are equal days; None: the table has none

    def rows(self, chosen: BoolArray) -> CampaignTable:
        """Some of the rows, with all segments."""
        return replace(
            self,
            segment=self.segment[chosen],
            impressions=self.impressions[chosen],
            clicks=self.clicks[chosen],
            cost=self.cost[chosen],
            conversions=self.conversions[chosen],
            revenue=None if self.revenue is None else self.revenue[chosen],
            bid=None if self.bid is None else self.bid[chosen],
            day=None if self.day is None else self.day[chosen],
        )

    def sums(self, numbers: FloatArray) -> FloatArray:
        """Sums per segment, (S,), of one number per row."""
        return np.bincount(self.segment, numbers, len(self.segments)).astype(np.float64)


@dataclass
class _Style:
    """What the first pass finds out."""

    marks: dict[str, DecimalMark] = field(default_factory=dict)
    days: dict[str, dict[str, int]] = field(default_factory=dict)
    codes: Counter[str] = field(default_factory=Counter)
    signs: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    totals: int = 0


def read_table(path: Path, choice: ColumnChoice) -> CampaignTable:
    """The table of a CSV file. Raises TableError with the row of the first thing that is wrong."""
    sheet = open_sheet(path, choice)
    style = _style(sheet)
    if not style.rows:
        raise TableError(f"{path.name} has a header (row {sheet.header_line}) and no rows below it")
    marks = _marks(sheet, style, choice.decimal)
    segments: dict[str, int] = {}
    index, day = array("q"), array("q")
    days: dict[str, int] = {}
    numbers: dict[str, array[float]] = {name: array("d") for name in NUMBERS if name in sheet.columns.fields}
    for line, cells in sheet.rows():
        if sheet.sums_up(cells):
            continue
        found = {name: _number(sheet, line, name, cells, marks[name]) for name in numbers}
        _check(sheet, line, found)
        for name, number in found.items():
            numbers[name].append(number)
        label = " / ".join(cells[place] or "-" for place in sheet.columns.segments)
        index.append(segments.setdefault(label, len(segments)))
        if "day" in sheet.columns.fields:
            day.append(days.setdefault(cells[sheet.columns.fields["day"]], len(days)))
    table = _table(_origin(sheet, style), segments, np.frombuffer(index, np.int64), numbers)
    return replace(table, day=np.frombuffer(day, np.int64).astype(np.intp)) if day else table


def _style(sheet: Sheet) -> _Style:
    fields = sheet.columns.fields
    style = _Style({name: DecimalMark(name in WHOLE) for name in NUMBERS if name in fields})
    style.days = {sheet.columns.header[fields[name]]: {} for name in ("day", "last_day") if name in fields}
    places = [(fields[name], mark) for name, mark in style.marks.items()]
    for line, cells in sheet.rows():
        if sheet.sums_up(cells):
            style.totals += 1
            continue
        style.rows += 1
        for place, mark in places:
            if contradicted := mark.see(line, cells[place]):
                raise TableError(
                    f"{sheet.path.name}, row {line}: {sheet.columns.header[place]}: {cells[place]!r} has another "
                    f"decimal mark than {contradicted[1]!r} in row {contradicted[0]}"
                )
        for column, texts in style.days.items():
            if text := cells[sheet.columns.header.index(column)]:
                texts.setdefault(text, line)
        _see_currency(style, cells, fields)
    return style


def _see_currency(style: _Style, cells: Sequence[str], fields: Mapping[str, int]) -> None:
    if "currency" in fields and cells[fields["currency"]]:
        style.codes[cells[fields["currency"]]] += 1
    cost = cells[fields["cost"]]
    if not cost[:1].isdecimal() or not cost[-1:].isdecimal():
        written = read(cost)
        if written and written.currency:
            style.signs[written.currency] += 1


def _marks(sheet: Sheet, style: _Style, decimal: str | None) -> dict[str, str]:
    """Decimal mark of each column: its own, else that of the others, else what the person says."""
    seen = {mark.mark for mark in style.marks.values() if mark.mark}
    common = decimal or (seen.pop() if len(seen) == 1 else None)
    for name, mark in style.marks.items():
        if mark.unclear and not mark.mark and not common:
            line, text = mark.unclear
            raise TableError(
                f"{sheet.path.name}, row {line}: {sheet.columns.name(name)}: {text!r} could be read in two ways: say "
                "which with --decimal . or --decimal ,"
            )
    return {name: mark.mark or common or "." for name, mark in style.marks.items()}


def _number(sheet: Sheet, line: int, name: str, cells: Sequence[str], mark: str) -> float:
    text = cells[sheet.columns.fields[name]]
    if text.isdecimal():
        return float(text) / (100.0 if _in_percent(sheet, name) else 1.0)
    if name == "bid":  # automatic bids: `auto: 1.23`, `1.23 (enhanced)`
        text = text.removeprefix("auto").removeprefix(":").removesuffix("(enhanced)").strip()
    if text in MISSING:
        return math.nan if name == "bid" else 0.0
    where = f"{sheet.path.name}, row {line}: {sheet.columns.name(name)}"
    written = read(text)
    number = value(written, mark) if written else math.nan
    if written is None or not math.isfinite(number):
        raise TableError(f"{where}: {text!r} is no number")
    if written.percent and name != "conversion_rate":
        raise TableError(f"{where}: {text!r} is a percentage, where {name} belong: map another column with --columns")
    if name in WHOLE and number % 1:
        raise TableError(f"{where}: {text!r} is no whole number")
    return number / (100.0 if written.percent or _in_percent(sheet, name) else 1.0)


def _in_percent(sheet: Sheet, name: str) -> bool:
    return name == "conversion_rate" and "%" in sheet.columns.name(name)


def _check(sheet: Sheet, line: int, found: Mapping[str, float]) -> None:
    where = f"{sheet.path.name}, row {line}"
    for name, number in found.items():
        if number < 0:
            raise TableError(
                f"{where}: negative {name} ({sheet.columns.name(name)} {number:g}): correct or drop the row"
            )
    if found["clicks"] > found["impressions"]:
        raise TableError(
            f"{where}: {found['clicks']:g} clicks are more than {found['impressions']:g} impressions: "
            "correct or drop the row"
        )


def _origin(sheet: Sheet, style: _Style) -> Origin:
    header, fields = sheet.columns.header, sheet.columns.fields
    if len(style.codes) > 1:
        raise TableError(
            f"{sheet.path.name}: {sheet.columns.name('currency')} names {', '.join(sorted(style.codes))}: "
            "money of several currencies cannot be summed, give one file per currency"
        )
    if len(style.signs) > 1:
        raise TableError(f"{sheet.path.name}: {sheet.columns.name('cost')} is written in {', '.join(style.signs)}")
    in_header = header_currency(header[fields["cost"]])
    currency = next(iter(style.codes), None) or in_header or next(iter(style.signs), None)
    used = {name: header[place] for name, place in fields.items() if name not in ("publisher", "campaign", "ad_group")}
    named = tuple(header[place] for place in sheet.columns.segments)
    days = period(style.days, sheet.path.name)
    return Origin(sheet.path.name, sheet.sha256, style.rows, style.totals, used, named, days, currency)


def _table(
    origin: Origin, segments: Mapping[str, int], index: npt.NDArray[np.int64], numbers: Mapping[str, array[float]]
) -> CampaignTable:
    arrays: dict[str, FloatArray] = {name: np.frombuffer(series, np.float64) for name, series in numbers.items()}
    conversions = arrays.get("conversions")
    if conversions is None:
        conversions = arrays["conversion_rate"] * arrays["clicks"]
    return CampaignTable(
        origin=origin,
        segments=tuple(segments),
        segment=index.astype(np.intp),
        impressions=arrays["impressions"],
        clicks=arrays["clicks"],
        cost=arrays["cost"],
        conversions=conversions,
        revenue=arrays.get("revenue"),
        bid=arrays.get("bid"),
    )
