"""Calendar days, however they are written."""

from datetime import date

import pytest

from gaelp_ray.calibration.days import period
from gaelp_ray.errors import TableError


@pytest.mark.parametrize(
    "texts",
    [
        ("2026-01-30", "2026-02-02"),
        ("30.01.2026", "02.02.2026"),
        ("1/30/2026", "2/2/2026"),
        ("30/01/2026", "02/02/2026"),
        ("Jan 30, 2026", "Feb 2, 2026"),
        ("20260130", "20260202"),
    ],
)
def test_the_period_spans_the_calendar(texts):
    found = period({"Day": {text: line for line, text in enumerate(texts, 2)}}, "ads.csv")
    assert (found.first, found.last, found.days) == (date(2026, 1, 30), date(2026, 2, 2), 4)


def test_starts_and_ends_are_taken_together():
    found = period({"Reporting starts": {"2026-01-01": 2}, "Reporting ends": {"2026-01-31": 2}}, "ads.csv")
    assert found.days == 31


def test_a_table_without_days_has_no_period():
    assert period({}, "ads.csv") is None
    assert period({"Day": {}}, "ads.csv") is None


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"2026-01-01": 2, "someday": 9}, "ads.csv, row 9: Day: 'someday' is no date"),
        ({"1/2/2026": 2, "3/4/2026": 3}, "ads.csv, row 2: Day: '1/2/2026' may be day/month or month/day"),
    ],
)
def test_unclear_days_come_with_their_row(texts, said):
    with pytest.raises(TableError) as caught:
        period({"Day": texts}, "ads.csv")
    assert str(caught.value).startswith(said)
