"""The blocks of a sweep file beside its parameters: W&B's metric and early_terminate, and everything of ours."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from gaelp_ray.records import METRIC_NAMES, MIN_DELIVERY
from gaelp_ray.sweep.format.parameters import LARGEST, Block, Number, ParameterSpec

_SIZES = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_bytes(text: str) -> int:
    """Bytes of a text like `1GiB`. Raises ValueError naming the units."""
    match = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    if not match or match[2].lower() not in _SIZES:
        raise ValueError(f"memory {text!r} is no size: write a number with KiB, MiB or GiB")
    return int(float(match[1]) * _SIZES[match[2].lower()])


def parse_seconds(written: object) -> object:
    """Seconds of a text like `90`, `30s`, `10m`, `2h` or `1h30m`; what is no text stays as it is.

    Raises ValueError naming the units.
    """
    if not isinstance(written, str):
        return written
    text = written.replace(" ", "").lower()
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]+)?", text):
        return float(text)
    parts = re.findall(r"([0-9]{1,12}(?:\.[0-9]+)?)([smhd])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{written!r} is no time: write seconds, or a number with s, m, h or d, such as 2h")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


Seconds = Annotated[
    float,
    BeforeValidator(parse_seconds),
    Field(gt=0, le=10**9),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}]}),
]
Imputed = Literal["latest", "best", "worst"]


class MetricSpec(Block):
    """What the search optimises. `goal` has no default here for return metrics: W&B's is minimize."""

    name: str = Field("delivered_roas", json_schema_extra={"examples": list(METRIC_NAMES)})
    goal: Literal["maximize", "minimize"] | None = None
    target: Number | None = Field(None, description="a trial that reaches it ends the sweep")
    impute: Imputed | None = Field(None, description="of W&B's controller; unused here")
    impute_while_running: Literal["latest", "best", "worst", "false"] | None = Field(
        None, description="of W&B's controller; unused here"
    )


class EarlyTerminate(Block):
    """W&B's Hyperband: stop a trial that is not among the best 1/eta when it reaches a band."""

    type: Literal["hyperband"]
    min_iter: int | None = Field(None, ge=1, description="the first band; the next are eta times further")
    max_iter: int | None = Field(None, ge=1, description="bands lie at max_iter / eta, max_iter / eta^2, ...")
    s: int | None = Field(None, ge=1, le=100, description="number of bands below max_iter")
    eta: Annotated[Number, Field(gt=1)] = Field(3, description="a band keeps 1 of eta trials")
    strict: bool = Field(False, description="judge the value at the band, not the best one so far")

    @model_validator(mode="after")
    def _has_bands(self) -> EarlyTerminate:
        if self.min_iter is None and (self.max_iter is None or self.s is None):
            raise ValueError("hyperband needs min_iter, or max_iter and s")
        if not self.bands:
            raise ValueError(f"max_iter {self.max_iter} / eta {self.eta} is below 1, which is no band: raise max_iter")
        return self

    @property
    def bands(self) -> tuple[int, ...]:
        """Iterations at which trials are judged, as W&B counts them: 3, 9 and 27 for max_iter 81, eta 3 and s 3.

        With min_iter there is no end, and bands up to 2^62 are listed. Where both are given, max_iter counts.
        """
        bands: list[int] = []
        if self.max_iter is not None and self.s is not None:
            band: float = self.max_iter
            while len(bands) < self.s and (band := band / self.eta) >= 1:
                bands.insert(0, int(band))
        elif self.min_iter is not None:
            band = self.min_iter
            while band < LARGEST and len(bands) < 100:
                bands.append(int(band))
                band *= self.eta
        return tuple(bands)


class NoScheduler(Block):
    """Every trial runs to its end."""

    type: Literal["none"] = "none"


class Asha(Block):
    """Asynchronous successive halving."""

    type: Literal["asha"]
    grace_period: int = Field(1, ge=1, description="iterations that every trial may run")
    reduction_factor: Annotated[Number, Field(gt=1)] = Field(4, description="a rung keeps 1 of so many trials")
    brackets: int = Field(1, ge=1, le=100)


class HyperBand(Block):
    """HyperBand with synchronous brackets."""

    type: Literal["hyperband"]
    reduction_factor: Annotated[Number, Field(gt=1)] = Field(3, description="a rung keeps 1 of so many trials")


class Median(Block):
    """Stop a trial whose best value is below the median of the others' means."""

    type: Literal["median"]
    grace_period: int = Field(1, ge=1, description="iterations that every trial may run")
    min_samples: int = Field(3, ge=1, description="other trials that a median needs")


class Population(Block):
    """Population-based training: bad trials continue from good ones with changed parameters."""

    type: Literal["pbt", "pb2"]
    perturbation_interval: int = Field(10, ge=1, description="iterations between two exchanges")
    quantile_fraction: float = Field(0.25, ge=0.0, le=0.5, description="share of trials that is replaced, and copied")
    resample_probability: float = Field(0.25, ge=0.0, le=1.0, description="of a new draw in place of a small change")
    hyperparam_mutations: dict[str, ParameterSpec] | None = Field(
        None, min_length=1, description="what may change, and its range; all parameters if left out"
    )


