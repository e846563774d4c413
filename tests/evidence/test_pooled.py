"""Metrics as ratios with a known error are the metrics of records.py."""

import numpy as np
import pytest

from gaelp_ray.evidence.pooled import COUNTS, SUMS, pooled_ratio
from gaelp_ray.records import PER_FLIGHT, FlightTotals


def flights(**zero: float) -> FlightTotals:
    dice = np.random.default_rng(1)
    arrays = {name: dice.uniform(1.0, 9.0, 50) for name in PER_FLIGHT}
    return FlightTotals(steps=168, **arrays | {name: np.full(50, value) for name, value in zero.items()})


@pytest.mark.parametrize("metric", [*SUMS, *COUNTS, "safety_violations"])
def test_value_is_that_of_the_metric(metric):
    found = pooled_ratio(flights(), metric)
    assert found is not None and found.value == pytest.approx(flights().pooled().as_dict()[metric])
    assert len(found.influence) == 50 and found.deviation > 0


@pytest.mark.parametrize("metric", ["profit", "cost", "flights"])
def test_what_is_no_ratio_of_sums_has_none(metric):
    assert pooled_ratio(flights(), metric) is None


@pytest.mark.parametrize("budget", [0.0, 1.0, 1000.0])
def test_delivered_roas_divides_by_the_larger_of_budget_and_cost(budget):
    found = pooled_ratio(flights(budget=budget), "delivered_roas")
    assert found is not None and found.value == pytest.approx(flights(budget=budget).pooled().delivered_roas)


def test_what_was_not_measured_has_none():
    assert pooled_ratio(flights(conversions=0.0), "cpa") is None
    assert pooled_ratio(flights(oracle_revenue=np.nan), "optimality") is None
