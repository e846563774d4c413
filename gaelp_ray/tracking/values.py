"""What W&B and JSON can take of what a person hands over. Pure: what is wrong is returned, not raised."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel

from gaelp_ray.checkpoint import plain


@dataclass(frozen=True)
class Sifted:
    """Metrics that can be logged, and for every other one what is wrong with it."""

    good: dict[str, Any]
    wrong: dict[str, str]


def sift(values: Mapping[Any, Any], prefix: str, texts: bool = False) -> Sifted:
    """Finite numbers under `prefix`/name, nested mappings under prefix/name/part; with `texts` also texts.

    None says that nothing was measured: it is left out, and nothing is wrong with it.
    """
    good: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}/{key}"
        if isinstance(value, Mapping):
            inner = sift(value, name, texts)
            good |= inner.good
            wrong |= inner.wrong
        elif problem := _problem(value, texts):
            wrong[name] = problem
        elif value is not None:
            good[name] = value if isinstance(value, str) else float(value)
    return Sifted(good, wrong)


def _problem(value: Any, texts: bool) -> str:
    """Empty for what can be logged."""
    if value is None or (isinstance(value, str) and texts):
        return ""
    if not isinstance(value, (bool, int, float, np.number, np.bool_)) or isinstance(value, np.complexfloating):
        return f"{_shortened(value)} is no number"
    return "" if math.isfinite(number(value)) else f"{value} is no finite number"


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def number(value: Any) -> float:
    """A number as a float; NaN for anything else, and for what is too large for one."""
    if not isinstance(value, (bool, int, float, np.number, np.bool_)) or isinstance(value, np.complexfloating):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def readable(content: Any) -> Any:
    """Content as strict JSON can hold it: NaN as null, arrays as lists, what JSON does not know as its text."""
    return plain(json.loads(json.dumps(plain(content), default=_told)))


def _told(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return sorted(map(str, value)) if isinstance(value, (set, frozenset)) else str(value)


def file_name(name: str) -> str:
    """A name that files and artifacts can have."""
    return re.sub(r"[^\w.-]", "-", name, flags=re.ASCII).lstrip(".") or "-"
