"""From a sweep file to a SweepSpec, and every problem of its format.

load_sweep() checks keys, types and the parameter syntax, at any depth, whatever the parameters are called. Whether
they are fields of a trial is checked where trials are planned (plan.py). words.py says what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gaelp_ray.errors import SweepFileError
from gaelp_ray.sweep.format.blocks import is_launchers
from gaelp_ray.sweep.format.document import LAUNCHER_KEYS, Document, KeyPath, Problem, read_document
from gaelp_ray.sweep.format.parameters import leaves
from gaelp_ray.sweep.format.space import levels
from gaelp_ray.sweep.format.spec import NO_SAMPLER, TWO_STOPPERS, SweepSpec
from gaelp_ray.sweep.format.words import in_words, place

UNUSED_IN_METRIC = ("impute", "impute_while_running")


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
    data = {key: value for key, value in document.data.items() if not _is_launchers(key, value)}
    data.setdefault("name", Path(document.where).stem)
    problems = list(_together(data))
    try:
        spec = SweepSpec.model_validate(data)
    except ValidationError as error:
        details = error.errors()
    else:
        return spec, problems + list(_grid_problems(spec))
    problems += [Problem(place(detail), in_words(detail)) for detail in details if detail["loc"]]
    for path in [problem.path for problem in problems]:
        _drop(data, path)
    try:
        rest = SweepSpec.model_validate(_filled(data))
    except ValidationError:
        return None, problems
    return rest, problems + list(_grid_problems(rest))


def unused_keys(document: Document) -> list[str]:
    """Keys of W&B's launcher and controller that the file has and nobody here reads."""
    top = [key for key, value in document.data.items() if _is_launchers(key, value)]
    metric = document.data.get("metric")
    return sorted([*top, *(f"metric.{key}" for key in UNUSED_IN_METRIC if isinstance(metric, dict) and key in metric)])


def _is_launchers(key: str, value: object) -> bool:
    return key in LAUNCHER_KEYS or (key == "scheduler" and is_launchers(value))


def _together(data: Mapping[str, Any]) -> Iterator[Problem]:
    """What no key does wrong by itself; pydantic would ask it only of a file without other problems."""
    scheduler = data.get("scheduler")
    if "early_terminate" in data and isinstance(scheduler, dict) and scheduler.get("type", "none") != "none":
        yield Problem(("early_terminate",), TWO_STOPPERS)
    if data.get("sampler") is not None and data.get("method") in ("random", "grid"):
        yield Problem(("sampler",), NO_SAMPLER)


def _grid_problems(spec: SweepSpec) -> Iterator[Problem]:
    """Parameters of a grid that have no list of values."""
    for leaf in leaves(spec.parameters) if spec.method == "grid" else ():
        try:
            levels(leaf.parameter)
        except SweepFileError as error:
            yield Problem(leaf.path, str(error))


def _filled(data: dict[str, Any]) -> dict[str, Any]:
    """Stand-ins for required keys that had problems, so that the rest can be checked; nothing is run with them."""
    stand_ins = {"name": "unnamed", "method": "random", "run_cap": 1}
    parameters = data.get("parameters") or {"batch_size": {"value": 32}}
    return stand_ins | data | {"parameters": parameters}


def _drop(data: dict[str, Any], loc: KeyPath) -> None:
    """Remove the innermost whole thing that holds a problem, and mappings of parameters that it leaves empty."""
    path = _whole(loc)
    holders = [data]
    for key in path[:-1]:
        if not isinstance(holders[-1].get(str(key)), dict):  # a list
            path = path[: len(holders)]
            break
        holders[-1][str(key)] = dict(holders[-1][str(key)])  # the document keeps what it read
        holders.append(holders[-1][str(key)])
    for holder, key in zip(reversed(holders), reversed(path), strict=True):
        holder.pop(str(key), None)
        if holder or path[0] != "parameters":
            return


def _whole(loc: KeyPath) -> KeyPath:
    """Path of the innermost thing that makes sense by itself: a parameter, one of its keys left out would not."""
    if loc[0] == "parameters":
        depth = 2
        while len(loc) > depth + 1 and loc[depth] == "parameters":
            depth += 2
        return loc[:depth]
    return loc[: {"select": 3, "publish": 4}.get(str(loc[0]), 1)]
