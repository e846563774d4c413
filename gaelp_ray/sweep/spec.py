"""A sweep file as an object: W&B's sweep format, and our keys beyond it.

Each model checks itself when it is made. load.py makes them from a file and words what is wrong with it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gaelp_ray.config import number_remedy
from gaelp_ray.records import MIN_DELIVERY

NO_END = "method random has no end of its own: give run_cap, the number of configurations"


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def parse_bytes(text: str) -> int:
    """Bytes of a text like `1GiB`. Raises ValueError naming the units."""
    match = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    if not match or match[2].lower() not in _UNITS:
        raise ValueError(f"memory {text!r} is no size: write a number with KiB, MiB or GiB")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < LARGEST:
        raise ValueError(number_remedy(value))
    return value


LARGEST = 2.0**62
"""Bound of numbers in a sweep file: integers are drawn in 64 bits."""

Number = Annotated[Any, BeforeValidator(_number)]
"""An int or a float, kept as it was written: W&B infers the distribution from it."""


class ParameterSpec(_Block):
    """One parameter in W&B's syntax: `value`, `values` (with `probabilities`), or `min` and `max`."""

    value: Any = None
    values: tuple[Any, ...] | None = Field(None, strict=False)
    probabilities: tuple[Number, ...] | None = Field(None, strict=False)
    min: Number | None = None
    max: Number | None = None
    distribution: Literal["constant", "categorical", "int_uniform", "uniform", "log_uniform_values"] | None = None

    @property
    def kind(self) -> str:
        """The distribution, inferred as W&B does where none is named."""
        if self.distribution:
            return self.distribution
        if self.values is not None:
            return "categorical"
        if not {"min", "max"} & self.model_fields_set:
            return "constant"
        whole = isinstance(self.min, int) and isinstance(self.max, int)
        return "int_uniform" if whole else "uniform"

    @property
    def bounds(self) -> tuple[float, float]:
        """min and max of a distribution that has them."""
        if self.min is None or self.max is None:
            raise ValueError(f"{self.kind} has no min and max")
        return self.min, self.max

    @model_validator(mode="after")
    def _one_form(self) -> ParameterSpec:
        given = self.model_fields_set
        forms = [("value" in given), ("values" in given), bool({"min", "max"} & given)]
        if sum(forms) != 1:
            raise ValueError("needs exactly one of: value; values; min and max")
        needed = {"constant": {"value"}, "categorical": {"values"}}.get(self.kind, {"min", "max"})
        missing = sorted(key for key in needed if key not in given or (key != "value" and getattr(self, key) is None))
        if missing:
            raise ValueError(f"{self.kind} needs {' and '.join(missing)}")
        if self.probabilities is not None and self.values is None:
            raise ValueError("probabilities belong to values")
        return self

    @model_validator(mode="after")
    def _in_order(self) -> ParameterSpec:
        if self.values is not None:
            self._check_values(self.values)
        elif self.min is not None and self.max is not None:
            if not self.min < self.max:
                raise ValueError(f"min {self.min} is not below max {self.max}")
            if self.kind == "log_uniform_values" and self.min <= 0:
                raise ValueError(f"log_uniform_values needs min > 0, not {self.min}")
            if self.kind == "int_uniform" and not (isinstance(self.min, int) and isinstance(self.max, int)):
                raise ValueError("int_uniform needs whole numbers for min and max")
        return self

    def _check_values(self, values: tuple[Any, ...]) -> None:
        if not values:
            raise ValueError("values is empty: list at least one")
        if self.probabilities is not None:
            if len(self.probabilities) != len(values):
                raise ValueError(f"{len(self.probabilities)} probabilities for {len(values)} values")
            if min(self.probabilities) < 0 or abs(sum(self.probabilities) - 1.0) > 1e-6:
                raise ValueError("probabilities must be at least 0 and sum to 1")


class MetricSpec(_Block):
    """What the search optimises. `goal` has no default here for return metrics: W&B's is minimize."""

    name: str = "delivered_roas"
    goal: Literal["maximize", "minimize"] | None = None


class Resources(_Block):
    """What Ray reserves for one trial."""

    cpu: float = Field(1.0, gt=0)
    gpu: float = Field(0.0, ge=0)
    memory: Annotated[int | None, BeforeValidator(lambda v: parse_bytes(v) if isinstance(v, str) else v)] = Field(
        None, gt=0, lt=2**62
    )


class SelectSpec(_Block):
    """The final stage: who is re-flown, on how many fresh flights, what a winner must deliver, and bounds to keep."""

    top_k: int = Field(5, ge=1, le=1000)
    episodes: int = Field(2048, ge=16, le=10_000_000)
    confidence: float = Field(0.95, gt=0.5, lt=1.0)
    min_delivery: float = Field(MIN_DELIVERY, ge=0.0, le=1.0)
    include_default: bool = True
    constraints: dict[str, Number] = {}  # max_cpa: 200; their names are checked where trials are planned


class TrackingSpec(_Block):
    """W&B: where runs go."""

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    group: str | None = None
    tags: tuple[str, ...] = Field((), strict=False)


class SweepSpec(_Block):
    """One sweep. Keys of W&B's format first, ours after."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    project: str = "gaelp-ray"
    entity: str | None = None
    description: str = ""
    method: Literal["random", "grid"]
    metric: MetricSpec = MetricSpec(name="delivered_roas", goal="maximize")
    parameters: dict[str, ParameterSpec] = Field(min_length=1)
    run_cap: int | None = Field(None, ge=1, le=1_000_000)
    trial: dict[str, Any] = {}
    seed: int = Field(0, ge=0)
    resources: Resources = Resources()
    max_concurrent: int | None = Field(None, ge=1)
    select: SelectSpec = SelectSpec()
    storage: str = Field("./results", min_length=1)
    tracking: TrackingSpec = TrackingSpec()

    @model_validator(mode="after")
    def _random_needs_an_end(self) -> SweepSpec:
        if self.method == "random" and self.run_cap is None:
            raise ValueError(NO_END)
        return self
