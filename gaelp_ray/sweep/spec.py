"""A sweep file as an object: W&B's sweep format, and our keys beyond it.

load_sweep() checks the format: keys, types and the parameter syntax. Whether the parameters are fields of a trial is
checked where trials are planned (plan.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from gaelp_ray.config import explain, number_remedy
from gaelp_ray.errors import did_you_mean
from gaelp_ray.records import MIN_DELIVERY
from gaelp_ray.sweep.document import Document, Problem, read_document

LAUNCHER_KEYS = frozenset({"program", "command", "controller", "job", "image_uri", "settings", "kind", "apiVersion"})
"""Keys of W&B's own launcher: accepted, reported as unused, ignored."""

NOT_YET = frozenset({"early_terminate"})
"""Keys of W&B's format that change a sweep's outcome and that nobody here acts on: refused, not ignored."""


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(number_remedy(value))
    return value


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
        if self.min is None:
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
        missing = sorted(needed - given)
        if missing:
            raise ValueError(f"{self.kind} needs {' and '.join(missing)}")
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
    memory: int | None = Field(None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _bytes(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("memory"), str):
            return data | {"memory": parse_bytes(data["memory"])}
        return data


class SelectSpec(_Block):
    """The final stage: who is re-flown, on how many fresh flights, and what a winner must deliver."""

    top_k: int = Field(5, ge=1, le=1000)
    episodes: int = Field(2048, ge=16, le=10_000_000)
    confidence: float = Field(0.95, gt=0.5, lt=1.0)
    min_delivery: float = Field(MIN_DELIVERY, ge=0.0, le=1.0)
    include_default: bool = True


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
    storage: str = "./results"
    tracking: TrackingSpec = TrackingSpec()

    @model_validator(mode="after")
    def _random_needs_an_end(self) -> SweepSpec:
        if self.method == "random" and self.run_cap is None:
            raise ValueError("method random has no end of its own: give run_cap, the number of configurations")
        return self


def load_sweep(path: str | Path) -> SweepSpec:
    """A sweep file as a SweepSpec. Raises SweepFileError with every problem of its format, each with its line."""
    spec, _ = load_with_places(Path(path))
    return spec


def load_with_places(path: Path) -> tuple[SweepSpec, Document]:
    """load_sweep, with the places of all keys, for those who have more to complain about."""
    document = read_document(path)
    spec, problems = parse(document)
    if problems or spec is None:
        raise document.complain(problems)
    return spec, document


def parse(document: Document) -> tuple[SweepSpec | None, list[Problem]]:
    """The spec and the problems of a document's format.

    Where there are problems, the spec is what remains without the keys that have them, so that a caller can go on
    complaining about the rest; None where nothing sensible remains.
    """
    data = {key: value for key, value in document.data.items() if key not in LAUNCHER_KEYS}
    data.setdefault("name", Path(document.where).stem)
    try:
        return SweepSpec.model_validate(data), []
    except ValidationError as error:
        details = error.errors()
    problems = [_problem(detail) for detail in details]
    for detail in details:
        _drop(data, detail["loc"])
    try:
        return SweepSpec.model_validate(_filled(data)), problems
    except ValidationError:
        return None, problems


def _filled(data: dict[str, Any]) -> dict[str, Any]:
    """Stand-ins for required keys that had problems, so that the rest can be checked; nothing is run with them."""
    stand_ins = {"name": "unnamed", "method": "random", "run_cap": 1}
    parameters = data.get("parameters") or {"batch_size": {"value": 32}}
    return stand_ins | data | {"parameters": parameters}


def unused_keys(document: Document) -> list[str]:
    """Keys of W&B's launcher that the file has and nobody here reads."""
    return sorted(set(document.data) & LAUNCHER_KEYS)


def _drop(data: dict[str, Any], loc: tuple[str | int, ...]) -> None:
    """Remove the innermost whole thing that holds a problem: a parameter, or a key of the top level."""
    if loc and loc[0] == "parameters" and len(loc) > 1 and isinstance(data.get("parameters"), dict):
        data["parameters"] = {k: v for k, v in data["parameters"].items() if k != loc[1]}
    elif loc:
        data.pop(str(loc[0]), None)


def _problem(detail: Mapping[str, Any]) -> Problem:
    path = tuple(detail["loc"])
    kind, message = detail["type"], str(detail["msg"])
    if kind == "extra_forbidden" and path[0] in NOT_YET:
        return Problem(path, "this key of W&B's format is not supported yet: leave it out")
    if kind == "extra_forbidden":
        return Problem(path, f"unknown key. {did_you_mean(str(path[-1]), _known_keys(path))}")
    if kind == "missing":
        return Problem(path, "the key is missing")
    if kind == "value_error":
        return Problem(path, message.removeprefix("Value error, "))
    if path == ("name",) and kind == "string_pattern_mismatch":
        return Problem(path, f"{detail['input']!r} names a folder: use letters, digits, dot, dash and underscore")
    return Problem(path, explain(message, detail["input"]))


def _known_keys(path: tuple[str | int, ...]) -> list[str]:
    """Keys that may stand where an unknown one was found."""
    if len(path) == 1:
        return list(SweepSpec.model_fields)
    if path[0] == "parameters":
        return list(ParameterSpec.model_fields)
    block = SweepSpec.model_fields[str(path[0])].annotation
    return list(block.model_fields) if isinstance(block, type) and issubclass(block, BaseModel) else []


_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def parse_bytes(text: str) -> int:
    """Bytes of a text like `1GiB`. Raises ValueError naming the units."""
    match = re.fullmatch(r"\s*([0-9.]+)\s*([A-Za-z]*)\s*", text)
    if not match or match[2].lower() not in _UNITS:
        raise ValueError(f"memory {text!r} is no size: write a number with KiB, MiB or GiB")
    return int(float(match[1]) * _UNITS[match[2].lower()])
