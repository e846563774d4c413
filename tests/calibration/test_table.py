"""Reading a table: exports as they come, and one clear line with the row for everything that is wrong."""

import hashlib
import os

import numpy as np
import pytest

from gaelp_ray.calibration import sheet
from gaelp_ray.calibration.columns import ColumnChoice
from gaelp_ray.calibration.table import read_table
from gaelp_ray.errors import TableError

HEADER = "Campaign,Impr.,Clicks,Cost,Conversions,Conv. value"
PLAIN = f"{HEADER}\na,1000,50,60.5,3,240\nb,2000,80,70.25,4,310.5\na,500,20,21,1,90\n"
GOOGLE = (
    "Campaign performance\n\"January 1, 2026 - January 31, 2026\"\n"
    "Campaign\tDay\tCurrency code\tMax. CPC\tImpr.\tClicks\tCost\tConversions\tConv. value\n"
    "a\t2026-01-01\tEUR\tauto: 2.50\t1,000\t50\t60.50\t3.00\t240.00\n"
    "b\t2026-01-31\tEUR\t--\t\"2,000\"\t80\t\"1,070.25\"\t4.50\t310.50\n"
    "Total: Campaigns\t--\t--\t--\t3,000\t130\t1,130.75\t7.50\t550.50\n"
    "Total: Account\t\t\t\t3,000\t130\t1,130.75\t7.50\t550.50\n"
)  # fmt: skip
META = (
    "Campaign name;Reporting starts;Reporting ends;Impressions;Link clicks;Clicks (all);Amount spent (EUR);Purchases;"
    "Purchases conversion value\n"
    ";01.03.2026;31.03.2026;3.000;130;150;1.130,75;7;550,5\n"
    "a;01.03.2026;31.03.2026;1.000;50;60;60,50;3;240\n"
    "b;01.03.2026;31.03.2026;2.000;80;90;1.070,25;4;310,50\n"
)


def table_of(path, **choice):
    return read_table(path, ColumnChoice(**choice))


def test_rows_become_arrays_with_their_segments(write):
    found = table_of(write(PLAIN))
    assert found.segments == ("a", "b")
    np.testing.assert_array_equal(found.segment, [0, 1, 0])
    np.testing.assert_array_equal(found.cost, [60.5, 70.25, 21.0])
    np.testing.assert_array_equal(found.sums(found.clicks), [70.0, 80.0])
    np.testing.assert_array_equal(found.rows(found.clicks > 30).revenue, [240.0, 310.5])
    assert found.bid is None
    assert found.origin.rows == 3
    assert found.origin.name == "ads.csv"
    assert found.origin.sha256 == hashlib.sha256(PLAIN.encode()).hexdigest()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-8"])
def test_google_ads_export_with_title_totals_and_bids(write, encoding):
    found = table_of(write(GOOGLE, encoding))
    assert found.segments == ("a", "b")
    assert found.cost.tolist() == [60.5, 1070.25]
    assert found.conversions.tolist() == [3.0, 4.5]
    np.testing.assert_array_equal(found.bid, [2.5, np.nan])
    assert (found.origin.rows, found.origin.totals, found.origin.currency) == (2, 2, "EUR")
    assert found.origin.period.days == 31


def test_meta_export_with_a_summary_row_and_european_numbers(write):
    found = table_of(write(META))
    assert found.impressions.tolist() == [1000.0, 2000.0]
    assert found.clicks.tolist() == [50.0, 80.0]
    assert found.cost.tolist() == [60.5, 1070.25]
    assert (found.origin.totals, found.origin.currency, found.origin.period.days) == (1, "EUR", 31)


def test_doubleclick_rates_in_percent_become_conversions(write):
    text = (
        "Publisher Name,Search Engine Bid,Clicks,Impressions,Trans. Conv. %,Amount,Total Cost\n"
        "X,$6.25,100,5000,2.00%,$800.00,$230.60\nY,$0.00,200,9000,0.5,\"$1,500.00\",$310.00\n"
    )  # fmt: skip
    found = table_of(write(text))
    np.testing.assert_allclose(found.conversions, [2.0, 1.0])
    assert found.revenue.tolist() == [800.0, 1500.0]
    assert found.origin.currency == "$"


def test_several_columns_make_a_segment_and_campaigns_named_total_stay(write):
    text = PLAIN.replace("a,1000", "Total wellness,1000")
    assert table_of(write(text)).segments[0] == "Total wellness"
    text = "age,sex,Impr.,Clicks,Cost,Conversions\n18,F,100,5,2,1\n18,M,100,5,2,1\n"
    assert table_of(write(text), segments=("age", "sex")).segments == ("18 / F", "18 / M")


def test_dashes_and_blanks_are_nothing(write):
    found = table_of(write(PLAIN + "\nc,100,--, --,,\n\n"))
    assert found.origin.rows == 4
    assert (found.clicks[-1], found.cost[-1], found.conversions[-1]) == (0.0, 0.0, 0.0)


