"""A YAML file with the place of everything in it, so that every complaint can name its line and column."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from gaelp_ray.errors import SweepFileError
from gaelp_ray.sweep.format.interpolation import interpolated

KeyPath = tuple[str | int, ...]
_T = TypeVar("_T")

LAUNCHER_KEYS = frozenset({"program", "command", "controller", "job", "image_uri", "settings", "kind", "apiVersion"})
"""Keys of W&B's own launcher: accepted, reported as unused, ignored. Its `${program}` is no variable of ours."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the path of its key (as in ("parameters", "learning_rate")), and what to do.

    `place` is its line and column, where these are not its key's.
    """

    path: KeyPath
    message: str
    place: tuple[int, int] | None = None


@dataclass(frozen=True)
class Document:
    """Plain data of a YAML file and the (line, column) of each key, counted from 1.

    `settings` holds, for each key that the command line has set, how it was written there. `problems` are those of the
    text: the data are without keys that are no text or repeat another one (their problems have a place), and hold
    references that cannot be resolved as they were written.
    """

    where: str
    data: Mapping[str, Any]
    marks: Mapping[KeyPath, tuple[int, int]]
    settings: Mapping[KeyPath, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def renamed(self, path: KeyPath, name: str) -> Document:
        """The document with one key under another name; both names have its place."""
        new = (*path[:-1], name)
        marks, settings = _with_new(self.marks, path, new), _with_new(self.settings, path, new)
        data = _edited(self.data, path[:-1], lambda held: {name if at == path[-1] else at: held[at] for at in held})
        return replace(self, data=data, marks=marks, settings=settings)

    def without(self, path: KeyPath) -> Document:
        """The document without one key."""
        data = _edited(self.data, path[:-1], lambda held: {at: held[at] for at in held if at != path[-1]})
        return replace(self, data=data)

    def with_value(self, path: KeyPath, value: Any) -> Document:
        """The document with another value of a key, whose former value's problems no longer count."""
        data = _edited(self.data, path[:-1], lambda held: {**held, path[-1]: value})
        return replace(self, data=data, problems=self.problems_outside(path))

    def problems_outside(self, path: KeyPath) -> tuple[Problem, ...]:
        """Problems of the text without those of the value at a path."""
        return tuple(one for one in self.problems if one.place or one.path[: len(path)] != path)

    def complain(self, problems: Iterable[Problem]) -> SweepFileError:
        """All problems as one error, in the order of the file."""
        return SweepFileError(self._line(problem) for problem in sorted(problems, key=self._place))

    def _known(self, path: KeyPath) -> KeyPath:
        """The innermost part of a path that was written by somebody."""
        while path not in self.marks and path not in self.settings:
            path = path[:-1]
        return path

    def _place(self, problem: Problem) -> tuple[int, int]:
        return problem.place or self.marks.get(self._known(problem.path), (0, 0))

    def _line(self, problem: Problem) -> str:
        setting = None if problem.place else self.settings.get(self._known(problem.path))
        line, column = self._place(problem)
        key = ".".join(str(part) for part in problem.path)
        here = f"{self.where}:{line}:{column}" if setting is None else f"--set {setting}"
        return f"{here}: {key + ': ' if key else ''}{problem.message}"


def read_document(
    path: Path, kind: str = "sweep file", keys: str = "method, parameters, ...", *, variables: bool = True
) -> Document:
    """Read a YAML mapping, with `${VAR}` replaced from the environment; `kind` and `keys` say in errors what it is.

    variables: False leaves `${VAR}` as it is, for files of shell commands.
    Raises SweepFileError: not there, not YAML, a key twice, no mapping, or a variable that is not set.
    """
    document = scan_document(path, kind, keys, variables=variables)
    if document.problems:
        raise document.complain(document.problems)
    return document


def scan_document(
    path: Path, kind: str = "sweep file", keys: str = "method, parameters, ...", *, variables: bool = True
) -> Document:
    """As read_document(), but problems that leave the rest readable are kept in `Document.problems`.

    Raises SweepFileError: not there, not YAML, or no mapping.
    """
    where = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SweepFileError([f"cannot read the {kind} {where}: {reason}"]) from None
    try:
        return _document(where, text, f"a {kind} is a mapping of keys ({keys})", variables)
    except yaml.YAMLError as error:
        raise SweepFileError([f"{where}{_mark(error)}: not valid YAML: {_reason(error)}"]) from None
    except ValueError as error:  # a date that is none
        raise SweepFileError([f"{where}: not valid YAML: {error}"]) from None
    except RecursionError:
        raise SweepFileError([f"{where}: nested too deeply, or an alias that holds itself"]) from None


def _document(where: str, text: str, wanted: str, variables: bool) -> Document:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    data = yaml.safe_load(text)
    if not isinstance(root, yaml.MappingNode):
        raise SweepFileError([f"{where}:1:1: {wanted}"])
    marks: dict[KeyPath, tuple[int, int]] = {(): (1, 1)}
    problems = list(_walk(root, (), marks))
    if problems:
        data = yaml.SafeLoader("").construct_document(root)
    if variables:
        data = _resolved(data, (), problems)
    return Document(where, data, marks, problems=tuple(problems))


def _with_new(table: Mapping[KeyPath, _T], path: KeyPath, new: KeyPath) -> dict[KeyPath, _T]:
    """What is known of a key and all below it, also by its new path."""
    return {**table, **{new + at[len(path) :]: known for at, known in table.items() if at[: len(path)] == path}}


def _edited(data: Any, path: KeyPath, edit: Callable[[Any], Any]) -> Any:
    """A copy of data in which the part at a path is edited."""
    if not path:
        return edit(data)
    key, *rest = path
    items = enumerate(data) if isinstance(data, list) else data.items()
    edited = [(at, _edited(value, tuple(rest), edit) if at == key else value) for at, value in items]
    return [value for _, value in edited] if isinstance(data, list) else dict(edited)


def _resolved(value: Any, path: KeyPath, problems: list[Problem]) -> Any:
    """The same data with every reference to the environment replaced; notes those that cannot be."""
    if isinstance(value, dict):
        return {
            key: inner if not path and key in LAUNCHER_KEYS else _resolved(inner, (*path, key), problems)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_resolved(inner, (*path, number), problems) for number, inner in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value
    try:
        return interpolated(value, os.environ)
    except ValueError as error:
        problems.append(Problem(path, str(error)))
        return value


def _walk(node: yaml.Node, path: KeyPath, marks: dict[KeyPath, tuple[int, int]]) -> Iterable[Problem]:
    """Note the place of every key below a node; yields, and takes out, keys that stand twice or are no text."""
    if isinstance(node, yaml.MappingNode):
        kept = []
        for key, child in node.value:
            here, place = (*path, key.value), (key.start_mark.line + 1, key.start_mark.column + 1)
            if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                yield Problem(here, "YAML reads this key as no text: put it in quotes", place)
            elif here in marks:
                yield Problem(here, f"the key stands twice, also in line {marks[here][0]}: keep one", place)
            else:
                kept.append((key, child))
                marks[here] = place
                yield from _walk(child, here, marks)
        node.value = kept
    elif isinstance(node, yaml.SequenceNode):
        for number, child in enumerate(node.value):
            here = (*path, number)
            marks[here] = (child.start_mark.line + 1, child.start_mark.column + 1)
            yield from _walk(child, here, marks)


def _mark(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f":{mark.line + 1}:{mark.column + 1}" if mark else ""


def _reason(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or " ".join(str(error).split()))
