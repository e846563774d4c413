"""Intervals as lines of text lie where their numbers do."""

import math

import pytest

from gaelp_ray.cli.drawing import DRAWN, drawn, scale_of
from gaelp_ray.records import Interval


def test_ends_value_and_mark_are_in_their_places():
    assert drawn(5.0, Interval(0.0, 10.0), (0.0, 10.0)) == "├" + "─" * 11 + "●" + "─" * 11 + "┤"
    assert drawn(1.0, Interval(0.5, 2.0), (0.0, 24.0), mark=3.0) == "├●┤┊"
    assert drawn(23.0, Interval(22.0, 24.0), (0.0, 24.0), mark=0.0) == "┊" + " " * 21 + "├●┤"
    assert len(drawn(23.0, Interval(22.0, 24.0), (0.0, 24.0))) == DRAWN


def test_what_lies_beyond_the_scale_ends_at_its_edge():
    assert drawn(5.0, Interval(-math.inf, 9.0), (4.0, 10.0)).startswith("├───●")
    assert len(drawn(5.0, Interval(4.0, 99.0), (4.0, 10.0))) == DRAWN


@pytest.mark.parametrize("scale", [(1.0, 1.0), (math.nan, 2.0)])
def test_without_a_scale_or_a_value_nothing_is_drawn(scale):
    assert drawn(1.0, Interval(1.0, 1.0), scale) == ""
    assert drawn(math.nan, Interval(math.nan, math.nan), (0.0, 1.0)) == ""


def test_scale_holds_all_that_was_measured():
    assert scale_of([Interval(1.0, 2.0), Interval(math.nan, math.nan), Interval(-1.0, 1.5)]) == (-1.0, 2.0)
    assert scale_of([Interval(1.0, 2.0)], 0.0) == (0.0, 2.0)
    assert scale_of([]) == (0.0, 0.0)
