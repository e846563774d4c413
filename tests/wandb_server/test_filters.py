"""MongoDB's filters and W&B's orders."""

from __future__ import annotations

from typing import Any

import pytest

from wandb_server.filters import dig, matches, ordered

RUN: dict[str, Any] = {"roas": 2.0, "tags": ["a", "b"], "name": "trip-1"}


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"roas": 2.0},
        {"tags": "a"},
        {"roas": {"$gt": 1, "$lte": 2}},
        {"name": {"$regex": "^trip"}},
        {"tags": {"$in": ["b", "c"]}},
        {"name": {"$nin": ["x"], "$ne": "y"}},
        {"missing": {"$exists": False}},
        {"$and": [{"roas": 2.0}, {"tags": "b"}]},
        {"$or": [{"roas": 9}, {"tags": "b"}]},
        {"$nor": [{"roas": 9}]},
        {"$not": {"roas": 9}},
    ],
    ids=str,
)
def test_a_filter_holds_and_its_negation_does_not(filters: dict[str, Any]) -> None:
    assert matches(RUN.get, filters)
    assert not matches(RUN.get, {"$not": filters})


def test_nothing_is_greater_or_less_than_a_missing_value() -> None:
    assert not matches(RUN.get, {"missing": {"$gt": 0}})
    assert not matches(RUN.get, {"missing": {"$lt": 0}})


@pytest.mark.parametrize(
    ("name", "found"), [("a.b", 1), ("c.d", 2), ("c.d.e", None), ("f.g.h", 3), ("x", None), ("f.g", {"h": 3})]
)
def test_names_with_dots(name: str, found: Any) -> None:
    assert dig({"a.b": 1, "c": {"d": 2}, "f.g": {"h": 3}}, name) == found


def test_order_is_stable_and_puts_what_lacks_the_value_last() -> None:
    items: list[dict[str, Any]] = [{"n": 1, "k": "b"}, {"n": 2, "k": "a"}, {"k": "a"}, {"n": 3, "k": "b"}]
    get = dict.get
    assert [item.get("n") for item in ordered(items, "-n", get)] == [3, 2, 1, None]
    assert [item.get("n") for item in ordered(items, "+k,-n", get)] == [2, None, 3, 1]
