"""Names of columns: three platforms' exports, a person's own mapping, and what is said when one is missing."""

import pytest

from gaelp_ray.calibration.columns import ColumnChoice, columns_of, parse_choice
from gaelp_ray.errors import TableError

GOOGLE = ["Campaign", "Ad group", "Day", "Currency code", "Max. CPC", "Impr.", "Clicks", "CTR", "Avg. CPC", "Cost"]
GOOGLE += ["Conversions", "Cost / conv.", "Conv. rate", "Conv. value", "Conv. value / cost", "All conv."]
META = ["Reporting starts", "Reporting ends", "Campaign name", "Ad set name", "Results", "Impressions", "Clicks (all)"]
META += ["Link clicks", "CPC (cost per link click) (EUR)", "Amount spent (EUR)", "Purchases"]
META += ["Purchases conversion value"]
DOUBLECLICK = ["Publisher ID", "Publisher Name", "Keyword", "Campaign", "Search Engine Bid", "Clicks", "Click Charges"]
DOUBLECLICK += ["Avg. Cost per Click", "Impressions", "Engine Click Thru %", "Trans. Conv. %", "Total Cost/ Trans."]
DOUBLECLICK += ["Amount", "Total Cost", "Total Volume of Bookings"]

RECOGNISED = {
    "google": (GOOGLE, ("Impr.", "Clicks", "Cost", "Conversions", "Conv. value", "Campaign")),
    "meta": (
        META,
        (
            "Impressions",
            "Link clicks",
            "Amount spent (EUR)",
            "Purchases",
            "Purchases conversion value",
            "Campaign name",
        ),
    ),
    "doubleclick": (
        DOUBLECLICK,
        ("Impressions", "Clicks", "Total Cost", "Total Volume of Bookings", "Amount", "Publisher Name"),
    ),
}
FIELDS = ("impressions", "clicks", "cost", "conversions", "revenue")


@pytest.mark.parametrize("platform", RECOGNISED)
def test_exports_of_three_platforms_are_recognised(platform):
    header, (*expected, segment) = RECOGNISED[platform]
    found = columns_of(header, ColumnChoice(), "ads.csv, row 1")
    assert [found.name(field) for field in FIELDS] == expected
    assert [header[place] for place in found.segments] == [segment]


def test_case_spaces_and_punctuation_do_not_matter():
    header = ["CAMPAIGN_NAME", "impr", "clicks ", "Amount_Spent (usd)", "purchases"]
    with pytest.raises(TableError, match="no column for cost"):  # brackets hold a currency in capitals only
        columns_of(header, ColumnChoice(), "x")
    header[3] = "amount spent (USD)"
    assert columns_of(header, ColumnChoice(), "x").fields["cost"] == 3


def test_a_rate_is_no_count():
    header = ["Campaign", "Impressions", "Clicks", "Cost", "Trans. Conv. %"]
    found = columns_of(header, ColumnChoice(), "x").fields
    assert "conversions" not in found
    assert found["conversion_rate"] == 4


def test_a_person_maps_names_and_wins_over_what_is_recognised():
    words = ["impressions=Imps,clicks=Klicks", "cost=Spent, net", "conversions=Clicks"]
    chosen = parse_choice(words)
    assert chosen == {"impressions": "Imps", "clicks": "Klicks", "cost": "Spent, net", "conversions": "Clicks"}
    header = ["Imps", "Klicks", "Spent, net", "Clicks", "age", "Gender"]
    found = columns_of(header, ColumnChoice(chosen, ("age", "gender")), "x")
    assert found.fields["clicks"] == 1
    assert found.fields["conversions"] == 3
    assert found.segments == (4, 5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["klicks=Clicks"], "Did you mean 'clicks'?"),
        (["clicks"], "write it as field=Column name"),
        (["clicks="], "write it as field=Column name"),
        (["impressions=A,klick=B"], "'klick=B': Did you mean 'clicks'?"),
    ],
)
def test_a_wrong_mapping_is_explained(words, said):
    with pytest.raises(TableError) as caught:
        parse_choice(words)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("header", "choice", "said"),
    [
        (["Campaign", "Impr.", "Clicks"], ColumnChoice(), "no column for cost, conversions. Columns there: Campaign"),
        (["Campaign", "Impr.", "Clicks"], ColumnChoice(), "Recognised names are cost: Cost, Total cost"),
        (["Campaign", "Impr.", "Clicks"], ColumnChoice(), "map others with --columns cost=NAME"),
        (GOOGLE, ColumnChoice({"cost": "Kosten"}), "no column 'Kosten' (--columns cost=...)"),
        (GOOGLE, ColumnChoice({}, ("Region",)), "no column 'Region' (--segment)"),
        (GOOGLE[2:], ColumnChoice(), "no column names the channels: choose one or more with --segment COLUMN"),
        ([*GOOGLE, "Clicks"], ColumnChoice(), "two columns are called 'Clicks'"),
    ],
)
def test_what_is_missing_is_said_with_what_is_there(header, choice, said):
    with pytest.raises(TableError) as caught:
        columns_of(header, choice, "ads.csv, row 3")
    assert str(caught.value).startswith("ads.csv, row 3: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
