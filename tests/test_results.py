"""What a sweep returns shows itself in one short line each."""

import numpy as np

from gaelp_ray.records import PER_FLIGHT, Evaluation, FlightTotals, Interval
from gaelp_ray.results import Candidate, SeedResult, Selection, TrialResult, TrialStatus

FLIGHTS = FlightTotals(
    steps=168,
    **{
        name: np.full(512, {"revenue": 10.0, "expected_revenue": 8.0, "budget": 2.0}.get(name, 1.0))
        for name in PER_FLIGHT
    },
)
POOLED = FLIGHTS.pooled()
TRIAL = TrialResult(
    trial="trip-03",
    status=TrialStatus.COMPLETED,
    params={f"ppo.field_{number}": number for number in range(50)},
    config={f"field_{number}": number for number in range(50)},
    metrics=POOLED.as_dict(),
    iterations=1200,
    seeds=(SeedResult(7, POOLED.as_dict(), "somewhere"),),
)
ARM = Candidate(
    "trip-03",
    "candidate",
    Evaluation(POOLED, Interval(9.0, 11.0), Interval(3.5, 4.5), confidence=0.95, totals=FLIGHTS),
    TRIAL,
)


def test_repr_of_a_trial_shows_state_and_score():
    delivered = "expected_delivered_roas 4.000, delivery 50.0%"
    assert repr(TRIAL) == f"<TrialResult trip-03: completed, {delivered}, 1,200 iterations>"
    assert repr(TRIAL.seeds[0]) == f"<SeedResult 7: {delivered}>"
    failed = TrialResult(trial="trip-04", status=TrialStatus.FAILED, params={}, config={}, error="x" * 5000)
    assert repr(failed) == "<TrialResult trip-04: failed, 0 iterations>"


def test_repr_of_an_arm_shows_roas_with_its_interval_and_delivery():
    assert repr(ARM) == "<Candidate trip-03: expected delivered ROAS 4.000 [3.500, 4.500], ROAS 10.000, delivery 50.0%>"


def test_repr_of_a_selection_shows_the_decision_and_its_arm():
    kept = Selection((ARM,) * 20, {}, ARM, "because " * 200, decision="tie")
    assert (
        repr(kept)
        == "<Selection tie, trip-03: expected delivered ROAS 4.000 [3.500, 4.500], ROAS 10.000, delivery 50.0%>"
    )
    none = Selection((ARM,), {"trip-03": "delivers too little"}, None, "no arm delivers 90% of its budget " * 20)
    assert repr(none).startswith("<Selection no winner: no arm delivers 90% of its budget no arm")
    assert len(repr(none)) < 160
