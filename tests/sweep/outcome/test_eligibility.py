"""Who may win: what is a fault, in which words, and when it is certain."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from synthetic_arms import Field, Truth

from gaelp_ray.evidence.sequences import ConfidenceSequence
from gaelp_ray.records import PER_FLIGHT, FlightTotals
from gaelp_ray.sweep.outcome.eligibility import Eligibility
from gaelp_ray.sweep.planning.constraints import constraints_of

SEQUENCE = ConfidenceSequence(0.05, 512)


def flown(roas: float = 5.0, delivery: float = 0.95, delivery_sd: float = 0.01, flights: int = 512) -> FlightTotals:
    field = Field({"a": Truth(roas, delivery=delivery, delivery_sd=delivery_sd)}, 1)
    return field.fly(["a"], 0, flights)["a"]


def exactly(flights: int = 256, **each: float) -> FlightTotals:
    """Flights that are all alike."""
    given = {"cost": 95.0, "budget": 100.0, "revenue": 475.0, "expected_revenue": 475.0} | each
    values = {name: np.full(flights, given.get(name, 1.0)) for name in PER_FLIGHT}
    return FlightTotals(steps=168, **values)


def kept(**bounds: float) -> Eligibility:
    return Eligibility(0.9, constraints_of(bounds))


def test_what_delivers_and_keeps_its_bounds_has_no_fault():
    assert kept(max_cpa=95.0, min_roas=5.0).fault(exactly().pooled()) == ""  # at its bounds


def test_a_fault_says_all_of_it_in_one_line():
    fault = kept(min_roas=6.0, max_cpa=40.0).fault(exactly(cost=50.0, revenue=250.0).pooled())
    assert fault == (
        "delivers 50.00% of the budget, below min_delivery 90%; "
        "roas 5.00 is below min_roas 6.0 and cpa 50.00 is above max_cpa 40.0"
    )


def test_who_spends_nothing_has_no_roas_and_certainly_may_not_win():
    idle = exactly(cost=0.0, revenue=0.0)
    assert Eligibility(0.0).fault(idle.pooled()) == "spent nothing, so that its ROAS is undefined"
    assert Eligibility(0.0).certainly(idle, SEQUENCE) is False


def test_without_a_budget_there_is_nothing_to_deliver():
    unbudgeted = exactly(budget=0.0)
    assert math.isnan(unbudgeted.pooled().delivery)
    assert Eligibility(0.9).undelivered(unbudgeted.pooled()) == ""
    assert Eligibility(0.9).certainly(unbudgeted, SEQUENCE) is True


@pytest.mark.parametrize(("delivery", "said"), [(0.8, False), (0.9, None), (0.97, True)])
def test_delivery_is_certain_when_its_interval_is_on_one_side(delivery, said):
    assert Eligibility(0.9).certainly(flown(delivery=delivery, delivery_sd=0.05), SEQUENCE) is said


@pytest.mark.parametrize(("flights", "said"), [(32, None), (4096, False)])
def test_more_flights_make_it_certain(flights, said):
    assert Eligibility(0.9).certainly(flown(delivery=0.88, delivery_sd=0.2, flights=flights), SEQUENCE) is said


@pytest.mark.parametrize(("bound", "said"), [(4.0, True), (5.0, None), (6.5, False)])
def test_constraints_on_ratios_are_certain_as_delivery_is(bound, said):
    assert kept(min_roas=bound).certainly(flown(), SEQUENCE) is said


def test_one_bound_that_is_certainly_broken_is_enough_and_one_that_is_open_leaves_it_open():
    assert kept(min_roas=5.0, max_roas=4.0).certainly(flown(), SEQUENCE) is False
    assert kept(min_roas=5.0, min_delivery=0.5).certainly(flown(), SEQUENCE) is None


def test_bound_on_delivered_roas_has_an_interval():
    assert kept(min_delivered_roas=4.0).certainly(flown(), SEQUENCE) is True
    assert kept(min_delivered_roas=9.0).certainly(flown(), SEQUENCE) is False


def test_a_bound_without_an_interval_counts_as_it_is_at_present():
    unmeasured = exactly(oracle_revenue=0.0)
    assert kept(min_optimality=0.5).certainly(unmeasured, SEQUENCE) is None


def test_delivery_is_a_bound_among_the_others_unless_it_is_not_asked_for():
    assert [bound.key for bound in kept(max_cpa=200.0).bounds] == ["min_delivery", "max_cpa"]
    assert [bound.key for bound in replace(kept(max_cpa=200.0), min_delivery=0.0).bounds] == ["max_cpa"]


@pytest.mark.parametrize(
    ("validation", "is_kept"),
    [
        ({"delivery": 0.95, "cpa": 90.0}, True),
        ({"delivery": 0.85, "cpa": 90.0}, False),
        ({"delivery": 0.95, "cpa": 110.0}, False),
        ({"delivery": math.nan, "cpa": 90.0}, True),
        ({"cpa": 90.0}, True),
    ],
)
def test_validation_metrics_keep_all_bounds_or_not(validation, is_kept):
    assert kept(max_cpa=100.0).is_kept_by(validation) is is_kept


def test_bounds_on_sums_are_no_bounds_of_any_number_of_flights():
    both = kept(max_cost=100.0, max_cpa=200.0, max_bid_violations=3.0)
    assert [bound.key for bound in both.of_any_flights.constraints] == ["max_cpa", "max_bid_violations"]
    assert both.of_any_flights.min_delivery == 0.9
    assert "cost" in both.fault(exactly().pooled()) and both.of_any_flights.fault(exactly().pooled()) == ""


def test_what_is_asked_of_a_winner_in_words():
    assert Eligibility(0.9).that_may_win(exactly().pooled()) == " that deliver the budget"
    assert kept(max_cpa=200).that_may_win(exactly().pooled()) == " that deliver the budget and keep max_cpa 200"
    assert kept(max_cpa=200).that_may_win(exactly(budget=0.0).pooled()) == " that keep max_cpa 200"
    assert Eligibility(0.9).that_may_win(exactly(budget=0.0).pooled()) == ""
