"""The `select` run of a sweep: the leaderboard as a table, and the best model as an artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wandb

from gaelp_ray.tracking.runs import RunIdentity, describe


@dataclass(frozen=True)
class Leaderboard:
    """A table as W&B takes it."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class ModelArtifact:
    """What is published: a model folder under a name, found by its aliases."""

    name: str
    folder: Path
    aliases: Sequence[str]
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Publication:
    """What became of a publication; `error` is None where W&B took everything."""

    mode: str
    artifact: str | None
    error: str | None = None


def publish_selection(
    identity: RunIdentity,
    config: Mapping[str, Any],
    summary: Mapping[str, Any],
    leaderboard: Leaderboard,
    model: ModelArtifact | None,
) -> Publication:
    """Log the final stage as one run. A W&B failure is reported, not raised: the model lies in the folder anyway."""
    if identity.mode == "disabled":
        return Publication("disabled", None)
    try:
        run = wandb.init(id=identity.id, name=identity.name, config=dict(config), **identity.as_init())
        run.log({"leaderboard": wandb.Table(columns=list(leaderboard.columns), data=[*map(list, leaderboard.rows)])})
        run.summary.update(dict(summary))
        if model:
            artifact = wandb.Artifact(model.name, type="model", metadata=dict(model.metadata))
            artifact.add_dir(str(model.folder))
            run.log_artifact(artifact, aliases=list(model.aliases))
        run.finish(exit_code=0 if model else 1)
    except (wandb.Error, OSError, ValueError) as error:
        return Publication(identity.mode, None, describe(error))
    finally:
        wandb.teardown()
    return Publication(identity.mode, model.name if model else None)
