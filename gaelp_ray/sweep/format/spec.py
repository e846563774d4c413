"""A sweep file as an object: W&B's sweep format, and our keys beyond it.

Each model checks itself when it is made. load.py makes them from a file and words what is wrong with it.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from gaelp_ray.sweep.format import space
from gaelp_ray.sweep.format.blocks import (
    EarlyTerminate,
    MetricSpec,
    NoScheduler,
    Resources,
    Scheduler,
    SeedRange,
    Seeds,
    SelectSpec,
    Stop,
    TrackingSpec,
)
from gaelp_ray.sweep.format.parameters import Block, ParameterSpec
from gaelp_ray.sweep.format.publish import PublishSpec

NO_SAMPLER = "a sampler is of method bayes: remove it, or write `method: bayes`"
TWO_STOPPERS = "early_terminate and scheduler both stop trials: keep one of them"


class SweepSpec(Block):
    """One sweep. Keys of W&B's format first, ours after."""

    name: str = Field(description="the file's name if left out")
    project: str = "gaelp-ray"
    entity: str | None = None
    description: str = ""
    method: Literal["random", "grid", "bayes"]
    sampler: Literal["tpe", "gp"] | None = Field(None, description="of method bayes: tpe if left out; gp needs torch")
    metric: MetricSpec = MetricSpec(name="delivered_roas", goal="maximize")
    parameters: dict[str, ParameterSpec] = Field(min_length=1, description="what the trials differ in")
    run_cap: int | None = Field(None, ge=1, le=1_000_000, description="number of configurations")
    early_terminate: EarlyTerminate | None = None
    trial: dict[str, Any] = Field({}, description="fixed fields of every trial")
    seeds: SeedRange = Seeds()
    seed: int = Field(0, ge=0, description="root of every random number of the sweep")
    scheduler: Scheduler = NoScheduler()
    resources: Resources = Resources()
    max_concurrent: int | None = Field(None, ge=1, description="trials at a time; as many as fit if left out")
    stop: Stop = Stop()
    select: SelectSpec = SelectSpec()
    storage: str = Field("./results", min_length=1, description="folder that holds the sweeps, or s3://bucket/prefix")
    tracking: TrackingSpec = TrackingSpec()
    publish: PublishSpec = PublishSpec()

    @field_validator("project")
    @classmethod
    def _is_project(cls, written: str) -> str:
        if not re.fullmatch(r"[^/\\#?%:]{1,128}", written):  # wandb would refuse every run
            wanted = "1 to 128 characters, none of / \\ # ? % :"
            raise ValueError(f"{written!r} is no name of a project: write {wanted}, and a team under `entity`")
        return written

    @model_validator(mode="after")
    def _one_stopper(self) -> SweepSpec:
        if self.early_terminate and self.scheduler.type != "none":
            raise ValueError(TWO_STOPPERS)
        return self

    @model_validator(mode="after")
    def _sampler_of_bayes(self) -> SweepSpec:
        if self.sampler and self.method != "bayes":
            raise ValueError(NO_SAMPLER)
        return self

    def sample(self, n: int | None = None, seed: int | None = None) -> list[dict[str, Any]]:
        """The first `n` configurations, nested as the parameters are written; see space.sample()."""
        return space.sample(self, n, seed)
