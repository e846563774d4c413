"""One parameter of a sweep file in W&B's syntax, and mappings of parameters, nested to any depth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from gaelp_ray.config import number_remedy
from gaelp_ray.sweep.format.distributions import LARGEST_EXPONENT, Distribution
from gaelp_ray.sweep.format.document import KeyPath


class Block(BaseModel):
    """A mapping of known keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


LARGEST = 2.0**62
"""Bound of numbers in a sweep file: integers are drawn in 64 bits."""


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < LARGEST:
        raise ValueError(number_remedy(value))
    return value


Number = Annotated[Any, BeforeValidator(_number), WithJsonSchema({"type": "number"})]
"""An int or a float, kept as it was written: W&B infers the distribution from it."""

DistributionName = Literal[
    "constant",
    "categorical",
    "categorical_w_probabilities",
    "int_uniform",
    "uniform",
    "q_uniform",
    "log_uniform",
    "log_uniform_values",
    "q_log_uniform",
    "q_log_uniform_values",
    "inv_log_uniform",
    "inv_log_uniform_values",
    "normal",
    "q_normal",
    "log_normal",
    "q_log_normal",
    "beta",
    "q_beta",
]

_BOUNDED = (("min", "max"), ())
_BOUNDED_Q = (("min", "max"), ("q",))

KEYS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "constant": (("value",), ()),
    "categorical": (("values",), ("probabilities",)),
    "categorical_w_probabilities": (("values", "probabilities"), ()),
    "int_uniform": _BOUNDED,
    "uniform": _BOUNDED,
    "q_uniform": _BOUNDED_Q,
    "log_uniform": _BOUNDED,
    "log_uniform_values": _BOUNDED,
    "q_log_uniform": _BOUNDED_Q,
    "q_log_uniform_values": _BOUNDED_Q,
    "inv_log_uniform": _BOUNDED,
    "inv_log_uniform_values": _BOUNDED,
    "normal": ((), ("mu", "sigma")),
    "q_normal": ((), ("mu", "sigma", "q")),
    "log_normal": ((), ("mu", "sigma")),
    "q_log_normal": ((), ("mu", "sigma", "q")),
    "beta": ((), ("a", "b")),
    "q_beta": ((), ("a", "b", "q")),
}
"""The keys that each distribution needs, and those it has defaults for."""

FORMS = "value; values; min and max; parameters; or a distribution such as normal"


