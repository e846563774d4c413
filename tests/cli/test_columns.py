"""Tables lose whole columns where they are too wide, and never a part of a cell."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from gaelp_ray.cli.columns import Column, fitted, print_table, shortened, without_prefix

ROWS = [("first-00", "10.123", "a long remark"), ("first-01", "9.5", "")]
COLUMNS = [
    Column("name", lambda row: row[0], narrow=lambda row: row[0].removeprefix("first-")),
    Column("value", lambda row: row[1], right=True),
    Column("half", lambda row: row[1][:2], 2),
    Column("remark", lambda row: row[2], 3, narrow=lambda row: row[2][:6]),
    Column("never", lambda row: "", 1),
]


def titles(width: int) -> list[str]:
    return [column.title for column in fitted(COLUMNS, ROWS, width)]


def test_columns_that_do_not_fit_are_dropped_by_priority():
    assert titles(80) == titles(37) == ["name", "value", "half", "remark"]  # and not one without any text
    assert titles(26) == ["name", "value", "half", "remark"]
    assert titles(25) == titles(18) == ["name", "value", "half"]
    assert titles(17) == titles(1) == ["name", "value"]


def test_narrow_cells_are_tried_before_a_column_is_dropped():
    remark = [column.text(ROWS[0]) for width in (37, 36, 30) for column in fitted(COLUMNS, ROWS, width)[::3]]
    assert remark == ["first-00", "a long remark", "first-00", "a long", "first-00", "a long"]
    assert fitted(COLUMNS, ROWS, 26)[0].text(ROWS[0]) == "00"


def test_a_row_is_one_line_aligned_and_printed_as_it_is():
    console = Console(file=io.StringIO(), width=80)
    print_table(console, COLUMNS[:3], [("[/bold]:smile:\nb", "1", "")])
    assert console.file.getvalue() == "name              value  half\n[/bold]:smile: b      1  1\n"


def test_names_keep_what_tells_them_apart():
    assert without_prefix(["a_b-c-07", "a_b-c-12", "a_b-c-default"]) == {
        "a_b-c-07": "…-07",
        "a_b-c-12": "…-12",
        "a_b-c-default": "…-default",
    }
    assert without_prefix(["a-b-07", "a-c-07"]) == {"a-b-07": "a-b-07", "a-c-07": "a-c-07"}
    assert without_prefix(["sweep-01", "sweep-01-s1"]) == {"sweep-01": "…-01", "sweep-01-s1": "…-01-s1"}
    assert without_prefix(["one", "two"]) == {"one": "one", "two": "two"}
    assert without_prefix([]) == {}


@pytest.mark.parametrize(("text", "short"), [("abcdefghij", "abcdefghij"), ("abcdefghijk", "abc…fghijk")])
def test_a_long_text_keeps_both_ends(text, short):
    assert shortened(text, 10) == short
