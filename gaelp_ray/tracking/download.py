"""A model artifact of W&B into a folder of this machine, once for each version. Start at fetched().

The wandb client runs in a process of its own, `python -m gaelp_ray.tracking.download`: whoever only wants to fly a
model imports neither it nor what it brings, and a server that hangs cannot keep him.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaelp_ray.checkpoint import load_model
from gaelp_ray.errors import GaelpError, ModelError, OwnEnvError, TrackingError, describe

REFERENCE = re.compile(r"(?:[^/:\s]+/){1,2}[^/:\s]+:[^/:\s]+")
"""ENTITY/PROJECT/ARTIFACT:ALIAS, where the entity may be left out: then it is the default one of the key."""

FETCH_SECONDS, PROBE_SECONDS = 300.0, 5.0


class NoSuchArtifact(ModelError):
    """The server has no artifact of that name, or none with that alias."""


@dataclass(frozen=True)
class Fetched:
    """A model artifact that is here now."""

    folder: Path
    artifact: str  # ENTITY/PROJECT/ARTIFACT:VERSION
    digest: str


KINDS: Mapping[str, type[GaelpError]] = {
    "missing": NoSuchArtifact,
    "model": ModelError,
    "tracking": TrackingError,
}
"""What the process of its own tells, as it is raised here."""


def is_reference(text: str) -> bool:
    """Whether a text may name an artifact of W&B."""
    return bool(REFERENCE.fullmatch(text))


def model_cache() -> Path:
    """Where fetched models lie, each in a folder named by its digest."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "gaelp_ray" / "models"


def fetched(reference: str, seconds: float | None = None) -> Fetched:
    """The model that an artifact's name and alias, or version, mean now; downloaded unless it is here already.

    It may take `seconds`, FETCH_SECONDS if left out. Raises TrackingError where W&B cannot be asked, NoSuchArtifact
    where it has no such artifact, another ModelError where that is no model that can be used here.
    """
    limit = FETCH_SECONDS if seconds is None else seconds
    words = [sys.executable, "-m", "gaelp_ray.tracking.download", reference, str(model_cache())]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise TrackingError(f"{reference}: W&B has not sent it within {limit:.0f} s: try again later") from None
    try:
        told = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise TrackingError(f"{reference}: the wandb client ended with {done.returncode}: {last}") from None
    if "error" in told:
        raise KINDS[told["kind"]](told["error"])
    return Fetched(Path(told["folder"]), told["artifact"], told["digest"])


def _download(reference: str, cache: Path) -> Fetched:
    """In the process of its own. Raises what fetched() raises."""
    import wandb

    from gaelp_ray.tracking.process import FAILURES
    from gaelp_ray.tracking.server import Server

    server = Server.configured()
    server.probe(PROBE_SECONDS)
    try:
        artifact = wandb.Api().artifact(reference)
        if artifact.type != "model":
            raise ModelError(f"{reference} is an artifact of type {artifact.type!r}, not a model")
        folder = cache / _plain(artifact.digest)
        if not folder.is_dir():
            _into(folder, artifact)
        return Fetched(folder, artifact.qualified_name.rpartition(":")[0] + f":{artifact.version}", artifact.digest)
    except ValueError as error:
        raise ModelError(f"{reference}: {describe(error)}") from None
    except FAILURES as error:
        if "not found" in str(error):
            raise NoSuchArtifact(f"{server.shown} has no artifact {reference}{_others(reference)}") from None
        raise TrackingError(f"{reference}: {describe(error)}") from None


def _into(folder: Path, artifact: Any) -> None:
    """Download, check, and only then let it appear."""
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        artifact.download(root=str(scratch), skip_cache=True)
        artifact.verify(root=str(scratch))
        load_model(scratch)
        try:
            scratch.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process was first
                raise
            artifact.verify(root=str(folder))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _plain(digest: str) -> str:
    return re.sub(r"[^0-9A-Za-z]", "_", digest)


def _others(reference: str) -> str:
    """Which aliases and versions there are, where the artifact is there under others."""
    import wandb

    from gaelp_ray.tracking.process import REFUSALS

    name = reference.rpartition(":")[0]
    try:
        known = wandb.Api().artifacts("model", name)
        names = sorted({alias for one in known for alias in (*one.aliases, one.version)})
    except REFUSALS:
        return ""
    return f"; there are {', '.join(names[:12])}" if names else ""


def main() -> None:
    """Print what was fetched, or why not, as one line of JSON."""
    reference, cache = sys.argv[1], Path(sys.argv[2])
    try:
        cache.mkdir(parents=True, exist_ok=True)
        found = _download(reference, cache)
        told = {"folder": str(found.folder), "artifact": found.artifact, "digest": found.digest}
    except NoSuchArtifact as error:
        told = {"kind": "missing", "error": str(error)}
    except (ModelError, OwnEnvError) as error:
        told = {"kind": "model", "error": str(error)}
    except (TrackingError, OSError) as error:
        told = {"kind": "tracking", "error": str(error)}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
