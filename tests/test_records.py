"""Metrics are ratios of pooled sums; nothing unmeasured becomes a number."""

import math
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from gaelp_ray.records import METRIC_NAMES, RATIOS, SAFETY, EpisodeMetrics, Evaluation, FlightTotals, Interval
from gaelp_ray.results import Comparison, TrialResult, TrialStatus

# A spends 100 at ROAS 3; B spends 10 at ROAS 10. Pooled: 400 / 110; the mean of ratios would be 6.5.
TWO_FLIGHTS = FlightTotals(
    steps=168,
    impressions=np.array([1000.0, 600.0]),
    clicks=np.array([50.0, 14.0]),
    cost=np.array([100.0, 10.0]),
    conversions=np.array([4.0, 1.0]),
    revenue=np.array([300.0, 100.0]),
    budget=np.array([100.0, 100.0]),
    expected_revenue=np.array([310.0, 70.0]),
    oracle_revenue=np.array([400.0, 400.0]),
    bids_above_cap=np.array([7.0, 2.0]),
    shares_above_cap=np.array([1.0, 0.0]),
    short_of_delivery=np.array([0.0, 1.0]),
    hours_off_pace=np.array([5.0, 100.0]),
)
POOLED = TWO_FLIGHTS.pooled()
NOTHING = EpisodeMetrics(1, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
NOBODY = replace(NOTHING, flights=0)


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("roas", 400 / 110),
        ("delivery", 110 / 200),
        ("delivered_roas", 400 / 200),
        ("expected_roas", 380 / 110),
        ("expected_delivered_roas", 380 / 200),
        ("ctr", 64 / 1600),
        ("conversion_rate", 5 / 64),
        ("cpc", 110 / 64),
        ("cpa", 110 / 5),
        ("optimality", 380 / 800),
        ("bid_violations", 9 / 2),
        ("share_violations", 1 / 2),
        ("delivery_violations", 1 / 2),
        ("pacing_violations", 105 / 2),
        ("safety_violations", (9 + 1 + 1 + 105) / 2),
    ],
)
def test_ratios_are_taken_after_pooling(name, by_hand):
    assert getattr(POOLED, name) == pytest.approx(by_hand)


def test_pooling_counts_flights_and_hours():
    assert (POOLED.flights, POOLED.steps) == (2, 336)


@pytest.mark.parametrize("name", RATIOS)
def test_unmeasured_ratio_is_nan(name):
    assert math.isnan(getattr(NOBODY, name))


@pytest.mark.parametrize("name", SAFETY)
def test_a_flight_without_violations_has_none(name):
    assert getattr(NOTHING, name) == 0.0


def test_flight_that_spent_nothing_does_not_change_pooled_roas():
    idle = replace(POOLED, flights=3, budget=POOLED.budget + 100.0)
    assert idle.roas == POOLED.roas


def test_underspending_cannot_win_delivered_roas():
    hack = replace(NOTHING, cost=1.0, revenue=50.0, budget=100.0)
    honest = replace(NOTHING, cost=95.0, revenue=500.0, budget=100.0)
    assert hack.roas > honest.roas
    assert hack.delivered_roas == pytest.approx(50.0 / 100.0)
    assert honest.delivered_roas == pytest.approx(honest.roas * honest.delivery)


def test_delivered_roas_is_roas_without_a_budget_and_beyond_it():
    unbudgeted = replace(NOTHING, cost=50.0, revenue=500.0, budget=0.0)
    overspent = replace(NOTHING, cost=50.0, revenue=500.0, budget=40.0)
    assert unbudgeted.delivered_roas == overspent.delivered_roas == unbudgeted.roas == 10.0


@pytest.mark.parametrize(("chosen", "costs"), [(slice(1), [100.0]), (np.array([1, 0, 1]), [10.0, 100.0, 10.0])])
def test_select_takes_flights_of_every_column_in_that_order(chosen, costs):
    some = TWO_FLIGHTS.select(chosen)
    assert (len(some), some.steps) == (len(costs), TWO_FLIGHTS.steps)
    np.testing.assert_array_equal(some.cost, costs)
    np.testing.assert_array_equal(some.hours_off_pace, TWO_FLIGHTS.hours_off_pace[chosen])


def test_concatenate_keeps_every_flight_in_order():
    three = FlightTotals.concatenate([TWO_FLIGHTS, replace(TWO_FLIGHTS, cost=np.array([7.0, 8.0]))])
    assert len(three) == 4
    assert three.steps == 168
    np.testing.assert_array_equal(three.cost, [100.0, 10.0, 7.0, 8.0])
    np.testing.assert_array_equal(three.oracle_revenue, [400.0] * 4)
    np.testing.assert_array_equal(three.hours_off_pace, [5.0, 100.0, 5.0, 100.0])


def test_pooling_parts_and_pooling_all_agree():
    both = FlightTotals.concatenate([TWO_FLIGHTS, TWO_FLIGHTS]).pooled()
    assert both.roas == pytest.approx(POOLED.roas)
    assert both.cost == 2 * POOLED.cost


