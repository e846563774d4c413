"""Import names of the original GAELP modules, for scripts that still use them. Start at install_legacy_modules().

They are registered on request only: as top-level packages they would shadow modules of the same name everywhere.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import gaelp_ray
from gaelp_ray.errors import InputError, did_you_mean

_TRACKING = ("GAELPExperimentConfig", "GAELPWandbTracker", "create_experiment_tracker")
LEGACY_MODULES = {
    "wandb_tracking": _TRACKING,
    "integrated_training": ("IntegratedGAELPTrainer", *_TRACKING),
}
"""The modules and the public names of gaelp_ray that each has."""


class _LegacyModule(ModuleType):
    """A module whose names are those of gaelp_ray, imported when they are first used."""

    def __init__(self, name: str, names: tuple[str, ...]) -> None:
        super().__init__(name, f"Names of gaelp_ray under GAELP's import path: {', '.join(names)}.")
        self.__spec__ = ModuleSpec(name, loader=None)
        self.__all__ = list(names)

    def __getattr__(self, name: str) -> Any:
        if name not in self.__all__:
            raise AttributeError(
                f"module {self.__name__!r} has no attribute {name!r}. {did_you_mean(name, self.__all__)}"
            )
        return getattr(gaelp_ray, name)

    def __dir__(self) -> list[str]:
        return self.__all__


def install_legacy_modules() -> None:
    """Register `wandb_tracking` and `integrated_training` in sys.modules; again, it does nothing.

    For this process only; call it before the first import of either. Raises InputError, and registers nothing, where a
    module of one of these names exists already.
    """
    missing = [name for name in LEGACY_MODULES if not isinstance(sys.modules.get(name), _LegacyModule)]
    for name in missing:
        _require_free(name)
    for name in missing:
        sys.modules[name] = _LegacyModule(name, LEGACY_MODULES[name])


def _require_free(name: str) -> None:
    # A folder without an __init__.py has a spec without an origin: it is not a module that this would replace.
    if name in sys.modules:
        where = getattr(sys.modules[name], "__file__", None) or "in sys.modules"
    else:
        where = getattr(find_spec(name), "origin", None)
    if where:
        raise InputError(
            f"{name}: a module of this name exists ({where}): rename it, or import from gaelp_ray: "
            f"from gaelp_ray import {', '.join(LEGACY_MODULES[name])}"
        )
