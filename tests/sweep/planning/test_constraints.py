"""Bounds on metrics: what keeps them, what breaks them and how that is said, and bounds that make no sense."""

import math

import pytest

from gaelp_ray.records import METRIC_NAMES
from gaelp_ray.sweep.planning.constraints import Constraint, constraint_problems, constraints_of, in_words, violations

WRITTEN = {"max_cpa": 200, "min_ctr": 0.01}
BOTH = constraints_of(WRITTEN)


def problems(written: dict[str, float], min_delivery: float = 0.9) -> list[str]:
    found = list(constraint_problems(written, min_delivery))
    assert all(problem.path[:2] == ("select", "constraints") for problem in found)
    return [f"{problem.path[2]}: {problem.message}" for problem in found]


def test_a_key_is_a_side_and_a_metric():
    assert BOTH == (Constraint("max", "cpa", 200), Constraint("min", "ctr", 0.01))
    assert [constraint.key for constraint in BOTH] == list(WRITTEN)
    assert in_words(BOTH) == "max_cpa 200, min_ctr 0.01"
    assert in_words(()) == ""


def test_a_metric_whose_name_has_an_underscore_is_whole():
    (constraint,) = constraints_of({"max_conversion_rate": 0.5})
    assert (constraint.side, constraint.metric, constraint.key) == ("max", "conversion_rate", "max_conversion_rate")


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"cpa": 213.4, "ctr": 0.02}, ["cpa 213.40 is above max_cpa 200"]),
        ({"cpa": 100.0, "ctr": 0.008}, ["ctr 0.0080 is below min_ctr 0.01"]),
        ({"cpa": 213.4, "ctr": 0.0}, ["cpa 213.40 is above max_cpa 200", "ctr 0.0000 is below min_ctr 0.01"]),
        ({"cpa": 200.0, "ctr": 0.01}, []),
        ({"cpa": math.nan, "ctr": 0.02}, ["cpa was not measured (max_cpa 200)"]),
        ({"cpa": 100.0}, ["ctr was not measured (min_ctr 0.01)"]),
        ({"cpa": math.inf, "ctr": 0.02}, ["cpa inf is above max_cpa 200"]),
        ({"cpa": 200.0004, "ctr": 0.02}, ["cpa 200.0004 is above max_cpa 200"]),
        ({"cpa": 100.0, "ctr": 0.0099999}, ["ctr 0.0099999 is below min_ctr 0.01"]),
    ],
    ids=["above", "below", "both", "at the bound", "nan", "missing", "infinite", "hardly above", "hardly below"],
)  # fmt: skip
def test_what_breaks_a_bound_is_said_with_metric_value_and_bound(metrics, said):
    assert violations(metrics, BOTH) == said


@pytest.mark.parametrize("side", ["min", "max"])
@pytest.mark.parametrize("metric", METRIC_NAMES)
def test_every_metric_can_be_bounded_from_both_sides(metric, side):
    written = {f"{side}_{metric}": 1}
    if written == {"min_delivery": 1}:
        return
    assert problems(written) == []
    broken, kept = (0.5, 1.5) if side == "min" else (1.5, 0.5)
    assert violations({metric: kept}, constraints_of(written)) == []
    assert len(violations({metric: broken}, constraints_of(written))) == 1


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("max_cpaa", "unknown metric 'cpaa'. Did you mean 'cpa'?"),
        ("min_raos", "unknown metric 'raos'. Did you mean 'roas'?"),
        ("max_zebra", "unknown metric 'zebra'. Closest: "),
        ("cpa", "a bound has a side: write min_cpa or max_cpa"),
        ("maxcpa", "write min_ or max_ before the name of a metric. Did you mean 'cpa'?"),
        ("max_", "write min_ or max_ before the name of a metric. "),
        ("limit_roas", "write min_ or max_ before the name of a metric. "),
        ("min_delivery", "this bound has a key of its own: write select.min_delivery"),
    ],
)
def test_a_key_that_bounds_no_metric_is_refused_with_the_remedy(key, said):
    (problem,) = problems({key: 1.0})
    assert problem.startswith(f"{key}: {said}")


def test_bounds_that_no_arm_could_keep_together_are_refused():
    assert problems({"min_cpa": 3, "max_cpa": 2.5}) == ["max_cpa: 2.5 is below min_cpa 3: no arm could keep both"]
    assert problems({"min_cpa": 3, "max_cpa": 3}) == problems({"min_cpa": 3, "max_ctr": 1}) == []


def test_a_ceiling_on_delivery_leaves_room_for_its_floor():
    said = "max_delivery: 0.8 is below select.min_delivery 0.9: no arm could keep both"
    assert problems({"max_delivery": 0.8}) == [said]
    assert problems({"max_delivery": 0.8}, min_delivery=0.5) == problems({"max_delivery": 1.0}) == []


def test_all_problems_are_named_at_once():
    keys = [line.split(":")[0] for line in problems({"max_cpaa": 1, "ctr": 1, "min_roas": 3, "max_roas": 2})]
    assert keys == ["max_cpaa", "ctr", "max_roas"]
