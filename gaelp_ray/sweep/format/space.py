"""Configurations from a search space, determined by the file and its seed alone.

random and bayes: the value of a parameter in configuration i is drawn from (seed, i, dotted name), so that it depends
neither on timing nor on how many are drawn. grid: parameters in sorted order at every level, the last varies fastest;
values that stand twice count once. Start at sample() or configurations().
"""

from __future__ import annotations

import copy
import itertools
import json
import math
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gaelp_ray.errors import SweepFileError
from gaelp_ray.sweep.format.parameters import Leaf, ParameterSpec, leaves

if TYPE_CHECKING:
    from gaelp_ray.sweep.format.spec import SweepSpec

MAX_REDRAWS = 5000
"""Draws of one configuration until it is new; a space smaller than run_cap ends after that many repeats."""

MAX_LEVELS = 100_000
"""Values of one parameter in a grid."""

MAX_CONFIGURATIONS = 1_000_000
"""Configurations of a grid that has no run_cap."""

Values = dict[tuple[str, ...], Any]
"""Values of one configuration, keyed by the names of the mappings that hold the parameter and its own."""


def sample(spec: SweepSpec, n: int | None = None, seed: int | None = None) -> list[dict[str, Any]]:
    """The first `n` configurations of a sweep, nested as its parameters are written.

    grid: in order, at most all of them; `n` None: all of them, or run_cap. random and bayes (whose prior this is):
    `n` None means run_cap. Up to run_cap no configuration comes twice as long as there is a new one; draws beyond it
    may repeat. Raises SweepFileError.
    """
    for name, number in (("n", n), ("seed", seed)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 0):
            raise SweepFileError([f"{name} {number!r}: give a whole number of at least 0"])
    wanted = _wanted(spec) if n is None else n
    root = spec.seed if seed is None else seed
    drawn = _grid(spec) if spec.method == "grid" else (values for values, _ in _draws(spec, root))
    return [_nested(values) for values in itertools.islice(drawn, wanted)]