def test_as_dict_holds_every_metric_name():
    assert tuple(POOLED.as_dict()) == METRIC_NAMES
    assert POOLED.as_dict()["roas"] == POOLED.roas


def test_logged_names_and_values():
    assert POOLED.as_logged() == pytest.approx(
        {
            "performance/roas": 400 / 110,
            "performance/delivered_roas": 400 / 200,
            "performance/expected_roas": 380 / 110,
            "performance/expected_delivered_roas": 380 / 200,
            "performance/ctr": 0.04,
            "performance/conversion_rate": 5 / 64,
            "performance/avg_cpc": 110 / 64,
            "performance/total_cost": 110.0,
            "performance/total_revenue": 400.0,
            "performance/profit": 290.0,
            "efficiency/cost_per_conversion": 22.0,
            "efficiency/revenue_per_step": 400 / 336,
            "custom/impressions": 1600.0,
            "custom/clicks": 64.0,
            "custom/conversions": 5.0,
            "custom/delivery": 0.55,
            "custom/optimality": 0.475,
            "safety/bid_violations": 4.5,
            "safety/share_violations": 0.5,
            "safety/delivery_violations": 0.5,
            "safety/pacing_violations": 52.5,
            "safety/safety_violations": 58.0,
        }
    )


def test_nothing_measured_is_logged_without_an_exception():
    assert math.isnan(NOTHING.as_logged()["efficiency/revenue_per_step"])


def test_records_are_frozen():
    with pytest.raises(FrozenInstanceError):
        POOLED.cost = 0.0


@pytest.mark.parametrize(
    ("value", "inside"), [(1.0, True), (2.0, True), (0.999, False), (2.001, False), (math.nan, False)]
)
def test_interval_holds_its_ends(value, inside):
    assert (value in Interval(1.0, 2.0)) is inside


@pytest.mark.parametrize(
    ("comparison", "verdict"),
    [
        (Comparison(0.5, Interval(0.1, 0.9)), "above"),
        (Comparison(0.5, Interval(-0.1, 1.1)), "tie"),
        (Comparison(-0.5, Interval(-0.9, -0.1)), "below"),
    ],
)
def test_verdict_needs_an_interval_without_zero(comparison, verdict):
    assert comparison.verdict == verdict


def test_evaluation_as_dict_adds_the_interval():
    evaluation = Evaluation(POOLED, Interval(3.0, 4.0), Interval(2.0, 3.0), 0.95, TWO_FLIGHTS)
    added = {
        "roas_low": 3.0,
        "roas_high": 4.0,
        "expected_delivered_roas_low": 2.0,
        "expected_delivered_roas_high": 3.0,
        "confidence": 0.95,
        "estimator": "expected",
    }
    assert evaluation.as_dict() == POOLED.as_dict() | added


@pytest.mark.parametrize("metrics", [None, {}, {"roas": math.nan}])
def test_trial_without_a_measurement_scores_nan(metrics):
    assert math.isnan(TrialResult("t", TrialStatus.FAILED, {}, {}, metrics=metrics).score("roas"))


@pytest.mark.parametrize(
    ("metric", "score"), [("delivery", 0.9), ("roas", 2.5), ("delivered_roas", 2.25), ("expected_roas", 2.5)]
)
def test_trial_is_scored_with_expected_revenue_where_the_metric_is_a_return(metric, score):
    metrics = {"roas": 3.0, "expected_roas": 2.5, "delivered_roas": 2.7, "expected_delivered_roas": 2.25}
    result = TrialResult("t", TrialStatus.COMPLETED, {}, {}, metrics=metrics | {"delivery": 0.9})
    assert result.score(metric) == score


def test_estimator_is_realised_where_no_expected_revenue_was_reported():
    own = replace(TWO_FLIGHTS, expected_revenue=TWO_FLIGHTS.revenue).pooled()
    assert (POOLED.estimator, own.estimator) == ("expected", "realised")
    assert own.expected_delivered_roas == own.delivered_roas and own.expected_roas == own.roas


def test_trial_status_prints_as_its_value():
    assert f"{TrialStatus.INTERRUPTED}" == "interrupted"


def test_repr_of_flights_is_one_short_line():
    assert repr(TWO_FLIGHTS) == "<FlightTotals 2 flights, 168 steps>"
    evaluation = Evaluation(POOLED, Interval(3.0, 10.0), Interval(1.5, 2.5), 0.95, TWO_FLIGHTS)
    score = "expected delivered ROAS 1.900 [1.500, 2.500]"
    assert repr(evaluation) == f"<Evaluation {score}, ROAS 3.636, delivery 55.0%, 2 flights>"
    unmeasured = Evaluation(NOTHING, *[Interval(math.nan, math.nan)] * 2, 0.95, TWO_FLIGHTS)
    assert repr(unmeasured) == "<Evaluation delivered ROAS nan [nan, nan], ROAS nan, delivery -, 2 flights>"
