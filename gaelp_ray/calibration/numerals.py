"""Numbers as exports write them: currency signs and codes, thousands separators, percent signs, dashes for nothing.

Whether a comma or a point is the decimal mark is decided for a whole column: see DecimalMark.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

MISSING = frozenset({"", "-", "--", "\u2013", "\u2014"})

_MINUS = "[-\u2212]"
_SPACES = r"[\s'\u2019]"

_CODES = (
    "USD EUR GBP CHF JPY CNY INR CAD AUD NZD SEK NOK DKK PLN CZK HUF RON BGN TRY RUB UAH ILS AED SAR ZAR BRL MXN ARS "
    "CLP COP PEN KRW TWD HKD SGD THB IDR MYR PHP VND EGP NGN KES PKR BDT"
).split()
_SIGN = rf"(?:{'|'.join(_CODES)}|[ACHNRSU]{{1,2}}\$|Rs\.?|kr\.?|zł|Kč|Ft|lei|[$€£¥₹₩₽₺₫฿₴₪₦₱₸])"
_NUMBER = re.compile(
    rf"(?P<minus>{_MINUS})?\s*(?P<before>{_SIGN})?\s*(?P<minus2>{_MINUS})?\s*"
    rf"(?P<digits>(?:\d[\d.,'\u2019\s]*)?[.,]?\d)(?P<exponent>[eE][-+]?\d{{1,3}})?\s*(?P<percent>%)?\s*(?P<after>{_SIGN})?"
)
_GROUPED = re.compile(rf"\d{{1,3}}(?:{_SPACES}\d{{3}})+(?=$|[.,])")


@dataclass(frozen=True)
class Written:
    """A number as it was written."""

    digits: str  # with separators
    exponent: str
    negative: bool
    percent: bool
    currency: str  # sign or code, empty if there is none


def read(text: str) -> Written | None:
    """What a cell says, None if it is no number."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    digits = match["digits"]
    if re.search(_SPACES, digits):
        if not _GROUPED.match(digits):
            return None
        digits = re.sub(_SPACES, "", digits)
        # Groups are there already: a single separator can only be the decimal mark.
        digits = f"0{digits}" if re.search(r"[.,]", digits) else digits
    negative = bool(match["minus"] or match["minus2"])
    currency = match["before"] or match["after"] or ""
    return Written(digits, match["exponent"] or "", negative, bool(match["percent"]), currency)


AMBIGUOUS = "?"


def decimal_mark(digits: str, whole: bool) -> str:
    """The decimal mark that a number shows: a point, a comma, AMBIGUOUS, or nothing to be seen ('').

    In a column of whole numbers one separator before three digits groups thousands.
    """
    marks = [char for char in digits if char in ".,"]
    if not marks:
        return ""
    if len(set(marks)) == 2:
        return marks[-1]
    other = "," if marks[0] == "." else "."
    if len(marks) > 1:
        return other
    head, tail = re.split(r"[.,]", digits)
    if len(tail) != 3 or not head or head[0] == "0" or len(head) > 3:
        return marks[0]
    return other if whole else AMBIGUOUS


def value(written: Written, mark: str) -> float:
    """The number, with this decimal mark; NaN where its separators contradict it."""
    thousands = "," if mark == "." else "."
    whole, _, fraction = written.digits.partition(mark)
    if thousands in whole:
        first, *groups = whole.split(thousands)
        # In India, groups above the last have two digits.
        if not (0 < len(first) <= 3 and len(groups[-1]) == 3 and all(len(group) in (2, 3) for group in groups)):
            return math.nan
    if thousands in fraction or mark in fraction:
        return math.nan
    number = float(f"{whole.replace(thousands, '') or '0'}.{fraction or '0'}{written.exponent}")
    return -number if written.negative else number


@dataclass
class DecimalMark:
    """Finds out the decimal mark of one column, cell by cell."""

    whole: bool
    mark: str = ""
    line: int = 0  # where it was seen
    text: str = ""
    unclear: tuple[int, str] | None = None  # line and text of the first number that could be read in two ways

    def see(self, line: int, text: str) -> tuple[int, str] | None:
        """Take note of a cell; (line, text) of an earlier one if the two contradict each other."""
        written = None if text.isdecimal() else read(text)
        shown = decimal_mark(written.digits, self.whole) if written else ""
        if shown == AMBIGUOUS:
            self.unclear = self.unclear or (line, text)
        elif shown and not self.mark:
            self.mark, self.line, self.text = shown, line, text
        elif shown and shown != self.mark:
            return self.line, self.text
        return None
