"""What pydantic finds wrong with a sweep file, in a person's words: what, and how to mend it."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from gaelp_ray.config import explain
from gaelp_ray.errors import closest, known_names
from gaelp_ray.sweep.format.document import KeyPath
from gaelp_ray.sweep.format.parameters import KEYS, Block
from gaelp_ray.sweep.format.spec import SweepSpec

LISTING = "gaelp-ray schema"
"""The command that lists every key of a sweep file."""

SCHEDULERS = ("none", "asha", "hyperband", "median", "pbt", "pb2")
SHORT_FORMS = {"metric": "name", "scheduler": "type", "early_terminate": "type"}
CUSTOM = "custom hands the search to a program of W&B's: use random, grid or bayes"
SEVERAL = "one metric decides here: write it under `metric`, and bounds on others under `select.constraints`"
NESTED = "write nested parameters under a key `parameters`"
LIKE = 0.65
"""Similarity from which a word counts as a misspelt one, and what it holds is checked as that."""

UNCHECKED = "Its other keys were not checked"

DISTRIBUTIONS = {
    "loguniform": "log_uniform_values",  # of Ray and Optuna; log_uniform takes exponents
    "logfloat": "log_uniform_values",
    "qloguniform": "q_log_uniform_values",
    "lograndint": "q_log_uniform_values",
    "quniform": "q_uniform",
    "qrandint": "q_uniform",
    "discreteuniform": "q_uniform",
    "randint": "int_uniform",
    "int": "int_uniform",
    "float": "uniform",
    "choice": "categorical",
    "gridsearch": "categorical",
    "randn": "normal",
    "gaussian": "normal",
    "qrandn": "q_normal",
    "lognormal": "log_normal",
}
"""What Ray Tune, Optuna and Hyperopt call a distribution, in lower case without separators, and W&B's name for it."""

ALIASES = {
    **dict.fromkeys(("low", "lower", "minimum"), "min"),
    **dict.fromkeys(("high", "upper", "maximum"), "max"),
    **{"mean": "mu", "std": "sigma", "sd": "sigma"},
    **{"choices": "values", "categories": "values", "weights": "probabilities"},
}
"""What they call the keys of one."""


def place(detail: Mapping[str, Any]) -> KeyPath:
    """The path of the key that a pydantic problem is about."""
    path = tuple(detail["loc"])
    # The second word of a scheduler's problem is its type, which chose the model.
    return (path[0], *path[2:]) if path[:1] == ("scheduler",) and len(path) > 1 else path


def in_words(detail: Mapping[str, Any]) -> str:
    """A pydantic problem in a person's words."""
    kind, value, path = detail["type"], detail["input"], place(detail)
    if kind == "extra_forbidden":
        return _unknown_key(detail)
    if kind in ("model_type", "model_attributes_type"):
        return f"{value!r} is no mapping of keys{_short_form(path, value)}"
    fixed = {
        "missing": "the key is missing",
        "value_error": detail["msg"].removeprefix("Value error, "),
        "recursion_loop": "nested too deeply",
        "union_tag_not_found": f"the key type is missing: one of {', '.join(SCHEDULERS)}. {UNCHECKED}",
    }
    return fixed.get(kind) or _unknown_choice(detail) or explain(detail["msg"], value)


def meant(detail: Mapping[str, Any]) -> str | None:
    """The known key or choice that an unknown one most likely stands for; None if none is close."""
    kind, value, path = detail["type"], detail["input"], place(detail)
    if kind == "extra_forbidden":
        key, known = str(path[-1]), known_keys(detail["loc"])
        alias = ALIASES.get(key.lower()) if "distribution" in known else None
        return alias or closest(key, known, LIKE)
    if kind == "union_tag_invalid":
        return closest(str(value["type"]), SCHEDULERS, LIKE)
    if kind == "literal_error" and path[-1] == "distribution":
        plain = re.sub("[^a-z]", "", str(value).lower())
        return DISTRIBUTIONS.get(plain) or closest(str(value), KEYS, LIKE)
    if kind != "literal_error":
        return None
    return closest(str(value), re.findall("'(.*?)'", detail["ctx"]["expected"]), LIKE)


def is_unnested(detail: Mapping[str, Any]) -> bool:
    """Whether an unknown key of a parameter holds a mapping, as nested parameters without the key `parameters` do."""
    unknown = detail["type"] == "extra_forbidden" and isinstance(detail["input"], dict)
    return unknown and "distribution" in known_keys(detail["loc"])


def _unknown_choice(detail: Mapping[str, Any]) -> str:
    """Of a long list, the closest; empty for a short one, which is best shown whole."""
    kind, value, path = detail["type"], detail["input"], place(detail)
    if kind == "union_tag_invalid":
        text = f"unknown type {value['type']!r}. {_hint(detail, str(value['type']), SCHEDULERS)}"
        return text if meant(detail) or len(value) == 1 else f"{text} {UNCHECKED}"
    if kind == "literal_error" and path[-1] == "distribution":
        return f"unknown distribution {value!r}. {_hint(detail, str(value), KEYS)}"
    return CUSTOM if (kind, path, value) == ("literal_error", ("method",), "custom") else ""


def _unknown_key(detail: Mapping[str, Any]) -> str:
    path = place(detail)
    if path == ("metrics",):
        return SEVERAL
    if is_unnested(detail):
        return f"unknown key: {NESTED}"
    return f"unknown key. {_hint(detail, str(path[-1]), known_keys(detail['loc']))}"


def _hint(detail: Mapping[str, Any], name: str, known: Iterable[str]) -> str:
    likely = meant(detail)
    return f"Did you mean {likely!r}?" if likely else known_names(name, known, LISTING)


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
