"""Where a worker keeps its trial's files, on whichever node of a cluster it is.

With a folder as storage all nodes see the same one, which a worker makes sure of. With S3 no worker of a cluster uses
the driver's working copy: each has one of its node's own for the time of a driver, and a trial's truth is the bucket.
Start at on_site().
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.errors import NodeError, StorageError
from gaelp_ray.sweep.remote.address import Address
from gaelp_ray.sweep.remote.bucket import Bucket
from gaelp_ray.sweep.remote.copies import fetch
from gaelp_ray.sweep.store.folder import PROVENANCE
from gaelp_ray.sweep.store.markets import MARKETS
from gaelp_ray.tracking.modes import TrackingMode, environment

DRIVERS = "drivers"
"""Of what all trials share: the folder as the driver has it, where a node has another one."""


@dataclass(frozen=True)
class Site:
    """A driver's sweep on one node. `sweep` is what all trials share, with the folder as it is here."""

    sweep: Mapping[str, Any]
    drivers: Path  # the folder as the driver has it

    @property
    def apart(self) -> bool:
        """Whether the folder is this node's own."""
        return Path(self.sweep["folder"]) != self.drivers

    def require_seen(self) -> None:
        """Raises NodeError where a worker could not do anything for the sweep here."""
        if not self.sweep.get("cluster"):
            return
        if self.apart:
            self._prepare()
            return
        try:
            known = json.loads((self.drivers / PROVENANCE).read_text(encoding="utf-8")).get("id")
        except (OSError, ValueError) as error:
            raise NodeError(f"node {platform.node()} does not see the sweep's folder {self.drivers}: {error}") from None
        if known != self.sweep["sweep_id"]:
            raise NodeError(f"node {platform.node()} has another folder of its own at {self.drivers}")

    def _prepare(self) -> None:
        """The node's folder, and in it the market files that trials name."""
        folder = Path(self.sweep["folder"])
        os.environ.update(environment(TrackingMode(self.sweep["mode"], ""), folder))
        if (folder / MARKETS).is_dir():
            return
        bucket = Bucket(Address.parse(self.sweep["remote"]))
        try:
            scratch = folder.with_name(f".{folder.name}-{os.getpid()}")
            fetch(bucket, bucket.stats(MARKETS), scratch, lambda name: name.startswith(f"{MARKETS}/"))
            (scratch / MARKETS).mkdir(parents=True, exist_ok=True)
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / MARKETS).exists():
                (scratch / MARKETS).rename(folder / MARKETS)
            shutil.rmtree(scratch, ignore_errors=True)
        except (StorageError, OSError) as error:
            raise NodeError(f"node {platform.node()}: {error}") from None


def market_here(config: GAELPExperimentConfig, sweep: Mapping[str, Any]) -> GAELPExperimentConfig:
    """A configuration with the sweep's copy of its market file where that lies here; nothing else of it changes."""
    drivers = sweep.get(DRIVERS)
    if not drivers or not Path(config.market).is_relative_to(drivers):
        return config
    return config.replace({"market": str(Path(sweep["folder"]) / Path(config.market).relative_to(drivers))})


def on_site(sweep: Mapping[str, Any]) -> Site:
    """What all trials share, as it is on this node."""
    drivers = Path(sweep["folder"])
    if not (sweep.get("cluster") and sweep.get("remote")):
        return Site(sweep, drivers)
    return Site({**sweep, "folder": str(copy_of(sweep)), DRIVERS: str(drivers)}, drivers)


def copy_of(sweep: Mapping[str, Any]) -> Path:
    """A node's own folder for the time of one driver."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache.resolve() / "gaelp_ray" / "nodes" / f"{_of_all_drivers(sweep)}{sweep['session']}"


def _of_all_drivers(sweep: Mapping[str, Any]) -> str:
    return f"{Path(sweep['folder']).name}-{sweep['sweep_id']}-"


def remove_copies(sweep: Mapping[str, Any], started: float) -> None:
    """A driver's folder on this node, and those of drivers before it, which may have been killed.

    started: when the driver did (s since 1970). What is newer is of one that has taken the sweep over.
    """
    copy = copy_of(sweep)
    shutil.rmtree(copy, ignore_errors=True)
    for other in copy.parent.glob("*"):
        with suppress(FileNotFoundError):  # several nodes may share a disk
            if other.name.startswith(_of_all_drivers(sweep)) and other.stat().st_mtime < started:
                shutil.rmtree(other, ignore_errors=True)
