"""A model by whatever a person calls it: a sweep, a folder, a URL, an artifact of W&B. Start at load_best().

Neither Ray nor wandb is imported here: what was chosen flies where neither is installed. An artifact is fetched by a
process of its own, once for each version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaelp_ray.checkpoint import DESCRIPTION, load_model
from gaelp_ray.errors import ModelError, NoWinnerError, StorageError
from gaelp_ray.sweep.remote.address import is_remote
from gaelp_ray.sweep.remote.sweep import winner
from gaelp_ray.sweep.store.folder import SPEC
from gaelp_ray.sweep.store.opening import open_sweep
from gaelp_ray.tracking.download import fetched, is_reference
from gaelp_ray.worlds import EnvAgent


@dataclass(frozen=True)
class Found:
    """Where a model lies on this machine, and what chose it: a sweep's record of its winner, empty where unknown."""

    folder: Path
    chosen: Mapping[str, Any]


def load_best(sweep: str | Path, storage: str | Path = "results") -> EnvAgent:
    """The agent that won, ready to act: call `begin(flights, rng)` when flights start, then `act(obs)` each step.

    It takes observations and gives actions in the spaces of its environment, for one environment or a batch of them.

    Args:
        sweep: a sweep by its name in `storage`, its folder or its URL `s3://bucket/prefix/NAME`; the folder of a model;
            or a W&B artifact, `ENTITY/PROJECT/ARTIFACT:ALIAS`.
        storage: the folder that holds the sweeps, or `s3://bucket/prefix`.

    Raises StorageError if there is no such finished sweep with a winner, ModelError if there is no such model or it is
    damaged, OwnEnvError if the own environment that it was trained in cannot be imported, TrackingError if W&B cannot
    be asked.
    """
    model = load_model(find_model(sweep, storage).folder)
    return EnvAgent(model.agent, model.market)


def find_model(named: str | Path, storage: str | Path = "results") -> Found:
    """The model of that name, brought here if it is elsewhere. Raises what load_best() raises."""
    text, folder = str(named), Path(named)
    is_model = (folder / DESCRIPTION).is_file()
    if is_model and "/" not in text and not is_remote(storage) and _is_other_sweep(folder, Path(storage).expanduser()):
        raise ModelError(
            f"{text!r} is both a model's folder and a sweep in {storage}: write ./{text} or {Path(storage) / text}"
        )
    if is_model:
        return Found(folder, {})
    if is_reference(text) and not folder.exists():
        return Found(fetched(text).folder, {})
    return _winner_of(text, storage)


def _is_other_sweep(folder: Path, storage: Path) -> bool:
    sweep = storage / folder
    return (sweep / SPEC).is_file() and sweep.resolve() != folder.resolve()


def _winner_of(named: str, storage: str | Path) -> Found:
    """Of a sweep; also of a folder that holds nothing but its `best/`."""
    try:
        sweep = open_sweep(storage, named, winner)
    except StorageError as error:
        folder = Path(named)
        if (folder / "best" / DESCRIPTION).is_file():
            return Found(folder / "best", {})
        if folder.is_dir():
            return Found(folder, {})  # what is missing there, load_model() says
        raise StorageError(f"no model in {named}, and {error}") from None
    record = sweep.read_selection()
    if record["winner"] is None:
        raise NoWinnerError(f"the sweep {sweep.path.name!r} has no winner: {record['reason']}")
    return Found(sweep.best, record["winner"])
