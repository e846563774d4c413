"""The calendar days of a table, from its own way of writing dates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from gaelp_ray.errors import TableError

FORMATS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%m/%d/%y", "%d/%m/%y"),
    *("%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y", "%a, %b %d, %Y"),
)


@dataclass(frozen=True)
class Period:
    """First to last day of a table, both included, and the columns that say so."""

    first: date
    last: date
    columns: tuple[str, ...]

    @property
    def days(self) -> int:
        """Calendar days."""
        return (self.last - self.first).days + 1


def period(written: Mapping[str, Mapping[str, int]], name: str) -> Period | None:
    """The period that columns of dates span; None without such columns.

    Args:
        written: for each column, its different texts and the first line of each.
        name: of the file, for errors.

    Raises TableError: a text that is no date, or dates that could be read in two ways with different periods.
    """
    dates = [_dates(column, texts, name) for column, texts in written.items() if texts]
    if not dates:
        return None
    return Period(min(map(min, dates)), max(map(max, dates)), tuple(written))


def _dates(column: str, texts: Mapping[str, int], name: str) -> list[date]:
    readings = {tuple(found) for form in FORMATS if (found := _read(texts, form))}
    if not readings:
        text, line = next(
            ((text, line) for text, line in texts.items() if not _is_date(text)), next(iter(texts.items()))
        )
        raise TableError(
            f"{name}, row {line}: {column}: {text!r} is no date written like the others (2026-01-31 is understood): "
            "mend it, or leave the column out and give --period-days"
        )
    if len({(min(found), max(found)) for found in readings}) > 1:
        text, line = next(iter(texts.items()))
        raise TableError(
            f"{name}, row {line}: {column}: {text!r} may be day/month or month/day: write dates like 2026-01-31"
        )
    return list(readings.pop())


def _read(texts: Mapping[str, int], form: str) -> list[date] | None:
    try:
        return [datetime.strptime(text, form).date() for text in texts]
    except ValueError:
        return None


def _is_date(text: str) -> bool:
    return any(_read({text: 0}, form) for form in FORMATS)
