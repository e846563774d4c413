"""Tables that fit a terminal: a column that does not fit is left out as a whole; a cell is never cut or wrapped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Generic, TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

RowT = TypeVar("RowT")
GAP = 2

NARROW = 24
"""Characters of a name or a path where room is short."""


@dataclass(frozen=True)
class Column(Generic[RowT]):
    """One column of a table.

    Args:
        title: its header.
        cell: the text of a row; a column without any text is left out.
        priority: 0 for a column that always stays; of the others, the one with the largest number is dropped first.
        right: align to the right, as numbers are.
        narrow: shorter texts, which take the place of `cell` before any column is dropped.
        style: the style of a row's cell.
    """

    title: str
    cell: Callable[[RowT], str]
    priority: int = 0
    right: bool = False
    narrow: Callable[[RowT], str] | None = None
    style: Callable[[RowT], str] = lambda row: ""

    def text(self, row: RowT) -> str:
        """The cell of a row, on one line."""
        return " ".join(self.cell(row).split("\n"))


def fitted(columns: Iterable[Column[RowT]], rows: Sequence[RowT], width: int) -> list[Column[RowT]]:
    """The columns that `width` has room for, each whole."""
    kept = [column for column in columns if column.priority == 0 or any(column.text(row) for row in rows)]
    while width_of(kept, rows) > width:
        at = max(range(len(kept)), key=lambda n: (kept[n].narrow is not None, kept[n].priority))
        if narrow := kept[at].narrow:
            kept[at] = replace(kept[at], cell=narrow, narrow=None)
        elif kept[at].priority:
            del kept[at]
        else:
            break
    return kept


def width_of(columns: Sequence[Column[RowT]], rows: Sequence[RowT]) -> int:
    """How many columns of a terminal a table takes."""
    return sum(_widths(columns, rows)) + GAP * (len(columns) - 1)


def table_lines(
    columns: Sequence[Column[RowT]], rows: Sequence[RowT], style: Callable[[RowT], str] = lambda row: ""
) -> Iterator[Text]:
    """The header, and one line for each row; `style` is that of a whole row."""
    widths = _widths(columns, rows)
    yield _line(columns, widths, [Text(column.title) for column in columns], "bold")
    for row in rows:
        yield _line(columns, widths, [Text(column.text(row), column.style(row)) for column in columns], style(row))


def print_table(
    console: Console,
    columns: Iterable[Column[RowT]],
    rows: Sequence[RowT],
    style: Callable[[RowT], str] = lambda row: "",
) -> list[Column[RowT]]:
    """Print as many columns as fit; returns them."""
    kept = fitted(columns, rows, console.width)
    for line in table_lines(kept, rows, style):
        console.print(line, soft_wrap=True)
    return kept


def without_prefix(names: Sequence[str]) -> dict[str, str]:
    """Each name without what all have in common up to a hyphen: `sweep-07` becomes `…-07`."""
    parts = zip(*(name.split("-")[:-1] for name in names), strict=False)
    prefix = "-".join(same[0] for same in takewhile(lambda part: len(set(part)) == 1, parts))
    return {name: f"…{name.removeprefix(prefix)}" if len(prefix) > 1 else name for name in names}


def shortened(text: str, width: int) -> str:
    """Both ends of a text, with `…` between them where it is longer than `width`."""
    if len(text) <= width:
        return text
    end = 2 * (width - 1) // 3
    return f"{text[: width - 1 - end]}…{text[-end:]}"


def _widths(columns: Sequence[Column[RowT]], rows: Sequence[RowT]) -> list[int]:
    return [max([cell_len(column.title), *(cell_len(column.text(row)) for row in rows)]) for column in columns]


def _line(columns: Sequence[Column[RowT]], widths: Sequence[int], cells: Sequence[Text], style: str) -> Text:
    parts = []
    for column, width, cell in zip(columns, widths, cells, strict=True):
        padding = " " * (width - cell.cell_len)
        parts.append(Text.assemble(padding, cell) if column.right else Text.assemble(cell, padding))
    line = Text(" " * GAP, style=style).join(parts)
    line.rstrip()
    return line
