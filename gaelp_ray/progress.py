"""How far a single training has come, on disk, so that it can go on after whatever ended it.

The folder of an experiment holds one checkpoint, `iteration-000012/`: the agent (checkpoint.py) and progress.json with
the episodes so far and those of BayesDual on the same flights. A checkpoint appears whole, and only then goes the one
before: there is always one to go on from.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gaelp_ray.checkpoint import Model, load_model, save_model, write_json
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.errors import ModelError, StorageError
from gaelp_ray.market.stream import FIRST_STREAM, STREAM

logger = logging.getLogger(__name__)

PROGRESS = "progress.json"
PREFIX, SCRATCH = "iteration-", ".saving-"
MAY_DIFFER = frozenset({"num_episodes"})
"""Fields that a training may go on with another value of: more episodes are more of the same."""


@dataclass(frozen=True)
class Progress:
    """A training's last checkpoint."""

    model: Model
    iterations: int
    episodes: list[dict[str, Any]]
    reference: list[dict[str, Any]] = field(default_factory=list)  # BayesDual's, of the same flights


class Checkpoints:
    """The folder of one experiment. Once it could not be written, that has been said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._refused = False

    @property
    def last(self) -> Path | None:
        """The folder of the last checkpoint, which a model can be loaded from; None before the first."""
        found = self.folder.glob(f"{PREFIX}*")
        return max(found, key=lambda path: (len(path.name), path.name), default=None)

    def load(self, config: GAELPExperimentConfig) -> Progress | None:
        """The last checkpoint, None where there is none.

        Raises ModelError: it is damaged. Raises StorageError: it is that of another configuration.
        """
        if self.last is None:
            return None
        try:
            model = load_model(self.last)
        except ModelError as error:
            raise ModelError(f"{str(error).rstrip('.')}, or delete {self.folder} to start anew") from None
        self._require_same(_flat(model.config.to_dict()), _flat(config.to_dict()))
        try:
            told = json.loads((self.last / PROGRESS).read_text(encoding="utf-8"))
            found = Progress(model, int(told["iterations"]), list(told["episodes"]), list(told.get("reference", [])))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{self.last / PROGRESS} is damaged ({error}): delete {self.folder} to start anew"
            ) from None
        self._require_same_stream(config, told.get("stream", FIRST_STREAM))
        return found

    def _require_same(self, there: dict[str, Any], now: dict[str, Any]) -> None:
        other = sorted(key for key in there.keys() | now.keys() if there.get(key) != now.get(key))
        for key in other:
            if key not in MAY_DIFFER:
                raise StorageError(
                    f"{self.folder} holds a training with another configuration ({key}: {there.get(key)} there, "
                    f"{now.get(key)} now): give another experiment name, or delete the folder to start anew"
                )

    def _require_same_stream(self, config: GAELPExperimentConfig, stream: int) -> None:
        if config.env is None and stream != STREAM:
            raise StorageError(
                f"{self.folder} holds a training on random-number stream {stream}, this version uses stream {STREAM}: "
                "give another experiment name, or delete the folder to start anew"
            )

    def save(self, progress: Progress) -> Path | None:
        """Write a checkpoint and remove the one before; None, and one warning, where the folder cannot be written."""
        target = self.folder / f"{PREFIX}{progress.iterations:06d}"
        scratch = self.folder / f"{SCRATCH}{os.getpid()}"
        if target.exists():  # a training of this configuration is the same after as many batches
            return target
        # Of a process that was killed, a half-written one may lie there, too.
        older = [*self.folder.glob(f"{PREFIX}*"), *self.folder.glob(f"{SCRATCH}*")]
        try:
            save_model(scratch, progress.model)
            names = ("iterations", "episodes", "reference")
            told = {name: getattr(progress, name) for name in names}
            write_json(scratch / PROGRESS, told | {"stream": STREAM})
            scratch.rename(target)
        except OSError as error:
            if not self._refused:
                logger.warning(
                    "no checkpoint could be written to %s (%s): the training goes on",
                    self.folder,
                    error.strerror or error,
                )
            self._refused = True
            shutil.rmtree(scratch, ignore_errors=True)
            return None
        for path in older:
            shutil.rmtree(path, ignore_errors=True)
        return target


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"ppo": {"epochs": 4}} -> {"ppo.epochs": 4}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
