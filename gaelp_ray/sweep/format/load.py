"""From a sweep file to a SweepSpec, and every problem of its format.

load_sweep() checks keys, types and the parameter syntax, at any depth, whatever the parameters are called. Whether
they are fields of a trial is checked where trials are planned (plan.py). words.py says what is wrong, and which known
word an unknown one stands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gaelp_ray.errors import SweepFileError
from gaelp_ray.sweep.format.blocks import is_launchers
from gaelp_ray.sweep.format.document import LAUNCHER_KEYS, Document, KeyPath, Problem, scan_document
from gaelp_ray.sweep.format.parameters import leaves
from gaelp_ray.sweep.format.space import levels
from gaelp_ray.sweep.format.spec import NO_SAMPLER, TWO_STOPPERS, SweepSpec
from gaelp_ray.sweep.format.words import in_words, is_unnested, meant, place

MUTATIONS = ("scheduler", "hyperparam_mutations")
UNUSED_IN_METRIC = ("impute", "impute_while_running")


@dataclass(frozen=True)
class Parsed:
    """What a document says, as far as its format is valid, so that the meaning of the rest can be checked.

    Attributes:
        document: with misspelt keys and choices as they were probably meant.
        spec: without the values that have problems; defaults take their place.
        problems: all problems of the format.
        wrong: the paths of values that the spec is without.
    """

    document: Document
    spec: SweepSpec
    problems: tuple[Problem, ...]
    wrong: frozenset[KeyPath]

    def is_wrong(self, *path: str) -> bool:
        """Whether the spec is without a value, a part of it, or what holds it."""
        return any(path[: len(at)] == at[: len(path)] for at in self.wrong)

    def wrong_parameters(self) -> dict[KeyPath, str]:
        """Paths and dotted names of parameters that the spec is without, mutations of a population among them."""
        found: dict[KeyPath, str] = {}
        for path in sorted(self.wrong, key=str):
            start = 1 if path[:2] == MUTATIONS else 0
            if path[start] in ("parameters", MUTATIONS[1]) and len(path) > start + 1:
                whole = _whole(("parameters", *path[start + 1 :]))
                here = (*path[: start + 1], *whole[1:])
                found[here] = ".".join(map(str, whole[1::2]))
        return found


def load_sweep(path: str | Path) -> SweepSpec:
    """A sweep file as a SweepSpec. Raises SweepFileError with every problem of its format, each with its line."""
    parsed = parse(scan_document(Path(path)))
    if parsed.problems:
        raise parsed.document.complain(parsed.problems)
    return parsed.spec


def parse(document: Document) -> Parsed:
    """The spec and the problems of a document's format.

    A misspelt key is taken for the closest known one, so that what it holds is checked in the same pass.
    """
    data = {key: value for key, value in document.data.items() if not _is_launchers(key, value)}
    problems = list(document.problems)
    wrong = {problem.path for problem in problems if problem.place is None}
    document = replace(document, data=_without({"name": Path(document.where).stem} | data, wrong))
    details = _details(document.data)
    while repairable := [detail for detail in details if _is_repairable(detail)]:
        for detail in repairable:
            problems.append(Problem(place(detail), in_words(detail)))
            document = _repaired(document, detail)
        details = _details(document.data)
    rest = [Problem(place(detail), in_words(detail)) for detail in details if detail["loc"]]
    rest += _together(document.data)
    wrong |= {problem.path for problem in rest}
    spec = _valid_part(document.data, wrong)
    of_grid = list(_grid_problems(spec))
    wrong |= {problem.path for problem in of_grid}
    return Parsed(document, spec, (*problems, *rest, *of_grid), frozenset(wrong))


def _details(data: Mapping[str, Any]) -> list[Any]:
    """What pydantic finds wrong."""
    try:
        SweepSpec.model_validate(data)
    except ValidationError as error:
        return list(error.errors())
    return []


def _is_repairable(detail: Mapping[str, Any]) -> bool:
    """Whether the rest can be checked by taking an unknown word for a known one, or an unknown key away."""
    if detail["type"] == "extra_forbidden":
        return not is_unnested(detail)
    return meant(detail) is not None


def _repaired(document: Document, detail: Mapping[str, Any]) -> Document:
    path, name = place(detail), meant(detail)
    if detail["type"] == "union_tag_invalid":
        return document.with_value((*path, "type"), name)
    if detail["type"] == "literal_error":
        return document.with_value(path, name)
    held: Any = document.data
    for key in path[:-1]:
        held = held[key]
    if name is None or name in held or path == ("metrics",):
        return document.without(path)
    return document.renamed(path, name)


def _valid_part(data: Mapping[str, Any], wrong: Iterable[KeyPath]) -> SweepSpec:
    """What remains without the wrong values. A default in the place of one may break a rule: such values go, too."""
    while True:
        data = _without(data, wrong)
        try:
            return SweepSpec.model_validate(data)
        except ValidationError as error:
            wrong = [place(detail) for detail in error.errors()]


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


def _without(data: Mapping[str, Any], wrong: Iterable[KeyPath]) -> dict[str, Any]:
    """The data without the values at these paths; required ones have stand-ins, with which nothing is run."""
    rest = dict(data)
    keys = set()
    for path in wrong:
        _drop(rest, path)
        keys.add(path[0])
    if "method" in keys:
        rest["method"] = "random"
        rest.pop("sampler", None)  # which may be of the method that was meant
    if "parameters" in keys and not rest.get("parameters"):
        rest["parameters"] = {"batch_size": {"value": 32}}
    if "name" in keys:
        rest["name"] = "unnamed"
    return rest


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
    return loc[: {"metric": 2, "trial": 3, "scheduler": 3, "select": 3, "publish": 4}.get(str(loc[0]), 1)]
