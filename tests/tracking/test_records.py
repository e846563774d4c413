"""What W&B holds is compared with what was recorded, whatever it makes of NaN."""

import math

import pytest

from gaelp_ray.tracking.records import RunRecord, holds, same
from gaelp_ray.tracking.runs import Row, RunIdentity


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        (1, 1.0),
        (0.1, 0.1),
        ("a", "a"),
        (True, True),
        (None, None),
        (None, math.nan),
        ("NaN", math.nan),
        (math.nan, math.nan),
        (math.nan, None),
        (None, {}),
        (math.inf, math.inf),
        ("Infinity", math.inf),
        ("-Infinity", -math.inf),
        ([1, [2, 3]], (1, [2, 3])),
        ({"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": 1}, {"a": 1, "b": {}, "c": None}),
        ({"a": 1, "b": None}, {"a": 1}),
        ({"1": 2}, {1: 2}),
    ],
)
def test_same(held, wanted):
    assert same(held, wanted)


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        (1, 2),
        (1.0, math.nan),
        (math.nan, 1.0),
        ("Infinity", -math.inf),
        (1e308, math.inf),
        ("1", 1),
        ([1, 2], [1, 2, 3]),
        ([1, 2], [2, 1]),
        ({"a": 1, "b": 2}, {"a": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": {"b": 1}}, {"a": {"b": 2}}),
        (None, 0),
        (0, None),
        ("", None),
        ([], None),
        ("a", {"a": 1}),
    ],
)
def test_not_same(held, wanted):
    assert not same(held, wanted)


def test_more_may_be_held_than_is_wanted_but_not_less():
    assert holds({"a": 1, "b": 2}, {"a": 1})
    assert not holds({"a": 1}, {"a": 1, "b": 2})


def test_history_has_every_step_once_in_order_and_the_last_row_of_it():
    rows = [Row(step, 0.0, {"roas": value}) for step, value in [(1, 1.0), (2, 2.0), (3, 3.0), (2, 4.0)]]
    record = RunRecord(RunIdentity("x", "x", "p", "g", "trial", "offline"), {}, rows, {"status": "finished"}, 0)
    assert [(row.step, row.values["roas"]) for row in record.history] == [(1, 1.0), (2, 4.0), (3, 3.0)]
    assert record.told == {"status": "finished", "reason": ""}
