"""A YAML file with the place of everything in it, so that every complaint can name its line and column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gaelp_ray.errors import SweepFileError

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the path of its key (as in ("parameters", "learning_rate")), and what to do."""

    path: KeyPath
    message: str


@dataclass(frozen=True)
class Document:
    """Plain data of a YAML file and the (line, column) of each key, counted from 1."""

    where: str
    data: Mapping[str, Any]
    marks: Mapping[KeyPath, tuple[int, int]]

    def complain(self, problems: Iterable[Problem]) -> SweepFileError:
        """All problems as one error, in the order of the file."""
        return SweepFileError(self._line(problem) for problem in sorted(problems, key=self._place))

    def _place(self, problem: Problem) -> tuple[int, int]:
        path = problem.path
        while path not in self.marks:
            path = path[:-1]
        return self.marks[path]

    def _line(self, problem: Problem) -> str:
        line, column = self._place(problem)
        key = ".".join(str(part) for part in problem.path)
        return f"{self.where}:{line}:{column}: {key + ': ' if key else ''}{problem.message}"


def read_document(path: Path) -> Document:
    """Read a YAML mapping. Raises SweepFileError: not there, not YAML, a key twice, or no mapping."""
    where = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SweepFileError([f"cannot read the sweep file {where}: {reason}"]) from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SweepFileError([f"{where}{_mark(error)}: not valid YAML: {_reason(error)}"]) from None
    except ValueError as error:  # a date that is none
        raise SweepFileError([f"{where}: not valid YAML: {error}"]) from None
    except RecursionError:
        raise SweepFileError([f"{where}: nested too deeply, or an alias that holds itself"]) from None
    if not isinstance(root, yaml.MappingNode):
        raise SweepFileError([f"{where}:1:1: a sweep file is a mapping of keys (method, parameters, ...)"])
    marks: dict[KeyPath, tuple[int, int]] = {(): (1, 1)}
    try:
        problems = list(_walk(root, (), marks))
    except RecursionError:
        raise SweepFileError([f"{where}: nested too deeply, or an alias that holds itself"]) from None
    document = Document(where, data, marks)
    if problems:
        raise document.complain(problems)
    return document


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
