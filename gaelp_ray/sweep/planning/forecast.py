"""Everything that can be known of a sweep before it runs: what is drawn, kept, needed, and how long it takes.

Starts nothing, unless a cluster is asked, and leaves nothing behind. Start at forecast();
Forecast.require_possible() says what would keep the sweep from running here, or on that cluster.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from gaelp_ray.errors import InputError, ResourceError, StorageError
from gaelp_ray.sweep.format.blocks import Population
from gaelp_ray.sweep.planning import machine
from gaelp_ray.sweep.planning.cluster import cluster_at
from gaelp_ray.sweep.planning.kept import Kept, further_seeds, kept
from gaelp_ray.sweep.planning.machine import Disk, Storage
from gaelp_ray.sweep.planning.placement import Placement, placement
from gaelp_ray.sweep.planning.plan import SweepPlan
from gaelp_ray.sweep.planning.ranges import PRIOR_DRAWS, ParameterRange, parameter_ranges
from gaelp_ray.sweep.planning.resolution import Resolution, measure_resolution
from gaelp_ray.sweep.planning.smoke import Duration, duration, measure


@dataclass(frozen=True)
class Counts:
    """How much there is to train. A training is one configuration (the control arm is one) with one seed."""

    configurations: int
    control_arm: bool
    seeds: tuple[int, int]  # least and most of a configuration
    trainings: int  # at most: where seeds race, one that fails or is stopped gets no further seed


@dataclass(frozen=True)
class Tracking:
    """W&B's mode and why; `mode` is None where the one that was asked for cannot be had."""

    mode: str | None
    why: str


@dataclass(frozen=True)
class Forecast:
    """A sweep before it runs."""

    counts: Counts
    drawn: str  # what the ranges are of
    parameters: tuple[ParameterRange, ...]
    kept: Kept
    resources: Placement
    disk: Disk
    storage: Storage
    tracking: Tracking
    time: Duration | None  # None unless it was measured
    resolution: Resolution | None  # None unless it was measured, and where it cannot be

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def require_possible(self) -> None:
        """Raises InputError (ResourceError, StorageError) with one line for each thing that the sweep cannot get.

        A disk that is too small by an estimate, or a sweep of the same name, is none of them.
        """
        found: list[InputError] = []
        try:
            self.resources.require_possible()
        except ResourceError as error:
            found.append(error)
        if self.storage.problem:
            remedy = "Change `storage`, or give another with --storage"
            path, reason = self.storage.path, self.storage.problem
            found.append(StorageError(f"storage: cannot write to the storage folder {path}: {reason}. {remedy}"))
        if self.tracking.mode is None:
            found.append(InputError(self.tracking.why))
        if len(found) == 1:
            raise found[0]
        if found:
            raise InputError("\n".join(map(str, found)))


def forecast(plan: SweepPlan, measured: bool = False, address: str | None = None) -> Forecast:
    """What a planned sweep will take; with `measured`, some of its training is flown here for the time it takes.

    With `address`, trials are placed on the Ray cluster there. Raises InputError where there is none.
    """
    spec = plan.spec
    there = machine.machine() if address is None else cluster_at(address)
    counts, leaves = _counts(plan), _kept(plan)
    place = placement(spec.resources, spec.max_concurrent, len(plan.trials), there)
    tracking = _tracking(spec.tracking.mode)
    return Forecast(
        counts=counts,
        drawn=f"{PRIOR_DRAWS} draws from the prior" if spec.method == "bayes" else f"{counts.configurations:,} drawn",
        parameters=parameter_ranges(plan),
        kept=leaves,
        resources=place,
        disk=disk_of(plan, place.at_once, tracking.mode != "disabled"),
        storage=machine.storage(plan, len(place.nodes)),
        tracking=tracking,
        time=_duration(plan, leaves, place) if measured else None,
        resolution=measure_resolution(plan) if measured else None,
    )


def disk_of(plan: SweepPlan, at_once: int, tracked: bool) -> Disk:
    """Bytes that a sweep writes at most, with so many trials at a time, and with W&B or without."""
    checkpoints = 2 if isinstance(plan.spec.scheduler, Population) else 1
    counts = _counts(plan)
    amount = machine.Amount(len(plan.trials), counts.trainings, _kept(plan).most, checkpoints, at_once, tracked)
    return machine.disk(plan, amount)


def _kept(plan: SweepPlan) -> Kept:
    arms = plan.trials
    return kept(plan.spec, [arm.config.iterations for arm in arms], [arm.config.batch_size for arm in arms])


def _duration(plan: SweepPlan, leaves: Kept, place: Placement) -> Duration:
    time = duration(plan, measure(plan), leaves, place)
    if place.address is None:
        return time
    spread = f"{place.at_once:,} trials at a time on the cluster, whose nodes are taken to be as fast"
    return replace(time, based_on=f"{time.based_on}; {spread}")


def _counts(plan: SweepPlan) -> Counts:
    spec, arms, control = plan.spec, len(plan.trials), plan.spec.select.include_default
    seeds = (spec.seeds.min, spec.seeds.max)
    return Counts(arms - control, control, seeds, arms * spec.seeds.min + further_seeds(spec, arms))


def _tracking(wanted: str) -> Tracking:
    from gaelp_ray.tracking.modes import choose_mode  # imports wandb

    try:
        chosen = choose_mode(wanted)
    except InputError as error:
        return Tracking(None, str(error))
    return Tracking(chosen.mode, chosen.why)
