"""`${VAR}` and `${VAR:-default}` in the strings of a sweep file, and single values that are written as text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

REFERENCE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\})?")
"""An escape, a reference, or the beginning of something that is neither."""


def interpolated(text: str, environment: Mapping[str, str]) -> Any:
    """A string with its references replaced; a single reference is read as YAML, so that it may be a number.

    `$${` stands for `${`. A default stands in for a variable that is unset or empty. Raises ValueError saying what
    is wrong with a reference.
    """
    alone = REFERENCE.fullmatch(text)
    if alone and alone[1]:
        return scalar(_value(alone, environment))
    return REFERENCE.sub(lambda match: _value(match, environment), text)


def _value(match: re.Match[str], environment: Mapping[str, str]) -> str:
    if match[0] == "$${":
        return "${"
    name, default = match[1], match[2]
    if not name:
        raise ValueError("write ${NAME} or ${NAME:-default}; for the characters themselves, $${")
    if default is not None and not environment.get(name):
        return default
    if name not in environment:
        raise ValueError(f"the environment variable {name} is not set: set it, or write ${{{name}:-a default}}")
    return environment[name]


def scalar(text: str) -> Any:
    """A number, truth value, null or text as YAML reads it; 1e-3 is a number here, lists and mappings stay text."""
    value = yaml_value(text)
    return value if value is None or isinstance(value, (bool, int, float, str)) else text


class _Loader(yaml.SafeLoader):
    """YAML 1.2's numbers: 1e-3 is one without a dot, too."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+"), list("-+0123456789")
)


def yaml_value(text: str) -> Any:
    """Anything as YAML reads it, and 1e-3 as a number; text that is no YAML stays as it is."""
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text


def escaped(value: Any) -> Any:
    """The same data, written so that interpolated() gives it back."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, dict):
        return {key: escaped(inner) for key, inner in value.items()}
    return [escaped(inner) for inner in value] if isinstance(value, (list, tuple)) else value