def configurations(spec: SweepSpec, known: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """The sampled values of every configuration that a sweep runs, keyed by dotted name, in the order of running.

    No configuration comes twice. `known` are the first ones where they are settled already, each with a value for
    every parameter: the others are numbered on from them. Raises SweepFileError for a sweep without an end.
    """
    wanted = _wanted(spec)
    keyed = [{leaf.names: values[leaf.name] for leaf in leaves(spec.parameters)} for values in known]
    seen = {_key(values) for values in keyed}
    if spec.method == "grid":
        new = (values for values in _grid(spec) if _key(values) not in seen)
    else:
        draws = _draws(spec, spec.seed, len(keyed), seen)
        new = (values for values, _ in itertools.takewhile(lambda drawn: drawn[1], draws))
    further = itertools.islice(new, max(wanted - len(keyed), 0))
    return [_flat(values) for values in itertools.chain(keyed, further)]


def endless(spec: SweepSpec) -> str:
    """Why a sweep would never end, and what to do; empty if it does."""
    if spec.run_cap is not None:
        return ""
    if spec.method != "grid":
        return f"method {spec.method} has no end of its own: give run_cap, the number of configurations"
    size = math.prod(len(_levels_of(leaf)) for leaf in leaves(spec.parameters))
    return f"a grid of {size:,} configurations: give run_cap" if size > MAX_CONFIGURATIONS else ""


def _wanted(spec: SweepSpec) -> int:
    if problem := endless(spec):
        raise SweepFileError([problem])
    return spec.run_cap or MAX_CONFIGURATIONS


def _grid(spec: SweepSpec) -> Iterator[Values]:
    """Every combination of the parameters' values."""
    ordered = sorted(leaves(spec.parameters), key=lambda leaf: leaf.names)
    for combination in itertools.product(*(_levels_of(leaf) for leaf in ordered)):
        yield {leaf.names: value for leaf, value in zip(ordered, combination, strict=True)}


def _levels_of(leaf: Leaf) -> list[Any]:
    try:
        return levels(leaf.parameter)
    except SweepFileError as error:
        raise SweepFileError([f"parameters.{leaf.name}: {error}"]) from None


def levels(parameter: ParameterSpec) -> list[Any]:
    """The values of one parameter in a grid. Raises SweepFileError for a distribution that has no list of them."""
    if parameter.kind == "constant":
        return [parameter.value]
    if parameter.probabilities is not None:
        raise SweepFileError(["a grid takes every value once: leave out probabilities, or use method random"])
    if parameter.kind == "categorical":
        return list({as_written(value): value for value in parameter.values or ()}.values())
    if parameter.kind in ("int_uniform", "q_uniform"):
        return _steps(parameter)
    kind = parameter.kind
    continuous = f"{kind} has no last value" if kind.startswith("q_") else f"{kind} is continuous"
    raise SweepFileError([f"a grid needs a finite list, and {continuous}: use values, or method random"])


def _steps(parameter: ParameterSpec) -> list[Any]:
    """int_uniform includes its max, q_uniform does not, as in W&B."""
    low, high = parameter.bounds
    whole = parameter.kind == "int_uniform"
    size = high - low + 1 if whole else (high - low) / parameter.q
    if size > MAX_LEVELS:
        raise SweepFileError([f"a grid of {size:,.0f} values is no grid: use values, or method random"])
    if whole:
        return list(range(int(low), int(high) + 1))
    return [value for value in np.arange(low, high, parameter.q).tolist() if value < high]


def as_written(value: Any) -> str:
    """As W&B tells the values of a grid apart: 3.0 is 3."""
    return canonical(int(value) if isinstance(value, float) and value.is_integer() else value)


def _key(values: Values) -> str:
    """What only equal configurations share."""
    return canonical(_nested({names: as_written(value) for names, value in values.items()}))


def _draws(spec: SweepSpec, seed: int, first: int = 0, known: Collection[str] = ()) -> Iterator[tuple[Values, bool]]:
    """Configurations without end from number `first` on, and whether each is new among the first run_cap.

    known: keys of those before the first.
    """
    ordered = sorted(leaves(spec.parameters), key=lambda leaf: leaf.names)
    size, seen = _size(ordered), set(known)
    exhausted = False
    for number in itertools.count(first):
        within = number < (spec.run_cap or 0)
        redraws = MAX_REDRAWS if within and not exhausted and len(seen) < size else 1
        for attempt in range(redraws):
            values = _drawn(ordered, seed, number, attempt)
            if not within or (text := _key(values)) not in seen:
                break
        else:
            exhausted = True
            yield _drawn(ordered, seed, number, 0), False
            continue
        if within:
            seen.add(text)
        yield values, True


def _size(ordered: Sequence[Leaf]) -> float:
    """An upper bound of the number of different configurations."""
    sizes = []
    for leaf in ordered:
        prior = leaf.parameter.prior
        if prior.values:
            sizes.append(len({as_written(value) for value in prior.values}))
        elif prior.kind == "int_uniform":
            sizes.append(int(prior.high) - int(prior.low) + 1)
        else:
            return math.inf
    return math.prod(sizes)


def draw(spec: SweepSpec, number: int, attempt: int = 0) -> dict[str, Any]:
    """Configuration `number` of a random search, keyed by dotted name."""
    ordered = sorted(leaves(spec.parameters), key=lambda leaf: leaf.names)
    return _flat(_drawn(ordered, spec.seed, number, attempt))


def _drawn(ordered: Sequence[Leaf], seed: int, number: int, attempt: int) -> Values:
    return {
        leaf.names: leaf.parameter.prior.draw(
            np.random.default_rng([seed, number, attempt, zlib.crc32(leaf.name.encode())])
        )
        for leaf in ordered
    }


def _flat(values: Values) -> dict[str, Any]:
    return {".".join(names): value for names, value in values.items()}


def _nested(values: Values) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for names, value in values.items():
        inner = tree
        for name in names[:-1]:
            inner = inner.setdefault(name, {})
        # A list in the file is one object; a caller may change what it gets.
        inner[names[-1]] = copy.deepcopy(value) if isinstance(value, (dict, list)) else value
    return tree


def canonical(value: Any) -> str:
    """One text for equal values, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, default=str)