Scheduler = Annotated[NoScheduler | Asha | HyperBand | Median | Population, Field(discriminator="type")]


class Seeds(Block):
    """Seeds of one configuration: `seeds: 3`, or from min to max where only promising ones get more."""

    min: int = Field(1, ge=1, le=1000)
    max: int = Field(1, ge=1, le=1000)

    @model_validator(mode="after")
    def _in_order(self) -> Seeds:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


def _seed_range(written: object) -> object:
    if isinstance(written, int) and not isinstance(written, bool):
        if not 1 <= written <= 1000:
            raise ValueError(f"{written} seeds: write 1 to 1000")
        return {"min": written, "max": written}
    return written


SeedRange = Annotated[Seeds, BeforeValidator(_seed_range, json_schema_input_type=int | Seeds)]


class Plateau(Block):
    """End a trial whose metric has not improved for a while."""

    patience: int = Field(ge=1, description="iterations without an improvement")
    min_delta: float = Field(0.0, ge=0.0, description="what counts as an improvement")


class Stop(Block):
    """When a trial ends, and when the sweep does."""

    iterations: int | None = Field(None, ge=1, description="of a trial: batches of flights")
    env_steps: int | None = Field(None, ge=1, description="of all trials together")
    time: Seconds | None = Field(None, description="of the sweep: seconds, or 30s, 10m, 2h")
    trial_time: Seconds | None = Field(None, description="of a trial: seconds, or 30s, 10m, 2h")
    target: Number | None = Field(None, description="a trial that reaches this value of the metric ends the sweep")
    plateau: Plateau | None = None
    failures: int | None = Field(None, ge=1, description="trials in a row that died of the same error end the sweep")


class Resources(Block):
    """What Ray reserves for one trial."""

    cpu: float = Field(1.0, gt=0)
    gpu: float = Field(0.0, ge=0)
    memory: Annotated[
        int | None,
        BeforeValidator(lambda v: parse_bytes(v) if isinstance(v, str) else v, json_schema_input_type=int | str | None),
    ] = Field(None, gt=0, lt=2**62, description="bytes, or a size such as 1GiB")


LEAST_FLIGHTS = 16
"""Of any arm in the final stage."""


class SelectSpec(Block):
    """The final stage: who is re-flown, on how many fresh flights, what a winner must deliver, and bounds to keep."""

    top_k: int = Field(5, ge=1, le=1000, description="trials in the race, beside the control arm")
    episodes: int = Field(
        1024, ge=LEAST_FLIGHTS, le=10_000_000, description="fresh flights that confirm the arm that was chosen"
    )
    include_default: bool = True
    budget: int | None = Field(
        None, le=10**10, description="flights of the race, of all its arms together; episodes for each, if left out"
    )
    confidence: float = Field(
        0.95, gt=0.5, lt=1.0, description="of the intervals; 1 - confidence is the race's error probability"
    )
    min_delivery: float = Field(MIN_DELIVERY, ge=0.0, le=1.0)
    constraints: dict[str, Number] = Field({}, description="bounds that a winner keeps: max_cpa: 200")
    markets: tuple[str, ...] = Field(
        (), strict=False, description="other markets in which the arm that is kept flies, too; they decide nothing"
    )

    @field_validator("budget")
    @classmethod
    def _has_a_round_for_all(cls, budget: int | None, info: ValidationInfo) -> int | None:
        if budget is None or not {"top_k", "include_default"} <= info.data.keys():  # those have problems of their own
            return budget
        arms = info.data["top_k"] + info.data["include_default"]
        if budget < LEAST_FLIGHTS * arms:
            remedy = f"write {LEAST_FLIGHTS * arms} or more, or a lower top_k"
            raise ValueError(f"budget {budget} is too small for {arms} arms: {remedy}")
        return budget


def _tag(written: str) -> str:
    if not 1 <= len(written) <= 64:  # wandb would refuse every run
        raise ValueError(f"a tag has 1 to 64 characters, and {written!r} has {len(written)}: write another")
    return written


class TrackingSpec(Block):
    """W&B: where runs go."""

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    group: str | None = None
    tags: tuple[Annotated[str, AfterValidator(_tag)], ...] = Field((), strict=False)


LAUNCHER_SCHEDULER = frozenset(
    {"engine", "source", "optimizer", "search_space", "job", "num_workers", "resource", "resource_args", "settings"}
    | {"queue", "image_uri", "docker_image", "template_variables"}
)


def is_launchers(scheduler: Any) -> bool:
    """Whether a `scheduler` is W&B's launcher's, which has no `type`, and not one of ours."""
    return isinstance(scheduler, dict) and "type" not in scheduler and bool(LAUNCHER_SCHEDULER & set(scheduler))
