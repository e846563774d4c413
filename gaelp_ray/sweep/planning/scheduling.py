"""Whether a sweep's scheduler fits the rest of its file, and which parameters a population changes.

Pure, and without Ray: search/schedulers.py makes Tune's scheduler. Start at scheduler_problems().
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.util import find_spec

from gaelp_ray.config import FIELD_NAMES, RECORDED, SECTIONS, GAELPExperimentConfig, nest
from gaelp_ray.errors import ConfigError
from gaelp_ray.sweep.format.blocks import Asha, HyperBand, Population
from gaelp_ray.sweep.format.distributions import Distribution
from gaelp_ray.sweep.format.document import Problem
from gaelp_ray.sweep.format.load import MUTATIONS, Parsed
from gaelp_ray.sweep.format.parameters import leaves
from gaelp_ray.sweep.format.spec import SweepSpec
from gaelp_ray.sweep.planning.names import Fields

HERE = ("scheduler",)

_WORLD = "is the world that all trials are compared in"
_SHAPE = "decides the shape of what a checkpoint holds"
_PLAN = "lays out the training from its start"
_ONCE = "is read at the start only, and then learned"

_FIXED = {
    "agent_type": "decides what a checkpoint holds",
    "reward_function": "gives what was learned another meaning",
    **dict.fromkeys(("env", "market", "departures", "heterogeneity", "auction"), _WORLD),
    **dict.fromkeys(("conversion_delay", "fatigue_half_life"), _WORLD),
    **dict.fromkeys(("seed", "batch_size", "num_episodes"), _PLAN),
    **dict.fromkeys(("ppo.correction", "cem.population", "sb3.buffer_size", "ppo.averaging"), _SHAPE),
    **dict.fromkeys(("ppo.initial_std", "cem.initial_std", "sb3.initial_std", "sb3.initial_temperature"), _ONCE),
    **dict.fromkeys((name for name in FIELD_NAMES if name.endswith((".reference", ".hidden_size"))), _SHAPE),
}


def fixed(name: str) -> str:
    """Why a field may not change during a training; empty if it may."""
    return _FIXED.get(name, "")


def mutable(spec: SweepSpec) -> dict[str, Distribution]:
    """The parameters that population-based training changes, dotted, in the order of the file.

    Those of `hyperparam_mutations`; without it, all swept parameters that may change during a training.
    """
    asked = spec.scheduler.hyperparam_mutations if isinstance(spec.scheduler, Population) else None
    found = {leaf.name: leaf.parameter.prior for leaf in leaves(spec.parameters if asked is None else asked)}
    if asked is not None:
        return found
    return {name: prior for name, prior in found.items() if not fixed(name) and prior.kind != "constant"}


def numbers(priors: dict[str, Distribution]) -> dict[str, Distribution]:
    """Those with a smallest and a largest value, which is what pb2 can change."""
    return {
        name: prior for name, prior in priors.items() if not prior.values and all(map(math.isfinite, prior.support()))
    }


def scheduler_problems(parsed: Parsed) -> Iterator[Problem]:
    """What does not fit together, each at its key."""
    spec, rule = parsed.spec, parsed.spec.scheduler
    if isinstance(rule, Asha):
        yield from _grace_problems(parsed, rule)
    if isinstance(rule, (Population, HyperBand)) and spec.seeds.max > spec.seeds.min:
        why = "compares trials that start together, and a race of seeds starts some later"
        yield Problem(HERE, f"{rule.type} {why}: write `seeds: {spec.seeds.min}`")
    if isinstance(rule, HyperBand) and spec.method == "bayes":
        why = "compares trials that start together, and bayes proposes one after the other"
        yield Problem(HERE, f"hyperband {why}: write `type: asha`")
    if isinstance(rule, Population):
        if spec.method == "bayes":
            why = "changes parameters that method bayes would learn from"
            yield Problem(HERE, f"{rule.type} {why}: write `method: random`")
        yield from _mutation_problems(parsed, rule)


def _grace_problems(parsed: Parsed, rule: Asha) -> Iterator[Problem]:
    longest = _longest(parsed)
    if rule.grace_period > longest:
        text = f"{rule.grace_period} is above the {longest:.0f} iterations of a trial"
        yield Problem((*HERE, "grace_period"), f"{text}: nothing would ever be stopped. Lower it")


def _longest(parsed: Parsed) -> float:
    """Iterations that no trial exceeds; infinite where what decides them has problems."""
    spec = parsed.spec
    names = [*spec.trial, *(leaf.name for leaf in leaves(spec.parameters))]
    unknown = set(names) - {*FIELD_NAMES, *RECORDED, *SECTIONS}
    if unknown or any(map(parsed.is_wrong, ("trial", "stop", "parameters"))):
        return math.inf
    swept = {leaf.name: leaf.parameter.prior for leaf in leaves(spec.parameters)}
    try:
        base = GAELPExperimentConfig(**nest(spec.trial))
        episodes = _ends(swept.get("num_episodes"), base.num_episodes)
        sizes = _ends(swept.get("batch_size"), base.batch_size)
        least, iterations = min(*episodes, *sizes), math.ceil(max(episodes) / min(sizes))
    except (ConfigError, TypeError, ValueError, ArithmeticError):  # a problem of the values themselves
        return math.inf
    return math.inf if least < 1 else min(iterations, spec.stop.iterations or math.inf)


def _ends(prior: Distribution | None, fixed_value: int) -> tuple[float, ...]:
    """The control arm's value, and the smallest and largest of the others."""
    if prior is None:
        return (fixed_value,)
    return (fixed_value, *(prior.values or prior.support()))


def _mutation_problems(parsed: Parsed, rule: Population) -> Iterator[Problem]:
    """Names that a population cannot change, and a space in which it can change nothing."""
    if rule.hyperparam_mutations is not None:
        fields = Fields.of(parsed.spec)
        for leaf in leaves(rule.hyperparam_mutations):
            if text := _refusal(leaf.name, fields):
                yield Problem((*MUTATIONS, *leaf.path[1:]), text)
    if rule.type == "pb2" and not find_spec("sklearn"):
        yield Problem(HERE, "pb2 needs scikit-learn: pip install scikit-learn")
    if not (parsed.is_wrong("parameters") or parsed.is_wrong(*MUTATIONS)):
        yield from _emptiness(parsed.spec, rule)


def _refusal(name: str, fields: Fields) -> str:
    if name not in FIELD_NAMES:
        return f"unknown parameter. {fields.hint(name)}"
    return f"{name} {fixed(name)}, and cannot change during a training: leave it out" if fixed(name) else ""


def _emptiness(spec: SweepSpec, rule: Population) -> Iterator[Problem]:
    """Where nothing is swept that the scheduler can change."""
    priors = mutable(spec)
    if not priors:
        reasons = {leaf.name: fixed(leaf.name) or "is constant" for leaf in leaves(spec.parameters)}
        why = "; ".join(f"{name} {reason}" for name, reason in reasons.items())
        yield Problem(HERE, f"nothing that may change during a training is swept: {why}")
    elif rule.type == "pb2" and not numbers(priors):
        yield Problem(HERE, "pb2 needs a number with min and max that may change: write `type: pbt`")
