"""Every pooled ratio has the value that EpisodeMetrics has, and an interval that covers as often as it says."""

from dataclasses import replace

import numpy as np
import pytest

from gaelp_ray.evidence.pooled import SUMS, pooled_ratio
from gaelp_ray.evidence.ratios import intervals
from gaelp_ray.records import PER_FLIGHT, FlightTotals


def flights(seed: int, number: int) -> FlightTotals:
    dice = np.random.default_rng(seed)
    arrays = {name: dice.gamma(3.0, 1.0 + at, number) for at, name in enumerate(PER_FLIGHT)}
    return FlightTotals(steps=168, **arrays)


@pytest.mark.parametrize("metric", SUMS)
def test_ratio_and_interval_are_those_of_the_metric(metric):
    totals = flights(1, 200)
    ratio, value = pooled_ratio(totals, metric), getattr(totals.pooled(), metric)
    assert ratio.value == pytest.approx(value)
    assert value in intervals(totals, 0.95)[metric]


@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_intervals_cover_about_as_often_as_they_say(confidence):
    scale = {name: 1.0 + at for at, name in enumerate(PER_FLIGHT)}
    truth = scale["revenue"] / scale["cost"]
    covered = [truth in intervals(flights(seed, 40), confidence)["roas"] for seed in range(600)]
    assert np.mean(covered) == pytest.approx(confidence, abs=0.04)


def test_what_was_not_measured_has_no_interval():
    own = replace(flights(2, 20), budget=np.zeros(20), oracle_revenue=np.full(20, np.nan), clicks=np.zeros(20))
    assert set(intervals(own, 0.95)) == {
        "roas",
        "delivered_roas",
        "expected_roas",
        "expected_delivered_roas",
        "ctr",
        "cpa",
    }
    assert intervals(flights(3, 1), 0.95) == {}