def test_a_column_that_cannot_tell_follows_the_others(write):
    text = f"{HEADER}\na,1000,50,\"1,234\",3,240.5\nb,1000,50,5,3,1\n"  # fmt: skip
    assert table_of(write(text)).cost[0] == 1234.0
    text = f"{HEADER.replace(',', ';')}\na;1000;50;1,234;3;240,5\nb;1000;50;5;3;1\n"
    assert table_of(write(text)).cost[0] == 1.234


def test_a_table_that_cannot_tell_at_all_asks(write):
    path = write(f"{HEADER}\na,900,50,\"1,234\",3,240\nb,900,50,5,3,1\n")  # fmt: skip
    with pytest.raises(TableError, match=r"ads\.csv, row 2: Cost: '1,234' could be read in two ways: .*--decimal"):
        table_of(path)
    assert table_of(path, decimal=".").cost[0] == 1234.0
    assert table_of(path, decimal=",").cost[0] == 1.234


BAD = {
    "clicks above impressions": ("b,10,80,70.25,4,310", "row 3: 80 clicks are more than 10 impressions"),
    "negative cost": ("b,2000,80,-70.25,4,310", "row 3: negative cost (Cost -70.25)"),
    "negative revenue": ("b,2000,80,70.25,4,-$310.5", "row 3: negative revenue"),
    "words": ("b,2000,many,70.25,4,310", "row 3: Clicks: 'many' is no number"),
    "nan": ("b,2000,80,nan,4,310", "row 3: Cost: 'nan' is no number"),
    "infinite": ("b,2000,80,inf,4,310", "row 3: Cost: 'inf' is no number"),
    "too large": ("b,2000,80,1e999,4,310", "row 3: Cost: '1e999' is no number"),
    "brackets": ("b,2000,80,(70.25),4,310", "row 3: Cost: '(70.25)' is no number"),
    "half a click": ("b,2000,80.5,70.25,4,310", "row 3: Clicks: '80.5' is no whole number"),
    "percentage": ("b,2000,4%,70.25,4,310", "row 3: Clicks: '4%' is a percentage"),
    "short row": ("b,2000,80", "row 3: 3 cells below a header of 6"),
    "bare thousands": ("b,2,000,80,70.25,4,310", "row 3: 7 cells below a header of 6 (a comma inside a number"),
    "two decimal marks": ('b,2000,80,"70,25",4,310', "row 3: Cost: '70,25' has another decimal mark than '60.5'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_one_line_with_its_number(write, case):
    row, said = BAD[case]
    with pytest.raises(TableError) as caught:
        table_of(write(PLAIN.replace("b,2000,80,70.25,4,310.5", row)))
    assert str(caught.value).startswith(f"ads.csv, {said}")
    assert "\n" not in str(caught.value)


def test_rows_are_counted_as_an_editor_counts_them(write):
    text = f'title\n\n{HEADER}\n"a\nb",1000,50,60,3,240\nc,1,2,3,0,0\n'
    with pytest.raises(TableError, match=r"row 6: 2 clicks are more than 1"):
        table_of(write(text))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "ads.csv is empty"),
        (b"\n \n", "ads.csv is empty"),
        (HEADER.encode(), "ads.csv has a header (row 1) and no rows below it"),
        (b"PK\x03\x04rest", "ads.csv is a spreadsheet, not text: save it as CSV"),
        (b"\x00\x01\x02", "ads.csv is not text"),
        (PLAIN.replace("b,", "\u00e4,").encode("latin-1"), "not UTF-8 or UTF-16 text"),
        (PLAIN.encode() + b"Campaign\x00x,1,1,1,1,1\n", "ads.csv is not text"),
        (b"hello world\n", "ads.csv, row 1: no column for impressions, clicks, cost, conversions"),
    ],
)
def test_a_file_that_is_no_table_is_one_line(tmp_path, content, said):
    path = tmp_path / "ads.csv"
    path.write_bytes(content)
    with pytest.raises(TableError) as caught:
        table_of(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_one_line(tmp_path):
    with pytest.raises(TableError, match=r"cannot read .*: No such file or directory"):
        table_of(tmp_path / "none.csv")
    with pytest.raises(TableError, match=r"cannot read .*: Is a directory"):
        table_of(tmp_path)


def test_a_huge_file_is_refused_before_it_is_read(write, monkeypatch):
    path = write(PLAIN)
    os.truncate(path, sheet.MAX_BYTES + 1)  # sparse: takes no room
    monkeypatch.setattr("csv.reader", lambda *_, **__: pytest.fail("the file was read"))
    with pytest.raises(TableError, match=r"ads\.csv has 256 MB, more than 256: sum it up first, one row per ad"):
        table_of(path)


def test_money_of_two_currencies_is_refused(write):
    with pytest.raises(TableError, match=r"Currency code names EUR, USD"):
        table_of(write(GOOGLE.replace("EUR\t--", "USD\t--")))
    with pytest.raises(TableError, match=r"Cost is written in €, \$"):
        table_of(write(PLAIN.replace("60.5", "€60.5").replace("70.25", "$70.25")))
