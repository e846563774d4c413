"""What counts as a search space that holds all of another one."""

from __future__ import annotations

import pytest

from gaelp_ray.sweep.format.parameters import ParameterSpec
from gaelp_ray.sweep.planning.superset import narrowed

FIELDS = {"x": 0.5, "whole": 3, "none": None, "word": "a"}
LOG = {"distribution": "log_uniform_values", "min": 0.1, "max": 1.0}
STEPS = {"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.5}
NORMAL = {"distribution": "normal", "mu": 0.0, "sigma": 1.0}
WEIGHTED = {"values": [1, 2], "probabilities": [0.5, 0.5]}


def lines(before, after, grid=False):
    spaces = ({name: ParameterSpec(**keys) for name, keys in space.items()} for space in (before, after))
    return list(narrowed(*spaces, FIELDS, grid))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"values": [1, 2]}, {"values": [3, 2.0, 1]}),
        ({"value": 1}, {"values": [0, 1]}),
        ({"value": 1.5}, {"min": 1.0, "max": 2.0}),
        ({"min": 1, "max": 4}, {"min": 0, "max": 4}),
        ({"min": 0.1, "max": 1.0}, {"min": 0.1, "max": 2.0}),
        (LOG, LOG | {"min": 0.01}),
        (STEPS, STEPS | {"max": 2.0}),
        (NORMAL, NORMAL),
        (WEIGHTED, {"values": [1, 2, 3], "probabilities": [0.2, 0.2, 0.6]}),
    ],
)
def test_wider(before, after):
    assert lines({"x": before}, {"x": after}) == []


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ({"values": [1, 2]}, {"values": [1, 3]}, "2 must stay among its values"),
        ({"values": [1, 2]}, {"min": 0, "max": 9}, "it is categorical, and int_uniform is no wider one"),
        ({"values": [1, 2]}, WEIGHTED, "it is categorical, and categorical_w_probabilities is"),
        ({"value": 1}, {"values": [2, 3]}, "all trials so far have 1, which"),
        ({"value": 3.0}, {"min": 1.0, "max": 2.0}, "all trials so far have 3.0"),
        ({"value": 1.5}, {"min": 1, "max": 4}, "all trials so far have 1.5"),
        ({"value": 0.7}, STEPS, "all trials so far have 0.7"),
        ({"value": "a"}, {"min": 1, "max": 4}, "all trials so far have 'a'"),
        ({"min": 1, "max": 4}, {"min": 1, "max": 4.5}, "it is int_uniform, and uniform is no wider one"),
        ({"min": 0.1, "max": 1.0}, LOG, "it is uniform, and log_uniform_values is no wider one"),
        (LOG, LOG | {"max": 0.9}, "0.1 to 0.9 does not hold all of 0.1 to 1.0"),
        (LOG, LOG | {"min": 0.2}, "0.2 to 1.0 does not hold all of 0.1 to 1.0"),
        (STEPS, STEPS | {"q": 0.25}, "its q is 0.5, and only min and max may change"),
        (NORMAL, NORMAL | {"sigma": 2.0}, "its sigma is 1.0, and only min and max may change"),
    ],
)
def test_narrower_or_other(before, after, why):
    (line,) = lines({"x": before}, {"x": after})
    assert line.startswith("parameters.x: ") and why in line


def test_steps_of_a_grid_stay_where_they_were():
    shifted = STEPS | {"min": -0.25}
    assert lines({"x": STEPS}, {"x": shifted}) == []
    assert lines({"x": STEPS}, {"x": shifted}, grid=True) == ["parameters.x: 0.0, 0.5 must stay among its values"]


def test_a_new_parameter_holds_what_trials_have_without_it():
    known = {"x": {"value": 1}}
    assert lines(known, known | {"whole": {"min": 1, "max": 4}, "none": {"values": [None, 1.0]}}) == []
    assert lines(known, known | {"whole": {"min": 4, "max": 5}}) == [
        "parameters.whole: all trials so far have 3, which must be among its values"
    ]
    (line,) = lines(known, known | {"none": {"min": 0.0, "max": 1.0}})
    assert "have None" in line


def test_nested_and_dotted_names_are_the_same_and_none_may_be_left_out():
    nested = {"ppo": {"parameters": {"epochs": {"values": [1]}}}}
    assert lines(nested, {"ppo.epochs": {"values": [1, 2]}}) == []
    assert lines(nested | {"x": {"value": 1}}, nested) == [
        "parameters.x: trials have values of it, so it cannot be left out"
    ]
