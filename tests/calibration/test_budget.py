"""The budget that a calibration writes: BayesDual with defaults can spend it, and --budget warns where nothing can."""

import math
from dataclasses import replace

import pytest
from synthetic_exports import Export

from gaelp_ray.agents import make_agent
from gaelp_ray.calibration import ColumnChoice, Wishes, calibrate, validation
from gaelp_ray.calibration.budget import _round_down, choose_budget
from gaelp_ray.calibration.number import Number
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.market import load_market
from gaelp_ray.market.spend import largest_spend
from gaelp_ray.training import evaluate

EXPORTS = {
    "small search": Export(paid_over_bid=(0.4, 0.5, 0.3, 0.2, 0.35, 0.6), clicks=1.5, days=60, log_sd=0.8),
    "two campaigns": Export(paid_over_bid=(0.15, 0.3), clicks=40.0, days=60),
}
LAND = load_market("airfrance-search").landscape
SPENT = Number(29_400.0, "table", "what the channels spent per week of the period")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(validation, "SPLITS", 2)
    monkeypatch.setattr(validation, "FLOOR_SPLITS", 4)


def delivery(market):
    agent = make_agent(GAELPExperimentConfig(agent_type="BayesDual"), market.landscape)
    return evaluate(agent, market, 64, [0]).metrics.delivery


@pytest.mark.parametrize("name", EXPORTS)
def test_bayesdual_delivers_the_calibrated_budget_and_not_the_weekly_spend(tmp_path, name):
    path = EXPORTS[name].write(tmp_path / "ads.csv")
    made = calibrate(path, ColumnChoice(), Wishes("m"))
    market, budget = made.market, made.market.flight.budget
    weekly = 7.0 * sum(row.cost for row in market.channels.rows) / market.period_days.value
    assert delivery(market) >= 0.95
    assert delivery(calibrate(path, ColumnChoice(), Wishes("m", budget=weekly)).market) < 0.93
    assert budget.value < weekly
    assert "% of the " in budget.note and budget.source == "table"
    assert f"budget of a flight: {budget.value:g}, {budget.note}; " in made.remarks[-1]


def test_the_weekly_spend_is_the_budget_where_the_market_can_spend_far_more(tmp_path):
    made = calibrate(Export(days=60).write(tmp_path / "ads.csv"), ColumnChoice(), Wishes("m"))
    weekly = 7.0 * sum(row.cost for row in made.market.channels.rows) / made.market.period_days.value
    assert made.market.flight.budget.value == pytest.approx(weekly, rel=1e-5)
    assert "what the channels spent per week of the period; the market can spend " in made.remarks[-1]


def test_budget_is_the_largest_whose_highest_draw_95_percent_of_flights_can_spend():
    found = choose_budget(LAND, SPENT, None)
    sure = largest_spend(LAND).quantile(0.05) / math.exp(LAND.budget_log_range)
    assert 0.9 * sure < found.number.value <= sure
    assert found.number.source == "table"
    narrow = choose_budget(replace(LAND, budget_log_range=0.0), SPENT, None)
    assert narrow.number.value > 1.9 * found.number.value


def test_a_budget_that_was_given_is_kept_and_warned_of_where_it_cannot_be_spent():
    fine = choose_budget(LAND, SPENT, 9_000.0)
    assert (fine.number.value, fine.number.source) == (9_000.0, "assumed")
    assert fine.remarks == (
        "budget of a flight: 9000, given on the command line; the market can spend 39965 per flight at the highest "
        "bids",
    )
    much = choose_budget(LAND, SPENT, 20_000.0)
    assert much.number.value == 20_000.0
    assert much.remarks[0].startswith("warning: --budget 20000: too large: the market can spend ")
    assert much.remarks[0].endswith("flights draw up to 2.01 x the budget: give 12000 or less")


def test_a_budget_of_few_clicks_is_warned_of():
    assert len(choose_budget(LAND, SPENT, 160.0).remarks) == 1
    few = choose_budget(LAND, SPENT, 16.0)
    assert "warning: 16 buys about 11 clicks: flights of fewer than 25 clicks" in few.remarks[1]


@pytest.mark.parametrize(
    ("amount", "rounded"), [(12345.0, 12000.0), (0.1299, 0.12), (9.99, 9.9), (70.0, 70.0), (1e-5, 1e-5)]
)
def test_budgets_are_rounded_down_to_two_digits(amount, rounded):
    assert _round_down(amount) == rounded
