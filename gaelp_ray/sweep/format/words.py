"""What pydantic finds wrong with a sweep file, in a person's words: what, and how to mend it."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from gaelp_ray.config import explain
from gaelp_ray.errors import did_you_mean
from gaelp_ray.sweep.format.document import KeyPath
from gaelp_ray.sweep.format.parameters import KEYS, Block
from gaelp_ray.sweep.format.spec import SweepSpec

SCHEDULERS = ("none", "asha", "hyperband", "median", "pbt", "pb2")
SHORT_FORMS = {"metric": "name", "scheduler": "type", "early_terminate": "type"}
CUSTOM = "custom hands the search to a program of W&B's: use random, grid or bayes"
SEVERAL = "one metric decides here: write it under `metric`, and bounds on others under `select.constraints`"
NESTED = "write nested parameters under a key `parameters`"


def place(detail: Mapping[str, Any]) -> KeyPath:
    """The path of the key that a pydantic problem is about."""
    path = tuple(detail["loc"])
    # The second word of a scheduler's problem is its type, which chose the model.
    return (path[0], *path[2:]) if path[0] == "scheduler" and len(path) > 1 else path


def in_words(detail: Mapping[str, Any]) -> str:
    """A pydantic problem in a person's words."""
    kind, value, path = detail["type"], detail["input"], place(detail)
    if kind == "extra_forbidden":
        return _unknown_key(path, detail["loc"], value)
    if kind in ("model_type", "model_attributes_type"):
        return f"{value!r} is no mapping of keys{_short_form(path, value)}"
    fixed = {
        "missing": "the key is missing",
        "value_error": detail["msg"].removeprefix("Value error, "),
        "recursion_loop": "nested too deeply",
        "union_tag_not_found": f"the key type is missing: one of {', '.join(SCHEDULERS)}",
    }
    return fixed.get(kind) or _unknown_choice(kind, path, value) or explain(detail["msg"], value)


def _unknown_choice(kind: str, path: KeyPath, value: Any) -> str:
    """Of a long list, the closest; empty for a short one, which is best shown whole."""
    if kind == "union_tag_invalid":
        written = value.get("type")
        return f"unknown type {written!r}. {did_you_mean(str(written), SCHEDULERS)}"
    if kind == "literal_error" and path[-1] == "distribution":
        return f"unknown distribution {value!r}. {did_you_mean(str(value), KEYS)}"
    return CUSTOM if (kind, path, value) == ("literal_error", ("method",), "custom") else ""


def _unknown_key(path: KeyPath, loc: KeyPath, value: object) -> str:
    if path == ("metrics",):
        return SEVERAL
    known = known_keys(loc)
    text = f"unknown key. {did_you_mean(str(path[-1]), known)}"
    inside = isinstance(value, dict) and "distribution" in known
    return f"unknown key: {NESTED}" if inside else text


def _short_form(path: KeyPath, value: object) -> str:
    """The remedy where somebody wrote `learning_rate: 0.1` or `metric: roas`."""
    if path[0] == "parameters":
        return f": write {{values: {value}}}" if isinstance(value, list) else f": write {{value: {value}}}"
    key = SHORT_FORMS.get(str(path[0]))
    return f": write {{{key}: {value}}}" if key and len(path) == 1 else ""


def known_keys(loc: KeyPath) -> list[str]:
    """Keys that may stand where pydantic found an unknown one."""
    model: type[BaseModel] = SweepSpec
    rest = list(loc[:-1])
    while rest:
        field = model.model_fields.get(str(rest.pop(0)))
        models = _models(field.annotation) if field else []
        if not models:
            return []
        if len(models) > 1 and rest:  # a scheduler: its type comes next
            tag = rest.pop(0)
            models = [one for one in models if tag in _choices(one, "type")]
        elif _is_mapping(field.annotation if field else None) and rest:
            rest.pop(0)
        model = models[0]
    return list(model.model_fields)


def _models(annotation: Any) -> list[type[Block]]:
    """Models that an annotation speaks of."""
    if isinstance(annotation, type) and issubclass(annotation, Block):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models(part)]


def _is_mapping(annotation: Any) -> bool:
    return typing.get_origin(annotation) is dict or any(_is_mapping(part) for part in typing.get_args(annotation))


def _choices(model: type[BaseModel], field: str) -> tuple[Any, ...]:
    """Literals of a field's annotation."""
    annotation = model.model_fields[field].annotation
    parts = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return parts
    return tuple(choice for part in parts for choice in typing.get_args(part))
