"""A YAML file with the place of everything in it, so that every complaint can name its line and column."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gaelp_ray.errors import SweepFileError
from gaelp_ray.sweep.format.interpolation import interpolated

KeyPath = tuple[str | int, ...]

LAUNCHER_KEYS = frozenset({"program", "command", "controller", "job", "image_uri", "settings", "kind", "apiVersion"})
"""Keys of W&B's own launcher: accepted, reported as unused, ignored. Its `${program}` is no variable of ours."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the path of its key (as in ("parameters", "learning_rate")), and what to do."""

    path: KeyPath
    message: str


@dataclass(frozen=True)
class Document:
    """Plain data of a YAML file and the (line, column) of each key, counted from 1.

    `settings` holds, for each key that the command line has set, how it was written there.
    """

    where: str
    data: Mapping[str, Any]
    marks: Mapping[KeyPath, tuple[int, int]]
    settings: Mapping[KeyPath, str] = field(default_factory=dict)

    def complain(self, problems: Iterable[Problem]) -> SweepFileError:
        """All problems as one error, in the order of the file."""
        return SweepFileError(self._line(problem) for problem in sorted(problems, key=self._place))

    def _known(self, path: KeyPath) -> KeyPath:
        """The innermost part of a path that was written by somebody."""
        while path not in self.marks and path not in self.settings:
            path = path[:-1]
        return path

    def _place(self, problem: Problem) -> tuple[int, int]:
        return self.marks.get(self._known(problem.path), (0, 0))

    def _line(self, problem: Problem) -> str:
        setting = self.settings.get(self._known(problem.path))
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
    if variables and not problems:
        data = _resolved(data, (), problems)
    document = Document(where, data, marks)
    if problems:
        raise document.complain(problems)
    return document


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
    """Note the place of every key below a node; yields keys that stand twice in one mapping, or are no text."""
    if isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            here = (*path, key.value)
            if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                marks[here] = (key.start_mark.line + 1, key.start_mark.column + 1)
                yield Problem(here, "YAML reads this key as no text: put it in quotes")
                continue
            if here in marks:
                yield Problem(here, f"the key stands twice, also in line {marks[here][0]}: keep one")
            marks[here] = (key.start_mark.line + 1, key.start_mark.column + 1)
            yield from _walk(child, here, marks)
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
