"""What this machine has for a sweep: room for its trials, its files, and a storage folder that can be written.

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
from gaelp_ray.sweep.format.blocks import Resources
from gaelp_ray.sweep.planning.plan import SweepPlan
from gaelp_ray.sweep.store import SPEC
from gaelp_ray.worlds import untrained, world_of

GPUS = Path("/proc/driver/nvidia/gpus")
"""One entry for each of NVIDIA's cards, whose driver puts it there."""

OBJECT_STORE_BYTES = 256 * 2**20
"""Of the memory, what a sweep's Ray takes for itself: session.OBJECT_STORE_BYTES, which brings Ray."""

TRIAL_BYTES, WANDB_BYTES, WANDB_ITERATION_BYTES = 145_000, 30_000, 2_700
"""Measured in sweeps of 4 to 13 trials of 1 to 200 iterations: Tune's records of a trial (142 to 151 kB), W&B's of a
run without iterations, and of each iteration (2.6 kB)."""

AGENTS_MEASURED = 16
"""Different agents whose checkpoints are written to see their size; the largest stands for all."""


@dataclass(frozen=True)
class Machine:
    """What there is for trials."""

    cpus: int  # that this process may use
    gpus: int
    memory: int  # bytes available now, without what Ray takes for itself


@dataclass(frozen=True)
class Placement:
    """A trial's resources on this machine."""

    cpu: float
    gpu: float
    memory: int | None
    machine: Machine
    at_once: int  # trials that run at a time
    limit: str  # what keeps it from being more: `resources.cpu`, `max_concurrent`, `trials`, ...
    problem: str  # why no trial can ever be placed; empty where one can


@dataclass(frozen=True)
class Amount:
    """How much a sweep writes about."""

    trials: int  # Tune's: configurations, each with all of its seeds
    trainings: int
    iterations: int  # of all trainings
    copied_from: int  # checkpoints of a population beyond the last of each training
    at_once: int
    tracked: bool  # whether W&B writes


@dataclass(frozen=True)
class Disk:
    """Bytes of a sweep's folder at its end, in parts."""

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


def machine() -> Machine:
    """What this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    cpus = len(affinity(0)) if affinity else os.cpu_count() or 1
    free = psutil.virtual_memory().available - OBJECT_STORE_BYTES
    return Machine(cpus, _gpus(), max(free, 0))


def _gpus() -> int:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1", "NoDevFiles")])
    return len(list(GPUS.iterdir())) if GPUS.is_dir() else 0


def placement(wanted: Resources, max_concurrent: int | None, trials: int, here: Machine) -> Placement:
    """How many trials run at a time, and why not more."""
    room = {"resources.cpu": _fits(here.cpus, wanted.cpu)}
    if wanted.gpu:
        room["resources.gpu"] = _fits(here.gpus, wanted.gpu)
    if wanted.memory:
        room["resources.memory"] = _fits(here.memory, wanted.memory)
    problem = "; ".join(_unplaceable(key, wanted, here) for key, number in room.items() if number < 1)
    if max_concurrent:
        room["max_concurrent"] = max_concurrent
    room["trials"] = trials
    limit = min(room, key=lambda key: room[key])
    return Placement(wanted.cpu, wanted.gpu, wanted.memory, here, room[limit], limit, problem)


def _fits(there: float, each: float) -> int:
    return int(there / each + 1e-9)  # 7 / 0.07 is 99.99999999999999


def _unplaceable(key: str, wanted: Resources, here: Machine) -> str:
    name = key.removeprefix("resources.")
    if name == "memory":
        return f"{key}: each trial asks for {in_bytes(wanted.memory or 0)}, and {in_bytes(here.memory)} are free here"
    there = here.cpus if name == "cpu" else here.gpus
    return f"{key}: each trial asks for {getattr(wanted, name):g} {name.upper()}s, and this machine has {there}"


def in_bytes(size: float) -> str:
    """`1.5 MB`, three digits at most."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB"


def disk(plan: SweepPlan, amount: Amount) -> Disk:
    """Checkpoints (the last of each training, another while it is written, a population's, the winner's), records."""
    size = max(checkpoint_bytes(config) for config in _agents([trial.config for trial in plan.trials]))
    # The winner is copied to best/, and by W&B to its own folder.
    checkpoints = size * (amount.trainings + amount.copied_from + amount.at_once + (2 if amount.tracked else 1))
    runs = amount.trainings * WANDB_BYTES + amount.iterations * WANDB_ITERATION_BYTES if amount.tracked else 0
    records = amount.trials * TRIAL_BYTES + runs
    needed, free = checkpoints + records, shutil.disk_usage(existing(storage_of(plan))).free
    assumed = (
        f"the last checkpoint of each training, {in_bytes(size)} before it is trained; "
        f"{in_bytes(TRIAL_BYTES)} of Tune's records for each configuration"
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
    """The storage folder of a sweep, which may not exist yet."""
    return Path(plan.spec.storage).expanduser().resolve()


def existing(path: Path) -> Path:
    """The path itself, or the closest folder above it that exists."""
    return next(place for place in (path, *path.parents) if place.is_dir())


def storage(plan: SweepPlan) -> Storage:
    """Whether the folder can be written: a folder is made in it, or in the closest one that exists, and removed."""
    path = storage_of(plan)
    folder = path / plan.spec.name
    facts: dict[str, Any] = {"path": str(path), "folder": str(folder), "exists": (folder / SPEC).is_file()}
    blocked = next((place for place in (path, *path.parents) if place.exists() and not place.is_dir()), None)
    if blocked:
        return Storage(**facts, problem=f"{blocked} is no folder")
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".gaelp-ray-", dir=existing(path)))
    except OSError as error:
        return Storage(**facts, problem=os.strerror(error.errno or 0))
    return Storage(**facts, problem="")
