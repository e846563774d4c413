"""What every trial of a sweep knows about it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaelp_ray.sweep.format.blocks import Population
from gaelp_ray.sweep.format.spec import SweepSpec
from gaelp_ray.sweep.planning.plan import SweepPlan


@dataclass(frozen=True)
class SharedSettings:
    """What every trial of a sweep knows about it, as plain values for the workers."""

    sweep_id: str  # makes the ids of W&B runs unique when a sweep is run again
    session: str  # of the driver; what was recorded in another one is reported again
    folder: str  # of the sweep
    seed: int
    market: Mapping[str, Any]  # that trials are validated in
    metric: str
    goal: str
    max_iterations: int | None  # that a trial may run, whatever its configuration says
    population: int  # iterations between two exchanges of a population; 0: none
    replays: bool  # whether somebody must hear again what earlier sessions have recorded
    mode: str
    project: str
    entity: str | None
    group: str
    tags: tuple[str, ...]
    remote: str | None = None  # the sweep's URL in S3, whose working copy `folder` is
    turn: str = ""  # of the driver, while nobody has gone on with the sweep elsewhere
    cluster: bool = False  # whether trials may run on other machines than the driver's
    ended: tuple[str, ...] = ()  # trials of earlier sessions, which are heard again and not flown

    @classmethod
    def of(cls, plan: SweepPlan, folder: Path, sweep_id: str, mode: str) -> SharedSettings:
        """The settings of a planned sweep."""
        spec = plan.spec
        return cls(
            sweep_id=sweep_id,
            session=uuid.uuid4().hex[:8],
            folder=str(folder),
            seed=spec.seed,
            market=plan.market.model_dump(mode="json"),
            metric=spec.metric.name,
            goal=plan.goal,
            max_iterations=spec.stop.iterations,
            population=spec.scheduler.perturbation_interval if isinstance(spec.scheduler, Population) else 0,
            replays=has_scheduler(spec) or spec.stop.plateau is not None,
            mode=mode,
            project=spec.project,
            entity=spec.entity,
            group=spec.tracking.group or spec.name,
            tags=spec.tracking.tags,
        )


def has_scheduler(spec: SweepSpec) -> bool:
    """Whether somebody may stop or change trials who has to know what all of them have reported."""
    return spec.scheduler.type != "none" or spec.early_terminate is not None
