"""The written market file: readable, loadable, sourced, and its validation no part of the market's hash."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from gaelp_ray.calibration import ColumnChoice, Wishes, calibrate, compare_held_out, validation
from gaelp_ray.errors import TableError
from gaelp_ray.market import load_market
from gaelp_ray.market.market import parse_market


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(validation, "SPLITS", 2)
    monkeypatch.setattr(validation, "FLOOR_SPLITS", 8)


@pytest.fixture
def source(truth, tmp_path):
    return truth(rows=60).write(tmp_path / "campaigns.csv")


def test_the_file_holds_the_table_and_its_source(source):
    made = calibrate(source, ColumnChoice(), Wishes("mine", currency="EUR", period_days=20))
    market = made.market
    assert (market.name, market.currency, market.auction) == ("mine", "EUR", "second_price")
    assert [row.name for row in market.channels.rows] == [f"campaign {s}" for s in range(4)]
    rows = np.loadtxt(source, delimiter=",", skiprows=1, usecols=(1, 2, 3, 4, 5))
    written = [(r.impressions, r.clicks, r.cost, r.conversions, r.revenue) for r in market.channels.rows]
    np.testing.assert_allclose(np.sum(written, axis=0), rows.sum(axis=0))
    assert market.sources["table"].startswith(f"campaigns.csv, 240 rows, SHA-256 {made.origin.sha256[:12]}; ")
    assert str(source.parent) not in made.text
    weekly = rows[:, 2].sum() * 7 / 20
    assert market.flight.budget.value < weekly
    assert made.remarks[-1].endswith(
        f"{weekly:.0f} is what the channels spent per week of the period (--budget sets another)"
    )
    assert market.validation == parse_market(made.text, "again").validation
    assert market.validation.cpc.mae.ratio == pytest.approx(made.validation.cpc.mae.ratio, rel=1e-4)


def test_lines_are_short_enough_to_read_and_commented(source):
    text = calibrate(source, ColumnChoice(), Wishes("mine")).text
    assert text.count("\n# ") >= 4
    data = yaml.safe_load(text)
    assert list(data)[:4] == ["name", "description", "currency", "auction"]


@pytest.mark.parametrize("hours", ["avito", "open_bandit", "alimama"])
def test_the_shape_of_the_week_comes_with_its_source(source, hours):
    market = calibrate(source, ColumnChoice(), Wishes("mine", hours=hours)).market
    assert market.hour_of_week.source == hours
    shipped = [load_market(name) for name in ("airfrance-search", "kag-social", "ipinyou-display")]
    own = next(other for other in shipped if other.hour_of_week.source == hours)
    np.testing.assert_allclose(market.hour_of_week.shares, own.hour_of_week.shares, rtol=1e-5)
    assert market.sources[hours].split() == own.sources[hours].split()


def test_what_was_said_and_what_was_assumed_is_marked_so(source):
    wishes = Wishes("mine", order_value=70.0, budget=500.0, auction="first_price")
    made = calibrate(source, ColumnChoice(), wishes)
    assert made.market.outcomes.order_value.value == 70.0
    assert made.market.outcomes.order_value.note == "given on the command line"
    assert all(row.revenue is None for row in made.market.channels.rows)
    assert made.market.flight.budget.value == 500.0
    assert made.market.landscape.pricing.first_price
    assert made.market.period_days.source == "assumed"
    assert "Conv. value is not used: --order-value was given" in made.remarks
    assert "no column of days: 30 days are assumed (--period-days)" in made.remarks


def test_days_of_the_table_are_counted(write):
    rows = "".join(f"{c},2026-01-{day:02},1000,60,30.5,6,{90 * day}\n" for c in "ab" for day in (1, 5, 10))
    made = calibrate(write(f"Campaign,Day,Impr.,Clicks,Cost,Conversions,Revenue\n{rows}"), ColumnChoice(), Wishes("m"))
    assert (made.market.period_days.value, made.market.period_days.source) == (10, "table")
    assert "2026-01-01 to 2026-01-10 (Day)" in made.market.sources["table"]
    assert made.market.flight.budget.source == "table"


def test_names_that_yaml_could_misread_survive(source):
    text = Path(source).read_text(encoding="utf-8").replace("campaign 0", "yes").replace("campaign 1", "12")
    source.write_text(text.replace("campaign 2", "a: b # c"), encoding="utf-8")
    market = calibrate(source, ColumnChoice(), Wishes("null")).market
    assert market.name == "null"
    assert [row.name for row in market.channels.rows] == ["yes", "12", "a: b # c", "campaign 3"]


def test_the_validation_is_no_part_of_the_hash(source):
    market = calibrate(source, ColumnChoice(), Wishes("mine")).market
    assert market.model_copy(update={"validation": None}).hash == market.hash
    assert market.variant("nominal").validation == market.validation


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"order_value": 0.0}, "--order-value 0: must be a number above 0"),
        ({"budget": -5.0}, "--budget -5: must be a number above 0"),
        ({"period_days": float("inf")}, "--period-days inf: must be a number above 0"),
        ({"hours": "avitto"}, "--hours 'avitto': Did you mean 'avito'?"),
    ],
)
def test_wishes_that_cannot_be_met_are_one_line(source, change, said):
    with pytest.raises(TableError) as caught:
        calibrate(source, ColumnChoice(), replace(Wishes("mine"), **change))
    assert str(caught.value) == said


def test_a_table_without_revenue_needs_an_order_value(write):
    text = "Campaign,Impr.,Clicks,Cost,Conversions\na,1000,60,30,6\nb,1000,60,30,6\n"
    with pytest.raises(TableError, match=r"ads\.csv: no column of revenue: .* --order-value"):
        calibrate(write(text), ColumnChoice(), Wishes("m"))
    zero = "Campaign,Impr.,Clicks,Cost,Conversions,Revenue\na,1000,60,30,6,0\nb,1000,60,30,6,0\n"
    with pytest.raises(TableError, match=r"ads\.csv: Revenue is 0 in every row: .* --order-value"):
        calibrate(write(zero), ColumnChoice(), Wishes("m"))
    assert calibrate(write(zero), ColumnChoice(), Wishes("m", order_value=5.0)).market.landscape.order_value[0] == 5.0


def test_a_random_half_of_every_channel_is_held_out_for_comparison(source):
    made = calibrate(source, ColumnChoice(), Wishes("mine"), seed=5)
    held = made.market.held_out
    assert (held.kind, held.source, len(held.rows)) == ("parts", "table", 4)
    assert "default_rng([5, 2])" in held.note
    rows = np.loadtxt(source, delimiter=",", skiprows=1, usecols=(1, 2, 3, 4, 5))
    half = np.random.default_rng([5, 2]).random(len(rows)) < 0.5
    written = [(r.impressions, r.clicks, r.cost, r.conversions, r.revenue) for r in held.rows]
    np.testing.assert_allclose(np.sum(written, axis=0), rows[half].sum(axis=0), rtol=1e-5)
    assert made.market.model_copy(update={"held_out": None}).hash == made.market.hash
    found = compare_held_out(made.market, samples=50).as_dict()
    assert found["campaigns"] == 4
    assert 0.7 < found["roas_mae_ratio"] < 1.4


def test_too_few_halves_to_compare_are_no_block(write):
    text = "Campaign,Impr.,Clicks,Cost,Conversions,Revenue\n" + "a,1000,60,30,6,90\nb,1000,60,30,6,90\n" * 9
    made = calibrate(write(text), ColumnChoice(), Wishes("m"))
    assert made.market.held_out is None
    assert "held_out" not in made.text
