"""Values of a sweep file replaced from the command line: `--set parameters.learning_rate.max=1e-3`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from gaelp_ray.errors import SweepFileError
from gaelp_ray.sweep.format.document import Document, KeyPath
from gaelp_ray.sweep.format.interpolation import yaml_value
from gaelp_ray.sweep.format.parameters import ParameterSpec

HOW = "write key=value, such as --set parameters.learning_rate.max=1e-3"


def overridden(document: Document, settings: Iterable[str]) -> Document:
    """The document with each `key=value` in it, in order; keys that are not there yet are added.

    Keys of mappings are joined by dots, items of a list are numbers from 0, values are YAML. Nested parameters may be
    named as in W&B's file or dotted (`parameters.ppo.clip_range.max`). What the format says against a setting names
    the setting. Raises SweepFileError with one line for each that cannot be followed.
    """
    problems = []
    for setting in settings:
        try:
            document = _with(document, setting)
        except ValueError as error:
            problems.append(f"--set {setting}: {error}")
    if problems:
        raise SweepFileError(problems)
    return document


def _with(document: Document, setting: str) -> Document:
    key, equals, text = setting.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ValueError(HOW)
    path = _path(document.data, parts)
    data = _replaced(document.data, path, yaml_value(text))
    marks = {at: mark for at, mark in document.marks.items() if at[: len(path)] != path}
    new = [path[:length] for length in range(1, len(path) + 1) if path[:length] not in marks]
    settings = {**document.settings, **dict.fromkeys(new, setting)}
    return replace(document, data=data, marks=marks, settings=settings, problems=document.problems_outside(path))


def _path(data: Any, parts: list[str]) -> KeyPath:
    """Where the dotted words lead: known keys first, the longest first, for keys may have dots themselves."""
    path: KeyPath = ()
    while parts:
        if isinstance(data, list):
            key, length = _index(data, parts[0]), 1
        elif data is None or isinstance(data, dict):
            known = (n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in (data or {}))
            length = next(known, 0)
            if not length and path and isinstance(data, dict) and isinstance(data.get("parameters"), dict):
                path, data = (*path, "parameters"), data["parameters"]
                continue
            if not length:
                return (*path, *_new(path, parts))
            key = ".".join(parts[:length])
        else:
            raise ValueError(f"{'.'.join(map(str, path))} is {data!r}, which has no keys")
        path, data, parts = (*path, key), data[key], parts[length:]
    return path


def _index(items: list[Any], word: str) -> Any:
    if not word.isdecimal() or int(word) >= len(items):
        raise ValueError(f"{word!r} is no item of a list of {len(items)}: items count from 0")
    return int(word)


def _new(path: KeyPath, parts: list[str]) -> KeyPath:
    """Keys for words that lead nowhere yet. Only the name of a parameter is likely to have dots."""
    whole = (*path, *parts)
    if not path and parts[0] == "parameters":
        return ("parameters", *_new(("parameters",), parts[1:])) if len(parts) > 1 else ("parameters",)
    if path != ("parameters",):
        return whole[len(path) :]
    *names, last = parts
    if not names or last not in ParameterSpec.model_fields:
        raise ValueError(f"say which key of the parameter, such as parameters.{'.'.join(parts)}.value")
    return ".".join(names), last


def _replaced(data: Any, path: KeyPath, value: Any) -> Any:
    """A copy of data with one value replaced; what YAML's anchors share is left alone."""
    if not path:
        return value
    key, *rest = path
    if isinstance(data, list):
        return [_replaced(item, tuple(rest), value) if number == key else item for number, item in enumerate(data)]
    held = dict(data or {})
    held[str(key)] = _replaced(held.get(str(key)), tuple(rest), value)
    return held
