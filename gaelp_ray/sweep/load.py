"""From a sweep file to a SweepSpec, and every problem of its format in a person's words.

load_sweep() checks keys, types and the parameter syntax. Whether the parameters are fields of a trial is checked where
trials are planned (plan.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from gaelp_ray.config import explain
from gaelp_ray.errors import did_you_mean
from gaelp_ray.sweep.document import Document, KeyPath, Problem, read_document
from gaelp_ray.sweep.spec import NO_END, ParameterSpec, SweepSpec

LAUNCHER_KEYS = frozenset({"program", "command", "controller", "job", "image_uri", "settings", "kind", "apiVersion"})
"""Keys of W&B's own launcher: accepted, reported as unused, ignored."""

NOT_YET = frozenset({"early_terminate", "scheduler", "target", "mu", "sigma", "q", "a", "b", "parameters"})
"""Keys of W&B's format that change a sweep's outcome and that nobody here acts on: refused, not ignored."""


def load_sweep(path: str | Path) -> SweepSpec:
    """A sweep file as a SweepSpec. Raises SweepFileError with every problem of its format, each with its line."""
    document = read_document(Path(path))
    spec, problems = parse(document)
    if problems or spec is None:
        raise document.complain(problems)
    return spec


def parse(document: Document) -> tuple[SweepSpec | None, list[Problem]]:
    """The spec and the problems of a document's format.

    Where there are problems, the spec is what remains without the keys that have them, so that a caller can go on
    complaining about the rest; None where nothing sensible remains.
    """
    data = {key: value for key, value in document.data.items() if key not in LAUNCHER_KEYS}
    data.setdefault("name", Path(document.where).stem)
    try:
        return SweepSpec.model_validate(data), []
    except ValidationError as error:
        details = error.errors()
    problems = [_problem(detail) for detail in details]
    if data.get("method") == "random" and "run_cap" not in data and all(problem.path for problem in problems):
        problems.append(Problem((), NO_END))  # pydantic asks this only of a file without other problems
    for detail in details:
        _drop(data, detail["loc"])
    try:
        return SweepSpec.model_validate(_filled(data)), problems
    except ValidationError:
        return None, problems


def _filled(data: dict[str, Any]) -> dict[str, Any]:
    """Stand-ins for required keys that had problems, so that the rest can be checked; nothing is run with them."""
    stand_ins = {"name": "unnamed", "method": "random", "run_cap": 1}
    parameters = data.get("parameters") or {"batch_size": {"value": 32}}
    return stand_ins | data | {"parameters": parameters}


def unused_keys(document: Document) -> list[str]:
    """Keys of W&B's launcher that the file has and nobody here reads."""
    return sorted(set(document.data) & LAUNCHER_KEYS)


DROPPED_WHOLE = {"parameters": 2, "select": 3}
"""How deep below a key of the top level the innermost thing lies that makes sense by itself; 1 for other keys."""


def _drop(data: dict[str, Any], loc: KeyPath) -> None:
    """Remove the innermost whole thing that holds a problem: a parameter, a constraint, or a key of the top level."""
    path = loc[: DROPPED_WHOLE.get(str(loc[0]), 1)] if loc else ()
    for key in path[:-1]:
        if not isinstance(data.get(str(key)), dict):
            return
        data[str(key)] = dict(data[str(key)])  # the document keeps what it read
        data = data[str(key)]
    if path:
        data.pop(str(path[-1]), None)


def _problem(detail: Mapping[str, Any]) -> Problem:
    path = tuple(detail["loc"])
    return Problem(path, _words(detail["type"], path, detail["input"], str(detail["msg"])))


def _words(kind: str, path: KeyPath, value: object, message: str) -> str:
    """A pydantic problem in a person's words."""
    if kind == "extra_forbidden":
        return _unknown_key(path)
    if kind == "model_type":
        return f"{value!r} is no mapping of keys{_short_form(path, value)}"
    if kind == "string_pattern_mismatch":
        return f"{value!r} names a folder: use letters, digits, dot, dash and underscore"
    fixed = {"missing": "the key is missing", "value_error": message.removeprefix("Value error, ")}
    return fixed.get(kind) or explain(message, value)


def _unknown_key(path: KeyPath) -> str:
    if path[-1] in NOT_YET:
        return "this key of W&B's format is not supported yet: leave it out"
    return f"unknown key. {did_you_mean(str(path[-1]), _known_keys(path))}"


def _short_form(path: KeyPath, value: object) -> str:
    """The remedy where somebody wrote `learning_rate: 0.1` or `metric: roas`."""
    key = {"parameters": "value", "metric": "name"}.get(str(path[0]))
    return f": write {{{key}: {value}}}" if key and len(path) < 3 else ""


def _known_keys(path: KeyPath) -> list[str]:
    """Keys that may stand where an unknown one was found."""
    if len(path) == 1:
        return list(SweepSpec.model_fields)
    if path[0] == "parameters":
        return list(ParameterSpec.model_fields)
    block = SweepSpec.model_fields[str(path[0])].annotation
    return list(block.model_fields) if isinstance(block, type) and issubclass(block, BaseModel) else []
