"""Numbers as people and platforms write them."""

import math

import pytest

from gaelp_ray.calibration.numerals import AMBIGUOUS, DecimalMark, decimal_mark, read, value


@pytest.mark.parametrize(
    ("text", "mark", "number"),
    [
        ("1234", ".", 1234.0),
        ("1,234.50", ".", 1234.5),
        ("1.234,50", ",", 1234.5),
        ("1 234,50", ",", 1234.5),
        ("1\u202f234,50 €", ",", 1234.5),
        ("1'234.50", ".", 1234.5),
        ("12,34,567.5", ".", 1234567.5),
        ("$1,234", ".", 1234.0),
        ("USD 1,234.5", ".", 1234.5),
        ("R$ 1.234,50", ",", 1234.5),
        ("-5.5", ".", -5.5),
        ("-$5.50", ".", -5.5),
        ("\u22125", ".", -5.0),
        (".5", ".", 0.5),
        ("1e+06", ".", 1e6),
        ("12.5%", ".", 12.5),
    ],
)
def test_numbers_are_understood(text, mark, number):
    written = read(text)
    assert written is not None
    assert value(written, mark) == number


@pytest.mark.parametrize(
    "text", ["", "abc", "nan", "inf", "-inf", "(12.50)", "12abc", "1 2", "1-2", "0x10", "1.2.", "12 34", "five"]
)
def test_what_is_no_number_is_none(text):
    assert read(text) is None


@pytest.mark.parametrize(("text", "mark"), [("1,23,4", "."), ("1,2345.0", "."), ("1.234.5", "."), ("1,5,5", ",")])
def test_separators_out_of_place_make_no_number(text, mark):
    assert math.isnan(value(read(text), mark))


def test_percent_signs_and_currencies_are_reported():
    assert read("12 %").percent
    assert read("€5").currency == "€"
    assert read("5 EUR").currency == "EUR"
    assert read("5").currency == ""


@pytest.mark.parametrize(
    ("digits", "mark"),
    [("1.234,5", ","), ("1,234.5", "."), ("1.5", "."), ("1,50", ","), ("1,234,567", "."), ("0,123", ","), ("1234", "")],
)
def test_decimal_marks_show_in_the_digits(digits, mark):
    assert decimal_mark(digits, whole=False) == mark


def test_three_digits_after_one_separator_are_ambiguous_unless_the_column_counts():
    assert decimal_mark("1,234", whole=False) == AMBIGUOUS
    assert decimal_mark("1,234", whole=True) == "."
    assert decimal_mark("1.234", whole=True) == ","


def test_a_column_remembers_what_it_saw_and_notices_contradictions():
    mark = DecimalMark(whole=False)
    assert mark.see(2, "1,234") is None
    assert mark.unclear == (2, "1,234")
    assert mark.see(3, "7.5") is None
    assert mark.mark == "."
    assert mark.see(4, "7,5") == (3, "7.5")
