"""A user's own gymnasium environment, found by its import path. own_flights.py flies it, tryout.py tries it."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
import traceback
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import ClassVar, cast

import gymnasium

from gaelp_ray.errors import OwnEnvError, did_you_mean
from gaelp_ray.market.blocks import Block
from gaelp_ray.simulator.own_flights import MakeEnv, OwnVectorEnv
from gaelp_ray.simulator.own_spaces import OwnSpaces

FOREIGN = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, OSError, RuntimeError),
    *(SyntaxError, TypeError, ValueError, gymnasium.error.Error),
)
"""What another person's code raises where it is wrong."""


class OwnEnv(Block):
    """An environment by its import path, in the place of a market: what a trial flies in, as plain values.

    folder: where the command ran that named it, so that processes with another working directory find the module.
    """

    env: str
    folder: str = ""

    description: ClassVar[str] = "an environment of your own"
    currency: ClassVar[str] = ""

    @property
    def name(self) -> str:
        """The import path."""
        return self.env

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the import path and the source of its module, and of the one that defines what it names."""
        modules = dict.fromkeys((self.env.partition(":")[0], self.make.__module__))
        text = "\n".join([self.env, *map(_source, modules)])
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def make(self) -> MakeEnv:
        """The class or function that makes one environment. Raises OwnEnvError: nothing there that can be called."""
        module_name, _, name = self.env.partition(":")
        module = self._module(module_name)
        found = getattr(module, name, None)
        if callable(found):
            return cast("MakeEnv", found)  # whether it makes an environment is seen when it is called
        where = f"{module_name} ({getattr(module, '__file__', None) or 'built in'})"
        if found is not None:
            raise OwnEnvError(f"env {self.env!r}: {name} of {where} is no class, but a {type(found).__name__}")
        classes = [key for key, value in vars(module).items() if inspect.isclass(value)]
        raise OwnEnvError(f"env {self.env!r}: {where} has no {name!r}. {did_you_mean(name, classes or ['no class'])}")

    def _module(self, name: str) -> ModuleType:
        # Last on the path: a user's `queue.py` does not replace Python's. The working directory is that of whoever
        # loads a model on another machine, where the folder does not exist.
        folders = list(dict.fromkeys(filter(None, (self.folder, str(Path.cwd())))))
        sys.path.extend(folder for folder in folders if folder not in sys.path)
        try:
            return importlib.import_module(name)
        except FOREIGN as error:
            # The module itself or a package around it, not something that it imports in turn.
            if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
                raise OwnEnvError(
                    f"env {self.env!r}: no module {error.name!r} in {' or '.join(folders)}, nor among the installed "
                    "packages: run in the folder that holds it, or add that folder to PYTHONPATH"
                ) from None
            raise OwnEnvError(f"env {self.env!r}: cannot import {name}: {broken(error)}") from None

    @cached_property
    def spaces(self) -> OwnSpaces:
        """Its spaces, of one environment made for it. Raises OwnEnvError for those that no agent can fly with."""
        return self.flights(1).spaces

    def flights(self, number: int) -> OwnVectorEnv:
        """A batch of flights."""
        return OwnVectorEnv(self.make, number, self.env)


def _source(module: str) -> str:
    try:
        return inspect.getsource(importlib.import_module(module))
    except (OSError, TypeError):  # compiled: its name has to do
        return module


def broken(error: BaseException) -> str:
    """What another person's code raised, and where: `KeyError: 'price' (shop.py:12)`."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    first = (str(error).splitlines() or [""])[0]
    # A SyntaxError says itself in which file and line it is.
    return f"{type(error).__name__}{': ' if first else ''}{first}{'' if isinstance(error, SyntaxError) else place}"