class ParameterSpec(Block):
    """One parameter: `value`, `values`, `min` and `max`, a named distribution, or nested `parameters`."""

    value: Any = Field(None, description="the only value")
    values: tuple[Any, ...] | None = Field(
        None, strict=False, description="one of these values", json_schema_extra={"minItems": 1}
    )
    probabilities: tuple[Number, ...] | None = Field(None, strict=False, description="of each of `values`; sum to 1")
    min: Number | None = Field(None, description="smallest value; of log_uniform, an exponent of e")
    max: Number | None = Field(None, description="largest value; of log_uniform, an exponent of e")
    mu: Number = Field(0.0, description="mean of a normal, or of a log_normal's logarithm")
    sigma: Number = Field(1.0, description="standard deviation of a normal, or of a log_normal's logarithm")
    a: Number = Field(1.0, description="first shape of a beta")
    b: Number = Field(1.0, description="second shape of a beta")
    q: Number = Field(1, description="values are multiples of q; a whole q gives whole numbers")
    distribution: DistributionName | None = Field(None, description="inferred from the other keys if left out")
    parameters: dict[str, ParameterSpec] | None = Field(None, min_length=1, description="nested parameters")

    @property
    def kind(self) -> str:
        """The distribution, inferred as W&B does where none is named."""
        if self.distribution:
            return self.distribution
        if self.values is not None:
            return "categorical_w_probabilities" if self.probabilities else "categorical"
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

    @property
    def prior(self) -> Distribution:
        """The distribution with its arguments; of nested parameters there is none."""
        if self.kind == "constant":
            return Distribution("constant", values=(self.value,))
        if self.values is not None:
            return Distribution(self.kind, values=self.values, probabilities=self.probabilities)
        shape = {key: getattr(self, key) for key in ("mu", "sigma", "a", "b", "q")}
        if self.min is not None and self.max is not None:
            shape |= {"low": self.min, "high": self.max}
        return Distribution(self.kind, **shape)

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Only what was written: a default that the distribution does not take would be refused when read again."""
        written = {key: value for key, value in handler(self).items() if key in self.model_fields_set}
        return written | ({"value": None} if self.value is None and "value" in self.model_fields_set else {})

    @model_validator(mode="after")
    def _one_form(self) -> ParameterSpec:
        given = self.model_fields_set - {"distribution"}
        if "parameters" in given:
            if self.parameters is None or self.model_fields_set != {"parameters"}:
                raise ValueError("parameters holds nested parameters and stands alone: move the other keys below it")
            return self
        if not self.distribution:
            forms = [("value" in given), ("values" in given), bool({"min", "max"} & given)]
            if sum(forms) != 1 and not (given and sum(forms) == 0):
                raise ValueError(f"needs exactly one of: {FORMS}")
            if sum(forms) == 0:
                raise ValueError(f"needs a distribution that takes {_listed(given)}: {', '.join(_takers(given))}")
        self._check_keys(given)
        return self

    def _check_keys(self, given: set[str]) -> None:
        needed, optional = KEYS[self.kind]
        missing = [key for key in needed if key not in given or (key != "value" and getattr(self, key) is None)]
        if missing:
            raise ValueError(f"{self.kind} needs {' and '.join(missing)}")
        stray = given - {*needed, *optional}
        if stray == {"probabilities"}:
            raise ValueError("probabilities belong to values")
        if stray:
            takers = _takers(given)
            them = "it" if len(stray) == 1 else "them"
            remedy = f"name a distribution that does: {', '.join(takers)}" if takers else f"leave {them} out"
            raise ValueError(f"{self.kind} takes no {_listed(stray)}: {remedy}")

    @model_validator(mode="after")
    def _in_order(self) -> ParameterSpec:
        if self.parameters is None:
            for check in (self._values_problem, self._bounds_problem, self._shape_problem):
                if problem := check():
                    raise ValueError(problem)
        return self

    def _values_problem(self) -> str:
        if self.values is None:
            return ""
        if not self.values:
            return "values is empty: list at least one"
        if self.probabilities is None:
            return ""
        if len(self.probabilities) != len(self.values):
            return f"{len(self.probabilities)} probabilities for {len(self.values)} values"
        if min(self.probabilities) < 0 or abs(sum(self.probabilities) - 1.0) > 1.001e-5:  # W&B's tolerance
            return "probabilities must be at least 0 and sum to 1"
        return ""

    def _bounds_problem(self) -> str:
        if self.min is None or self.max is None:
            return ""
        if not self.min < self.max:
            return f"min {self.min} is not below max {self.max}"
        if self.kind.endswith("_values") and self.min <= 0:
            return f"{self.kind} needs min > 0, not {self.min}"
        if self.kind == "int_uniform" and not (isinstance(self.min, int) and isinstance(self.max, int)):
            return "int_uniform needs whole numbers for min and max"
        if self.kind.endswith("log_uniform") and max(abs(self.min), abs(self.max)) > LARGEST_EXPONENT:
            return f"{self.kind} takes exponents of e, and these are no numbers: {self.kind}_values takes limits"
        return ""

    def _shape_problem(self) -> str:
        if self.q <= 0:
            return f"q must be above 0, not {self.q}"
        if self.sigma < 0:
            return f"sigma must be at least 0, not {self.sigma}"
        if min(self.a, self.b) <= 0:
            return f"a and b must be above 0, not {min(self.a, self.b)}"
        if self.kind.endswith("log_normal") and self.mu + 9 * self.sigma > LARGEST_EXPONENT:
            return f"{self.kind} takes mu and sigma of the logarithm, and e^{self.mu + 9 * self.sigma:g} is no number"
        return ""


def _listed(keys: set[str]) -> str:
    return " and ".join(key for key in ParameterSpec.model_fields if key in keys)


def _takers(given: set[str]) -> list[str]:
    """Distributions that take all of the given keys."""
    return [name for name, (needed, optional) in KEYS.items() if given <= {*needed, *optional}]


@dataclass(frozen=True)
class Leaf:
    """One parameter that has a value, however deep it is nested."""

    names: tuple[str, ...]  # of the mappings that hold it, and its own
    path: KeyPath  # of its key in the file
    parameter: ParameterSpec

    @property
    def name(self) -> str:
        """Dotted: `ppo.clip_range`, however it was written."""
        return ".".join(self.names)


def leaves(parameters: Mapping[str, ParameterSpec], names: tuple[str, ...] = (), path: KeyPath = ()) -> Iterator[Leaf]:
    """Every parameter that has a value, in the order of the file."""
    for key, parameter in parameters.items():
        here = Leaf((*names, key), (*path, "parameters", key), parameter)
        if parameter.parameters is None:
            yield here
        else:
            yield from leaves(parameter.parameters, here.names, here.path)
