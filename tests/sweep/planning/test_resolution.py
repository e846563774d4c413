"""The smallest difference that a race can see is forecast from common episodes of untrained agents."""

from __future__ import annotations

import math

import pytest

from gaelp_ray.evidence.contest import duels
from gaelp_ray.evidence.race_design import pair_boundary
from gaelp_ray.records import SCORE
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.sweep.planning.resolution import AGENTS, measure_resolution
from gaelp_ray.training import EVALUATION_BATCH, Stream, fly_batch
from gaelp_ray.worlds import untrained

FILE = """\
method: grid
metric: {name: roas, goal: maximize}
parameters: {dual.shade: {values: [0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14]}}
trial: {agent_type: BayesDual}
select: {top_k: 3, episodes: 512}
"""


@pytest.fixture
def planned(tmp_path):
    def planned(*settings: str, text: str = FILE):
        path = tmp_path / "trip.yaml"
        path.write_text(text, encoding="utf-8")
        return plan_sweep(path, settings=settings)

    return planned


def test_smallest_difference_follows_from_the_races_boundary_and_the_measured_deviation(planned):
    found = measure_resolution(planned())
    boundary = pair_boundary(0.95, 4 * 512, 4, EVALUATION_BATCH)
    critical = boundary.critical[boundary.looks.index(512)]
    assert (found.arms, found.episodes, found.agents) == (4, 512, AGENTS)
    assert 0.005 < found.deviation < 0.05  # BayesDuals that differ in one constant, by expected revenue
    assert found.smallest == pytest.approx((critical + 0.8416) * found.deviation / math.sqrt(512), rel=1e-4)
    assert found.search == pytest.approx(found.deviation / 16.0)


def test_deviation_is_that_of_a_pair_where_there_are_two_arms(planned):
    plan = planned("parameters.dual.shade.values=[0.1]")
    found = measure_resolution(plan)
    flown = {
        trial.name: fly_batch(
            untrained(plan.market, trial.config), plan.market, EVALUATION_BATCH, [plan.spec.seed, Stream.VALIDATION]
        )
        for trial in plan.trials
    }
    (duel,) = duels(flown, SCORE, 0.95)
    score = sum(flights.pooled().expected_delivered_roas for flights in flown.values()) / 2.0
    error = (duel.found.interval.high - duel.found.difference) / 1.9693  # Student's t with 255 degrees of freedom
    assert found.deviation == pytest.approx(error * 16.0 / score, rel=1e-3)


def test_more_episodes_and_fewer_arms_see_smaller_differences(planned):
    base, longer, fewer = (
        measure_resolution(planned(*settings)).smallest
        for settings in ((), ("select.episodes=2048",), ("select.budget=2048", "select.top_k=1"))
    )
    assert longer < 0.6 * base and fewer < base


@pytest.mark.parametrize(
    "settings",
    [
        ("parameters.dual.shade.values=[0.0]",),  # as the control arm
        ("select.include_default=false", "select.top_k=1"),
        ("select.budget=256",),  # 64 episodes of each arm
    ],
)
def test_where_nothing_can_be_forecast_there_is_none(planned, settings):
    assert measure_resolution(planned(*settings)) is None
