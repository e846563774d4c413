"""Configurations from a search space, determined by the file and its seed alone.

random: configuration i is drawn from (seed, i, parameter name), so that it depends neither on timing nor on how many
are drawn. grid: parameters in sorted order, the last varies fastest; values that stand twice count once.
"""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gaelp_ray.sweep.spec import ParameterSpec, SweepSpec

MAX_REDRAWS = 5000
"""Draws of one configuration until it is new; a space smaller than run_cap ends after that many repeats."""

MAX_LEVELS = 100_000
"""Values of one parameter in a grid."""


def configurations(spec: SweepSpec) -> list[dict[str, Any]]:
    """The sampled values of every configuration, keyed by parameter name, in the order in which they run."""
    drawn = grid(spec.parameters) if spec.method == "grid" else _distinct(spec)
    return list(itertools.islice(drawn, spec.run_cap))


def grid(parameters: Mapping[str, ParameterSpec]) -> Iterator[dict[str, Any]]:
    """Every combination of the parameters' values."""
    names = sorted(parameters)
    for combination in itertools.product(*(levels(parameters[name]) for name in names)):
        yield dict(zip(names, combination, strict=True))


def levels(parameter: ParameterSpec) -> list[Any]:
    """The values of one parameter in a grid. Raises ValueError for a continuous distribution."""
    if parameter.kind == "constant":
        return [parameter.value]
    if parameter.kind == "categorical":
        unique = {canonical(value): value for value in parameter.values or ()}
        return list(unique.values())
    if parameter.kind == "int_uniform":
        low, high = (int(bound) for bound in parameter.bounds)
        if high - low >= MAX_LEVELS:
            raise ValueError(f"a grid of {high - low + 1:,} values is no grid: use values, or method random")
        return list(range(low, high + 1))
    raise ValueError(f"a grid needs a finite list, and {parameter.kind} is continuous: use values, or method random")


def _distinct(spec: SweepSpec) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for number in itertools.count():
        for attempt in range(MAX_REDRAWS):
            values = draw(spec, number, attempt)
            if canonical(values) not in seen:
                break
        else:
            return
        seen.add(canonical(values))
        yield values


def draw(spec: SweepSpec, number: int, attempt: int = 0) -> dict[str, Any]:
    """Configuration `number` of a random search."""
    return {
        name: _value(parameter, np.random.default_rng([spec.seed, number, attempt, zlib.crc32(name.encode())]))
        for name, parameter in sorted(spec.parameters.items())
    }


def _value(parameter: ParameterSpec, rng: np.random.Generator) -> Any:
    if parameter.kind == "constant":
        return parameter.value
    if parameter.kind == "categorical":
        values = parameter.values or ()
        return values[int(rng.choice(len(values), p=parameter.probabilities))]
    low, high = parameter.bounds
    if parameter.kind == "int_uniform":
        return int(rng.integers(int(low), int(high), endpoint=True))
    if parameter.kind == "log_uniform_values":
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))
    return float(rng.uniform(low, high))


def canonical(value: Any) -> str:
    """One text for equal values, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, default=str)
