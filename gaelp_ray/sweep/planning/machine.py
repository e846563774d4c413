"""What this machine has for a sweep: for its trials, for its files, and a storage folder that can be written.

Nothing is started, and nothing is left behind.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from gaelp_ray.agents import agent_reads
from gaelp_ray.checkpoint import Model, save_model
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.planning.plan import SweepPlan
from gaelp_ray.sweep.remote.address import Address, is_remote
from gaelp_ray.sweep.remote.sweep import RemoteSweep, require_writable
from gaelp_ray.sweep.store.folder import SPEC
from gaelp_ray.worlds import untrained, world_of

TRIAL_BYTES, ITERATION_BYTES, WANDB_BYTES, WANDB_ITERATION_BYTES = 65_000, 2_300, 10_000, 2_600
"""Measured in sweeps of 5 PPO trials of 16 and 64 iterations: of a trial, Tune's notes while it runs (59 kB) and our
journal; our record of an iteration (2.1 to 2.3 kB); W&B's of a run without iterations (9 kB), and of each (2.5 kB)."""

AGENTS_MEASURED = 16
"""Different agents whose checkpoints are written to see their size; the largest stands for all."""


@dataclass(frozen=True)
class Machine:
    """What there is for trials."""

    cpus: int  # that this process may use
    gpus: int
    memory: int  # bytes available now, without what Ray takes for itself


@dataclass(frozen=True)
class Amount:
    """How much a sweep writes about."""

    trials: int  # Tune's: configurations, each with all of its seeds
    trainings: int
    iterations: int  # of all trainings
    kept: int  # checkpoints of a training: two in a population, whose trials go on from each other's
    at_once: int
    tracked: bool  # whether W&B writes


@dataclass(frozen=True)
class Disk:
    """Bytes of a sweep's folder at the end of its search, in parts."""

    checkpoint: int  # of one trial, the largest of the planned agents
    checkpoints: int
    records: int
    needed: int
    free: int
    enough: bool
    assumed: str


@dataclass(frozen=True)
class Storage:
    """The storage folder; `problem` is empty where a sweep's folder can be made in it."""

    path: str
    folder: str  # of this sweep
    exists: bool  # a sweep of this name: it needs --overwrite or another --name
    problem: str
    warning: str = ""  # what nobody can know from here


def machine() -> Machine:
    """What a sweep's own Ray session has here."""
    from gaelp_ray.sweep import session  # imports Ray

    free = psutil.virtual_memory().available - session.OBJECT_STORE_BYTES
    return Machine(session.cpus_here(), session.gpus_here(), max(free, 0))


def in_bytes(size: float) -> str:
    """`1.5 MB`, three digits at most."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB"


def disk(plan: SweepPlan, amount: Amount) -> Disk:
    """Checkpoints (of each training, another while it is written, the winner's) and records, before losers' go.

    A checkpoint holds the agent as it is and as it was at its best.
    """
    size = max(checkpoint_bytes(config) for config in _agents([trial.config for trial in plan.trials]))
    # The winner is copied to best/, and by W&B to its own folder.
    models = 2 * (amount.trainings * amount.kept + amount.at_once) + (2 if amount.tracked else 1)
    checkpoints = size * models
    runs = amount.trainings * WANDB_BYTES + amount.iterations * WANDB_ITERATION_BYTES if amount.tracked else 0
    records = amount.trials * TRIAL_BYTES + amount.iterations * ITERATION_BYTES + runs
    needed, free = checkpoints + records, shutil.disk_usage(existing(storage_of(plan))).free
    assumed = (
        f"the last and the best agent of each training, {in_bytes(size)} before it is trained; "
        f"{in_bytes(TRIAL_BYTES)} of records for each configuration and {in_bytes(ITERATION_BYTES)} for each iteration"
    )
    if amount.tracked:
        assumed += (
            f"; {in_bytes(WANDB_BYTES)} of W&B's for each training and {in_bytes(WANDB_ITERATION_BYTES)} for each"
        )
        assumed += " iteration"
    return Disk(size, checkpoints, records, needed, free, needed <= free, assumed)


def _agents(configs: Sequence[GAELPExperimentConfig]) -> list[GAELPExperimentConfig]:
    """A few of the configurations: every agent first, then those that come first."""
    different = {agent_reads(config): config for config in reversed(configs)}
    chosen = {id(config): config for config in (*different.values(), *configs[:AGENTS_MEASURED])}
    return list(chosen.values())[: max(AGENTS_MEASURED, len(different))]


def checkpoint_bytes(config: GAELPExperimentConfig) -> int:
    """Bytes of an untrained agent's checkpoint, written and removed again."""
    world = world_of(config)
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder), Model(untrained(world, config), config, world, {}))
        return sum(path.stat().st_size for path in Path(folder).iterdir())


def storage_of(plan: SweepPlan) -> Path:
    """The storage folder of a sweep, which may not exist yet; for one in S3 that of its working copy."""
    if is_remote(plan.spec.storage):
        return Address.parse(plan.spec.storage).working_copy
    return Path(plan.spec.storage).expanduser().resolve()


def existing(path: Path) -> Path:
    """The path itself, or the closest folder above it that exists."""
    return next(place for place in (path, *path.parents) if place.is_dir())


def storage(plan: SweepPlan, nodes: int = 1) -> Storage:
    """Whether the folder can be written: a folder is made in it, or in the closest one that exists, and removed.

    `nodes`: of the cluster that the sweep is for; whether all of them see this machine's folder, nobody asks.
    """
    if is_remote(plan.spec.storage):
        return _in_bucket(Address.parse(plan.spec.storage), plan.spec.name)
    path = storage_of(plan)
    folder = path / plan.spec.name
    facts: dict[str, Any] = {"path": str(path), "folder": str(folder), "exists": (folder / SPEC).is_file()}
    if nodes > 1:
        facts["warning"] = f"all {nodes} nodes must see this folder as {path}, such as by NFS"
    blocked = next((place for place in (path, *path.parents) if place.exists() and not place.is_dir()), None)
    if blocked:
        return Storage(**facts, problem=f"{blocked} is no folder")
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".gaelp-ray-", dir=existing(path)))
    except OSError as error:
        return Storage(**facts, problem=os.strerror(error.errno or 0))
    return Storage(**facts, problem="")


def _in_bucket(address: Address, name: str) -> Storage:
    """Whether the bucket can be written: a small object is, and is removed."""
    sweep, found, problem = RemoteSweep(address.child(name)), False, ""
    try:
        require_writable(address)
        found = sweep.exists()
    except StorageError as error:
        problem = str(error).removeprefix(f"{address}: ")
    return Storage(str(address), str(sweep.address), found, problem)
