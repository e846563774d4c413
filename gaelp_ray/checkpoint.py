"""An agent in a folder: model.npz (arrays) and model.json (everything else), never pickle.

model.json holds the configuration, the whole market the agent was trained for, its metrics, and the SHA-256 of
model.npz, so that a folder can be used on any machine and a damaged one is noticed. Start at save_model().
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gaelp_ray.agents import Agent
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.errors import ConfigError, MarketError, ModelError
from gaelp_ray.market import Market
from gaelp_ray.market.stream import STREAM
from gaelp_ray.simulator.own import OwnEnv
from gaelp_ray.worlds import World, other_channels, untrained, world_from

FORMAT = 1
ARRAYS, DESCRIPTION = "model.npz", "model.json"


@dataclass(frozen=True)
class Model:
    """A trained agent with what it needs to fly again."""

    agent: Agent
    config: GAELPExperimentConfig
    market: World
    about: Mapping[str, Any]  # metrics, origin and whatever else was saved with it

    def require_market(self, market: Market) -> None:
        """Raises ModelError unless the agent can fly there; it keeps the beliefs that it was trained with."""
        if isinstance(self.market, OwnEnv):
            raise ModelError(f"the model flies in the environment {self.market.name!r}, no market: leave --market out")
        if others := other_channels(self.market, market):
            remedy = "name a market with its channels in their order, or train a model for that one"
            raise ModelError(f"the model bids {others}: {remedy}")


def save_model(folder: Path, model: Model) -> None:
    """Write an agent to a folder; model.json comes last and whole, so that a torn folder is noticed."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, **model.agent.state_dict())  # type: ignore[arg-type]  # keywords are array names
    (folder / ARRAYS).write_bytes(buffer.getvalue())
    description = {
        "format": FORMAT,
        "agent_type": model.config.agent_type,
        "sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
        "config": model.config.to_dict(),
        "market_hash": model.market.hash,
        "market": model.market.model_dump(mode="json"),
        "stream": STREAM,
        "about": dict(model.about),
    }
    write_json(folder / DESCRIPTION, description)


def load_model(folder: Path) -> Model:
    """Read an agent back.

    Raises ModelError: no model there, damaged, of a newer format, inconsistent, or with weights that are not finite; an
    environment of the user's own that is another one by now. Raises OwnEnvError if that environment is not there.
    """
    description = _read_description(folder)
    arrays = _read_arrays(folder, description["sha256"])
    try:
        config = GAELPExperimentConfig(**description["config"])
        market = world_from(description["market"], f"{folder / DESCRIPTION}: market")
        _require_unchanged(market, description["market_hash"], folder)
        agent = untrained(market, config)
        agent.load_state_dict(arrays)
    except (ConfigError, MarketError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{folder}: the model does not fit its description ({error}). Fetch it again.") from None
    return Model(agent, config, market, description.get("about") or {})


def _require_unchanged(world: World, expected: str, folder: Path) -> None:
    if world.hash == expected:
        return
    if isinstance(world, OwnEnv):
        # Its numbers would be those of other flights than it was chosen on, and nothing else would tell.
        raise ModelError(
            f"{folder}: the source of {world.name!r} has changed since the model was trained, and a changed "
            "environment is another one: restore its module as it was, or sweep again"
        )
    raise ModelError(f"{folder / DESCRIPTION}: the market in it was changed after saving. Fetch the model again.")


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ModelError(
            f"no model in {folder}: {DESCRIPTION} is missing. Fetch one with `gaelp-ray best SWEEP -o DIR`."
        )
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        missing = {"format", "sha256", "config", "market", "market_hash"} - set(description)
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path} is damaged ({error}). Fetch the model again.") from None
    if missing:
        raise ModelError(f"{path} is damaged ({', '.join(sorted(missing))} missing). Fetch the model again.")
    if not isinstance(description["sha256"], str):
        raise ModelError(f"{path} is damaged (sha256 is no text). Fetch the model again.")
    if description["format"] != FORMAT:
        raise ModelError(
            f"{path} has format {description['format']!r}, this version reads format {FORMAT}: upgrade gaelp_ray"
        )
    return dict(description)


def _read_arrays(folder: Path, expected: str) -> dict[str, Any]:
    path = folder / ARRAYS
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}. Fetch the model again.") from None
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ModelError(
            f"{path} is damaged: its SHA-256 is {found[:12]}…, {DESCRIPTION} says {expected[:12]}…. "
            "Fetch the model again."
        )
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = dict(stored)
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} holds no plain arrays ({error}). Fetch the model again.") from None
    for name, array in arrays.items():
        _require_finite(path, name, array)
    return arrays


def _require_finite(path: Path, name: str, array: npt.NDArray[Any]) -> None:
    if np.issubdtype(array.dtype, np.inexact) and not np.isfinite(array).all():
        number = np.count_nonzero(~np.isfinite(array))
        raise ModelError(
            f"{path}: {name}: {number} of {array.size} numbers are NaN or infinite: the training diverged. Choose "
            "another model, or train again with a lower learning_rate"
        )


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one piece: a reader sees the old file or the new one. NaN becomes null, as JSON has no NaN."""
    text = json.dumps(plain(content), indent=2, allow_nan=False, ensure_ascii=False)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.write_text(text + "\n", encoding="utf-8")
        with scratch.open("rb") as file:
            os.fsync(file.fileno())  # or a power cut after the renaming leaves an empty file
        scratch.replace(path)
    except OSError:  # a full disk: half a file would be in the way
        scratch.unlink(missing_ok=True)
        raise


def plain(content: Any) -> Any:
    """Content with numpy scalars as Python numbers and NaN or infinities as None, for strict JSON."""
    if isinstance(content, Mapping):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [plain(value) for value in content]
    if isinstance(content, np.generic):
        content = content.item()
    if isinstance(content, float) and not np.isfinite(content):
        return None
    return content
