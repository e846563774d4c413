"""Which column of an export holds what.

Names are compared without case, spaces and punctuation (but `%`, which tells a rate from a count) and without a
currency in brackets. Sources of the names: Google Ads help "About columns in your statistics tables", Meta Ads Manager
exports, Search Ads 360 and DoubleClick reports (the sheet of the Air France case), Microsoft Advertising reports.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gaelp_ray.errors import TableError, did_you_mean

NAMES: Mapping[str, tuple[str, ...]] = {
    "impressions": ("Impr.", "Impressions"),
    "clicks": ("Link clicks", "Clicks", "Clicks (all)"),
    "cost": ("Cost", "Total cost", "Amount spent", "Spend", "Spent", "Ad spend", "Click charges"),
    "conversions": (
        *("Conversions", "Conv.", "Purchases", "Website purchases", "Results", "Actions", "Transactions", "Trans"),
        *("Trans. Conv.", "Total Volume of Bookings", "Bookings", "All conv."),
    ),
    "conversion_rate": ("Conv. rate", "Conversion rate", "Trans. Conv. %"),
    "revenue": (
        *("Conv. value", "Conversion value", "Total conv. value", "Purchases conversion value", "Revenue", "Amount"),
        *("Website purchases conversion value", "Purchase conversion value", "Transaction revenue", "All conv. value"),
    ),
    "bid": ("Max. CPC", "Search Engine Bid", "Keyword max CPC", "Default max. CPC", "Bid"),
    "day": ("Day", "Date", "Reporting starts"),
    "last_day": ("Reporting ends",),
    "currency": ("Currency code", "Currency"),
    "publisher": ("Publisher Name", "Publisher", "Engine"),
    "campaign": ("Campaign", "Campaign name"),
    "ad_group": ("Ad group", "Ad group name", "Ad set name"),
}
"""Names of each field, the preferred one first: a table may hold several."""

REQUIRED = ("impressions", "clicks", "cost")
SEGMENTS = ("publisher", "campaign", "ad_group")
"""Fields that name a channel, the preferred one first."""

_CURRENCY = re.compile(r"\s*\(([A-Z]{3})\)\s*$")


@dataclass(frozen=True)
class ColumnChoice:
    """What a person says about the columns: names by field, columns whose combinations are channels."""

    names: Mapping[str, str] = field(default_factory=dict)
    segments: tuple[str, ...] = ()
    decimal: str | None = None  # decimal mark of numbers that could be read in two ways


@dataclass(frozen=True)
class Columns:
    """Positions of the fields in a header row, and of the columns that name the segment."""

    header: tuple[str, ...]
    fields: Mapping[str, int]
    segments: tuple[int, ...]

    def name(self, field_name: str) -> str:
        """The column's own name."""
        return self.header[self.fields[field_name]]


def normal(name: str) -> str:
    """A column name without what does not tell columns apart."""
    return "".join(char for char in _CURRENCY.sub("", name).casefold() if char.isalnum() or char == "%")


_KNOWN = {field_name: tuple(map(normal, names)) for field_name, names in NAMES.items()}


def parse_choice(words: Iterable[str]) -> dict[str, str]:
    """`field=Column name` pairs of a command line, comma separated or repeated. Raises TableError."""
    chosen: dict[str, str] = {}
    for pair in (pair for word in words for pair in re.split(r",(?=[^,=]*=)", word)):
        field_name, _, column = (part.strip() for part in pair.partition("="))
        if field_name not in NAMES or not column:
            known = "write it as field=Column name" if field_name in NAMES else did_you_mean(field_name, NAMES)
            raise TableError(f"--columns {pair.strip()!r}: {known}")
        chosen[field_name] = column
    return chosen


def recognise(header: Sequence[str], choice: ColumnChoice) -> dict[str, int]:
    """Position of every field that a header row names."""
    plain = [normal(name) for name in header]
    found = {}
    for field_name, known in _KNOWN.items():
        if field_name in choice.names:
            wanted = choice.names[field_name]
            known = (normal(wanted),)  # noqa: PLW2901 (the person's word replaces ours)
            if wanted in header:
                found[field_name] = list(header).index(wanted)
                continue
        place = next((plain.index(name) for name in known if name and name in plain), None)
        if place is not None:
            found[field_name] = place
    return found


def is_header(found: Mapping[str, int]) -> bool:
    """Whether a row names all columns without which nothing can be calibrated."""
    return all(name in found for name in REQUIRED) and ("conversions" in found or "conversion_rate" in found)


def columns_of(header: Sequence[str], choice: ColumnChoice, where: str) -> Columns:
    """The columns of a table. Raises TableError: a column is missing, named twice, or no column names the segments."""
    found = recognise(header, choice)
    for field_name, wanted in choice.names.items():
        if field_name not in found:
            raise TableError(f"{where}: no column {wanted!r} (--columns {field_name}=...). {_there(header)}")
    if not is_header(found):
        wanted_fields = [*REQUIRED, "conversions"]
        missing = [name for name in wanted_fields if name not in found]
        known = "; ".join(f"{name}: {', '.join(NAMES[name][:4])}" for name in missing)
        raise TableError(
            f"{where}: no column for {', '.join(missing)}. {_there(header)} Recognised names are {known}; "
            f"map others with --columns {missing[0]}=NAME"
        )
    segments = _segments(header, choice, found, where)
    for place in (*found.values(), *segments):
        if list(header).count(header[place]) > 1:
            raise TableError(f"{where}: two columns are called {header[place]!r}: rename one of them")
    return Columns(tuple(header), found, segments)


def _segments(header: Sequence[str], choice: ColumnChoice, found: Mapping[str, int], where: str) -> tuple[int, ...]:
    if choice.segments:
        plain = [normal(name) for name in header]
        for name in choice.segments:
            if normal(name) not in plain:
                raise TableError(f"{where}: no column {name!r} (--segment). {_there(header)}")
        return tuple(
            list(header).index(name) if name in header else plain.index(normal(name)) for name in choice.segments
        )
    place = next((found[name] for name in SEGMENTS if name in found), None)
    if place is None:
        raise TableError(
            f"{where}: no column names the channels: choose one or more with --segment COLUMN. {_there(header)}"
        )
    return (place,)


def _there(header: Sequence[str]) -> str:
    shown = [name for name in header if name.strip()]
    more = f" and {len(shown) - 30} more" if len(shown) > 30 else ""
    return f"Columns there: {', '.join(shown[:30])}{more}."


def header_currency(name: str) -> str | None:
    """The currency in a column's name, as in `Amount spent (USD)`."""
    match = _CURRENCY.search(name)
    return match.group(1) if match else None
