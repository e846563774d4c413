"""The `select` run of a sweep: the leaderboard as a table, and the best model as an artifact."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import wandb
from wandb.sdk.artifacts.exceptions import WaitTimeoutError

from gaelp_ray.errors import GaelpError, TrackingError, describe
from gaelp_ray.tracking.mirror import Directories
from gaelp_ray.tracking.process import FAILURES, SERVICE
from gaelp_ray.tracking.promotion import PROBLEMS, Ruling, Terms, settle
from gaelp_ray.tracking.runs import RunIdentity
from gaelp_ray.tracking.server import Server

PROBE_SECONDS, WAIT_SECONDS, COMMIT_SECONDS = 5.0, 5, 60
DIGEST = "digest"
"""In the summary: of what was published, so that the same is not published twice."""


@dataclass(frozen=True)
class Leaderboard:
    """A table as W&B takes it."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class ModelArtifact:
    """What is published: a model folder and further files under a name, found by its aliases."""

    name: str
    folder: Path
    aliases: tuple[str, ...]
    metadata: Mapping[str, Any]
    terms: Terms
    files: Sequence[Path] = ()


@dataclass(frozen=True)
class Publication:
    """What became of a publication; `error` is None where W&B took everything.

    `version` is that of the artifact on the server, which has confirmed it as a whole; None offline. With a version and
    an error, something that follows is not done: the alias `best`, the registry, the end of the run. `gate` is what was
    said of the version, None where nobody was asked.
    """

    mode: str
    artifact: str | None
    error: str | None = None
    version: str | None = None
    aliases: tuple[str, ...] = ()
    gate: Ruling | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as selection.json has them."""
        told = {"name": self.artifact, "mode": self.mode, "error": self.error, "version": self.version}
        return told | {"aliases": list(self.aliases), "gate": self.gate.as_dict() if self.gate else None}


def publish_selection(
    identity: RunIdentity,
    config: Mapping[str, Any],
    summary: Mapping[str, Any],
    leaderboard: Leaderboard,
    model: ModelArtifact | None,
) -> Publication:
    """Log the final stage as one run; again, it replaces an offline run, and adds what is new to one on the server.

    Online, the model's terms are then settled. A W&B failure is reported, not raised: the model lies in the folder
    anyway. A server that dies or hangs meanwhile costs two minutes at most.
    """
    if identity.mode == "disabled":
        return Publication("disabled", None)
    publication = Publication(identity.mode, None)
    try:
        server = _answering_server() if identity.mode == "online" else None
        SERVICE.reset()
        keywords = identity.as_init() | {"id": identity.id, "name": identity.name, "allow_val_change": True}
        run = SERVICE.start(lambda: wandb.init(config=dict(config), **keywords))
        try:
            _log_table(run, leaderboard)
            run.summary.update(dict(summary))
            publication = _published(run, model, server) if model else publication
        except PROBLEMS:
            with suppress(*FAILURES):
                SERVICE.finish(run, 1)
            raise
        SERVICE.finish(run, 0 if model else 1)
    except PROBLEMS as error:
        told = str(error) if isinstance(error, GaelpError) else describe(error)
        return replace(publication, error=publication.error or told)
    finally:
        SERVICE.reset()
    if identity.mode == "offline":
        _remove_earlier(identity, Path(run.settings.sync_dir))
    return publication


def _published(run: Any, model: ModelArtifact, server: Server | None) -> Publication:
    """The model as a version of its artifact, and what follows from it."""
    origin = _origin(run, model.terms.trained_by, server is not None)
    run.summary.update({f"trained_by/{name}": value for name, value in origin.items()})
    logged = _log_model(run, model, origin)
    if server is None:
        return Publication("offline", model.name, aliases=model.aliases)
    version = _confirmed(logged, model, server)
    settled = settle(server, logged, model.terms, model.aliases)
    if settled.ruling and not settled.ruling.standing:
        run.summary.update({f"gate/{name}": value for name, value in settled.ruling.as_dict().items()})
    return Publication("online", model.name, settled.problem or None, version, settled.aliases, settled.ruling)


def _origin(run: Any, trained_by: str, online: bool) -> dict[str, str]:
    """The run that trained the model: its id, its path as far as it is known offline, and online its address."""
    if not trained_by:
        return {}
    origin = {"run": trained_by, "path": "/".join(filter(None, (run.entity, run.project, trained_by)))}
    return origin | ({"url": f"{run.project_url}/runs/{trained_by}"} if online else {})


def _answering_server() -> Server:
    server = Server.configured()
    server.probe(PROBE_SECONDS)
    SERVICE.lost = False
    return server


def _log_table(run: Any, leaderboard: Leaderboard) -> None:
    """Unless a resumed run has this very table already."""
    rows = [list(row) for row in leaderboard.rows]
    content = json.dumps([list(leaderboard.columns), rows], default=str)
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    if run.summary.get(DIGEST) != digest:
        run.log({"leaderboard": wandb.Table(columns=list(leaderboard.columns), data=rows)})
        run.summary[DIGEST] = digest


def _log_model(run: Any, model: ModelArtifact, origin: Mapping[str, str]) -> Any:
    """Log the artifact, which a server takes as the version it has where the content is the same."""
    artifact = wandb.Artifact(model.name, type="model", metadata={**model.metadata, "trained_by": dict(origin)})
    artifact.add_dir(str(model.folder))
    for file in model.files:
        artifact.add_file(str(file))
    return run.log_artifact(artifact, aliases=list(model.aliases))


def _confirmed(logged: Any, model: ModelArtifact, server: Server) -> str:
    """The version. Raises TrackingError where the server does not confirm that it has all of it."""
    digest = logged.digest
    _wait(logged, server)
    version = server.committed(logged.id, digest)
    if not version:
        raise TrackingError(f"{server.shown} has not confirmed the artifact {model.name}")
    return version


def _wait(artifact: Any, server: Server) -> None:
    """As long as the upload takes, COMMIT_SECONDS at most; not for a server that is away."""
    until = time.monotonic() + COMMIT_SECONDS
    while True:
        try:
            artifact.wait(timeout=WAIT_SECONDS)
        except WaitTimeoutError:
            if time.monotonic() > until:
                raise
            server.probe(PROBE_SECONDS)
        else:
            return


def _remove_earlier(identity: RunIdentity, directory: Path) -> None:
    for other in Directories.below(directory.parent).of(identity.id):
        if other.name != directory.name:
            shutil.rmtree(other, ignore_errors=True)
