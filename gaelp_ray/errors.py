"""Everything that gaelp_ray raises on purpose.

    GaelpError
    ├── InputError            what a person wrote is wrong: exit code 2, nothing was started
    │   ├── ConfigError       a trial's configuration
    │   ├── MarketError       a market name or market file
    │   ├── TableError        a table of campaign results that cannot be calibrated from
    │   ├── OwnEnvError       an environment of the user's own
    │   ├── SweepFileError    a sweep file: all of its problems at once
    │   ├── ClusterFileError  a file of Ray's cluster launcher: all of its problems at once
    │   ├── StorageError      a folder that cannot be written, exists already, or is not there
    │   │   └── NoWinnerError     a sweep that has ended without a model to hand out: exit code 1
    │   ├── ResourceError     a trial asks for more than there is, so that it would wait for ever
    │   └── ModelError        a model folder that is missing, damaged, or made for another market
    ├── NodeError             a node of a cluster is no place for a trial: the trial goes on elsewhere
    ├── ClusterError          a cluster has lost a submitted sweep, or does not say any more how it goes
    │   └── HeadAway              its head does not answer now: it is asked again, for some minutes
    ├── TrackingError         W&B is away, refuses the key, or did not take a run: what was measured lies in the folder
    ├── ActionError           an action that no bid can be made of: wrong shape, NaN or infinite; also a ValueError
    ├── SweepInterrupted      Ctrl-C: exit code 130, what was finished stays
    └── TrainingError         a training cannot go on: the trial has failed, the sweep goes on

Every message names what is wrong, where, and how to mend it, in one line per problem.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class GaelpError(Exception):
    """Base of all errors of this package."""


class InputError(GaelpError):
    """What a person wrote is wrong; nothing was started and nothing was overwritten."""


class _Pickled:
    """An error that another process makes again of its problems; an exception by itself would do so of its message."""

    problems: tuple[Any, ...]

    def __reduce__(self) -> tuple[type[object], tuple[tuple[Any, ...]]]:
        return type(self), (self.problems,)


class ConfigError(_Pickled, InputError):
    """A trial's configuration is wrong. `problems` holds (dotted field, what is wrong) pairs."""

    def __init__(self, problems: Iterable[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{field}: {text}" for field, text in self.problems))


class MarketError(InputError):
    """A market is unknown, or its file is wrong."""


class TableError(InputError):
    """A table of campaign results is wrong, or says too little to calibrate a market from."""


class OwnEnvError(InputError):
    """An environment of the user's own cannot be imported, or is not what a sweep can fly."""


class SweepFileError(_Pickled, InputError):
    """A sweep file is wrong. `problems` holds one line each, in the order of the file."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class ClusterFileError(_Pickled, InputError):
    """A file of Ray's cluster launcher would not come up, or not as it should. `problems` holds one line each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class StorageError(InputError):
    """A folder cannot be written, exists already, or is not there."""


class NoWinnerError(StorageError):
    """A sweep that has ended without an eligible winner, so that there is no model to hand out."""


class ResourceError(InputError):
    """A trial asks for more CPUs, GPUs or memory than there is: it could never be placed."""


class ModelError(InputError):
    """A model folder is missing, damaged, or was made for another market."""


class TrackingError(GaelpError):
    """W&B is away, refuses the key, or did not take a run; what was measured lies in the folder all the same."""


class NodeError(GaelpError):
    """A node of a cluster is no place for a sweep's trials; the one that was there goes on elsewhere."""


class ClusterError(GaelpError):
    """A cluster has lost a sweep that was submitted to it, or does not say any more how it goes."""


class HeadAway(ClusterError):
    """The head of a cluster does not answer now; it may later."""


class ActionError(GaelpError, ValueError):
    """An action that no bid can be made of: of the wrong shape, NaN or infinite."""


class SweepInterrupted(GaelpError):
    """A person stopped the sweep; the trials that were done keep their checkpoints and W&B runs."""


class TrainingError(GaelpError):
    """A training cannot go on; in a sweep, its trial has failed and the others go on."""


MOST_NAMES = 5
"""Names in a message, of a longer list that a command shows."""


def closest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that a misspelt one most likely stands for, whatever its case; None if none is close."""
    return next(iter(_ranked(name, known, cutoff)), None)


def did_you_mean(name: str, known: Iterable[str], listing: str = "") -> str:
    """One sentence that helps with an unknown name: the closest known one; if none is close, known_names()."""
    meant = closest(name, choices := sorted(known))
    return known_names(name, choices, listing) if meant is None else f"Did you mean {meant!r}?"


def known_names(name: str, known: Iterable[str], listing: str = "") -> str:
    """One sentence: all known names, or of many the five closest and `listing`, the command that lists all."""
    choices = sorted(known)
    if len(choices) <= MOST_NAMES or not listing:
        return f"Known: {', '.join(choices)}."
    return f"Closest: {', '.join(_ranked(name, choices, 0.0))}; `{listing}` lists all."


def _ranked(name: str, known: Iterable[str], cutoff: float) -> list[str]:
    lowered = {choice.lower(): choice for choice in known}
    return [lowered[match] for match in difflib.get_close_matches(name.lower(), lowered, MOST_NAMES, cutoff)]


def describe(error: BaseException) -> str:
    """An exception in one line: its type and the first line of its message."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
