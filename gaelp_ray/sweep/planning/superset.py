"""Whether one search space holds all of another: what a sweep that goes on may change of its parameters.

Pure. Start at narrowed().
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gaelp_ray.sweep.format.distributions import Distribution
from gaelp_ray.sweep.format.parameters import ParameterSpec, leaves
from gaelp_ray.sweep.format.space import as_written, levels

LISTED = ("constant", "categorical", "categorical_w_probabilities")
SHAPE = ("mu", "sigma", "a", "b", "q")


def narrowed(
    before: Mapping[str, ParameterSpec], after: Mapping[str, ParameterSpec], fields: Mapping[str, Any], grid: bool
) -> Iterator[str]:
    """One line for each parameter of `after` that does not hold what trials may have from `before`.

    fields: the value that every trial has of a field that is not searched, by its dotted name.
    """
    old = {leaf.name: leaf.parameter for leaf in leaves(before)}
    new = {leaf.name: leaf.parameter for leaf in leaves(after)}
    for name in old.keys() - new.keys():
        yield f"parameters.{name}: trials have values of it, so it cannot be left out"
    for name, parameter in new.items():
        former = old.get(name) or ParameterSpec(value=fields[name])
        if why := _lacks(former, parameter, grid):
            yield f"parameters.{name}: {why}"


def _lacks(old: ParameterSpec, new: ParameterSpec, grid: bool) -> str:
    """What `new` has not of `old`; empty where it has all."""
    if old.kind == "constant":
        return "" if _holds(new, old.value) else f"all trials so far have {old.value!r}, which must be among its values"
    if old.kind != new.kind:
        return f"it is {old.kind}, and {new.kind} is no wider one of the same kind"
    if old.values is not None:
        return _without(list(old.values), list(new.values or ()))
    if changed := [key for key in SHAPE if getattr(old, key) != getattr(new, key)]:
        return f"its {changed[0]} is {getattr(old, changed[0])}, and only min and max may change"
    if old.min is not None:
        (low, high), (lowest, highest) = old.bounds, new.bounds
        if lowest > low or highest < high:
            return f"{lowest} to {highest} does not hold all of {low} to {high}"
    return _without(levels(old), levels(new)) if grid else ""


def _without(old: list[Any], new: list[Any]) -> str:
    kept = {as_written(value) for value in new}
    missing = [str(value) for value in old if as_written(value) not in kept]
    return f"{', '.join(missing)} must stay among its values" if missing else ""


def _holds(parameter: ParameterSpec, value: Any) -> bool:
    """Whether a value can be drawn."""
    if parameter.kind in LISTED:
        return as_written(value) in {as_written(known) for known in parameter.prior.values}
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    low, high = parameter.prior.support()
    return low <= value <= high and _on_grid(parameter.prior, value)


def _on_grid(prior: Distribution, value: float) -> bool:
    """Whether a distribution of steps has the value among them."""
    if prior.kind == "int_uniform":
        return float(value).is_integer()
    return not prior.kind.startswith("q_") or abs(value / prior.q - round(value / prior.q)) < 1e-9
