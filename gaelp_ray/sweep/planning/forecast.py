"""Everything that can be known of a sweep before it runs: what is drawn, kept, needed, and how long it takes.

Starts nothing, needs no Ray, and leaves nothing behind. Start at forecast(); Forecast.require_possible() says what
would keep the sweep from running here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gaelp_ray.errors import InputError, ResourceError, StorageError
from gaelp_ray.sweep.format.spec import SweepSpec
from gaelp_ray.sweep.planning import machine
from gaelp_ray.sweep.planning.kept import Kept, copied_from, further_seeds, kept
from gaelp_ray.sweep.planning.machine import Disk, Placement, Storage
from gaelp_ray.sweep.planning.plan import SweepPlan
from gaelp_ray.sweep.planning.ranges import PRIOR_DRAWS, ParameterRange, parameter_ranges
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

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def require_possible(self) -> None:
        """Raises InputError (ResourceError, StorageError) with one line for each thing that the sweep cannot get.

        A disk that is too small by an estimate, or a sweep of the same name, is none of them.
        """
        found: list[InputError] = []
        if self.resources.problem:
            found.append(ResourceError(f"{self.resources.problem}: ask for less, or no trial would ever start"))
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


def forecast(plan: SweepPlan, measured: bool = False) -> Forecast:
    """What a planned sweep will take here; with `measured`, some of its training is flown for the time it takes."""
    spec = plan.spec
    arms = plan.trials
    counts = _counts(spec, len(arms))
    lengths = [arm.config.iterations for arm in arms]
    leaves = kept(spec, lengths, [arm.config.batch_size for arm in arms])
    place = machine.placement(spec.resources, spec.max_concurrent, len(arms), machine.machine())
    tracking = _tracking(spec.tracking.mode)
    tracked = tracking.mode != "disabled"
    copied = copied_from(spec, lengths)
    amount = machine.Amount(len(arms), counts.trainings, leaves.most, copied, place.at_once, tracked)
    return Forecast(
        counts=counts,
        drawn=f"{PRIOR_DRAWS} draws from the prior" if spec.method == "bayes" else f"{counts.configurations:,} drawn",
        parameters=parameter_ranges(plan),
        kept=leaves,
        resources=place,
        disk=machine.disk(plan, amount),
        storage=machine.storage(plan),
        tracking=tracking,
        time=duration(plan, measure(plan), leaves, place) if measured else None,
    )


def _counts(spec: SweepSpec, arms: int) -> Counts:
    seeds, control = spec.seeds, spec.select.include_default
    return Counts(arms - control, control, (seeds.min, seeds.max), arms * seeds.min + further_seeds(spec, arms))


def _tracking(wanted: str) -> Tracking:
    from gaelp_ray.tracking.modes import choose_mode  # imports wandb

    try:
        chosen = choose_mode(wanted)
    except InputError as error:
        return Tracking(None, str(error))
    return Tracking(chosen.mode, chosen.why)
