"""The filters and orders of `wandb.Api().runs()`, as MongoDB writes them."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

Get = Callable[[str], Any]
"""The value of a name such as `config.lr`; None where there is none."""

T = TypeVar("T")


def dig(values: Any, name: str) -> Any:
    """`values[a][b]` for the name `a.b`; a key may itself have dots. None where there is nothing."""
    if not name or not isinstance(values, Mapping):
        return None if name else values
    if name in values:
        return values[name]
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        head = ".".join(parts[:length])
        if head in values:
            return dig(values[head], ".".join(parts[length:]))
    return None


def matches(get: Get, filters: Mapping[str, Any]) -> bool:
    """Whether all conditions of a filter hold."""
    return all(_holds(get, name, wanted) for name, wanted in filters.items())


def _holds(get: Get, name: str, wanted: Any) -> bool:
    if name in JOINTS:
        return JOINTS[name](matches(get, one) for one in wanted)
    if name == "$not":
        return not matches(get, wanted)
    if isinstance(wanted, Mapping) and any(key.startswith("$") for key in wanted):
        return all(COMPARISONS[key](get(name), operand) for key, operand in wanted.items())
    return _equal(get(name), wanted)


def _equal(value: Any, wanted: Any) -> bool:
    return bool(value == wanted or (isinstance(value, list) and wanted in value))


def _among(value: Any, wanted: Any) -> bool:
    return any(one in wanted for one in value) if isinstance(value, list) else value in wanted


def _ordered(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    return lambda value, wanted: value is not None and bool(compare(value, wanted))


JOINTS: dict[str, Callable[[Iterable[bool]], bool]] = {"$and": all, "$or": any, "$nor": lambda ones: not any(ones)}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": _equal,
    "$ne": lambda value, wanted: not _equal(value, wanted),
    "$gt": _ordered(operator.gt),
    "$gte": _ordered(operator.ge),
    "$lt": _ordered(operator.lt),
    "$lte": _ordered(operator.le),
    "$in": _among,
    "$nin": lambda value, wanted: not _among(value, wanted),
    "$exists": lambda value, wanted: (value is not None) == wanted,
    "$regex": lambda value, wanted: re.search(wanted, str(value or "")) is not None,
}


def ordered(items: list[T], order: str, get: Callable[[T, str], Any]) -> list[T]:
    """Sorted by `-summary_metrics.roas,+created_at`; those that lack the value come last."""
    for part in reversed([one.strip() for one in order.split(",")]):
        name = part.lstrip("+-")
        having = [item for item in items if isinstance(get(item, name), int | float | str)]
        lacking = [item for item in items if not isinstance(get(item, name), int | float | str)]
        items = sorted(having, key=lambda item: get(item, name), reverse=part.startswith("-")) + lacking
    return items
