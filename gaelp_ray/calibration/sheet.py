"""A delimited text file, row by row: encoding, delimiter, header, and line numbers as an editor shows them.

Start at open_sheet(). Nothing here holds more than one row.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from gaelp_ray.calibration.columns import ColumnChoice, Columns, columns_of, is_header, recognise
from gaelp_ray.errors import TableError

MAX_BYTES = 256 * 2**20
HEADER_ROWS = 10
"""Exports of Google Ads put a title and a date range above the header."""

_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_TOTAL = re.compile(r"\s*(?:grand\s+)?totals?\s*(?:$|[:\-\u2013\u2014(])", re.IGNORECASE)


@dataclass(frozen=True)
class Sheet:
    """A table in a file, with its columns known."""

    path: Path
    encoding: str
    delimiter: str
    header_line: int
    columns: Columns
    sha256: str

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """(line, cells) of the rows below the header; blank rows are left out. Raises TableError."""
        width = len(self.columns.header)
        for line, cells in read_rows(self.path, self.encoding, self.delimiter):
            if line <= self.header_line or not any(cells):
                continue
            if is_total(cells):
                cells = (cells + [""] * width)[:width]  # noqa: PLW2901 (exports shorten such rows)
            elif len(cells) < width or any(cells[width:]):
                raise TableError(
                    f"{self.path.name}, row {line}: {len(cells)} cells below a header of {width} "
                    "(a comma inside a number or a name needs quotes around it)"
                )
            yield line, cells

    def sums_up(self, cells: list[str]) -> bool:
        """Whether a row is a sum of others: it says so, or it belongs to no segment."""
        return is_total(cells) or not any(cells[place] for place in self.columns.segments)


def is_total(cells: list[str]) -> bool:
    """Whether a row is a sum of others: its first words are `Total`, `Total: Account`, `Grand total`, ..."""
    return bool(_TOTAL.match(next((cell for cell in cells if cell), "")))


def open_sheet(path: Path, choice: ColumnChoice) -> Sheet:
    """Find a table's encoding, delimiter and header. Raises TableError: no file, too large, no text, no header."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror}") from None
    if size > MAX_BYTES:
        raise TableError(
            f"{path.name} has {size / 2**20:,.0f} MB, more than {MAX_BYTES // 2**20}: sum it up first, one row per ad, "
            "keyword or campaign and day, with only the columns that are needed"
        )
    if not start.strip():
        raise TableError(f"{path.name} is empty")
    encoding = _encoding(path.name, start)
    delimiter, line, header = _header(path, encoding, choice)
    columns = columns_of(header, choice, f"{path.name}, row {line}")
    return Sheet(path, encoding, delimiter, line, columns, _digest(path))


def _encoding(name: str, start: bytes) -> str:
    if start.startswith(_WORKBOOKS):
        raise TableError(f"{name} is a spreadsheet, not text: save it as CSV")
    for bom, encoding in _BOMS.items():
        if start.startswith(bom):
            return encoding
    if b"\0" in start:
        raise TableError(f"{name} is not text: give a CSV file")
    return "utf-8"


class _Reader(Protocol):
    """csv's readers: how far they have come."""

    @property
    def line_num(self) -> int: ...


@contextmanager
def _said_clearly(name: str, reader: _Reader) -> Iterator[None]:
    """Turn what can go wrong while reading into one line with the row."""
    try:
        yield
    except UnicodeError:
        # Text is decoded in blocks, so that the row is known only roughly.
        raise TableError(
            f"{name}, after row {reader.line_num}: not UTF-8 or UTF-16 text: save it as CSV UTF-8"
        ) from None
    except csv.Error as error:
        raise TableError(f"{name}, row {reader.line_num}: not a table of text: {error}") from None


def read_rows(path: Path, encoding: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line, stripped cells) of every row of a file."""
    with path.open(encoding=encoding, newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        with _said_clearly(path.name, reader):
            line = 1
            for cells in reader:
                yield line, [cell.strip() for cell in cells]
                line = reader.line_num + 1


def _header(path: Path, encoding: str, choice: ColumnChoice) -> tuple[str, int, list[str]]:
    """(delimiter, line, cells) of the first row that names what is needed, or of the one that comes closest."""
    closest: tuple[int, int, str, int, list[str]] = (-1, 0, ",", 1, [])
    for delimiter in ",;\t":
        for line, cells in islice(read_rows(path, encoding, delimiter), HEADER_ROWS):
            found = recognise(cells, choice)
            if is_header(found):
                return delimiter, line, cells
            rank = (len(found), len(cells))
            if rank > closest[:2]:
                closest = (*rank, delimiter, line, cells)
    return closest[2:]


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
