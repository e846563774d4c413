"""Bayesian search: optuna proposes configurations, through Tune's OptunaSearch, from what earlier ones have earned.

A parameter that the chosen agent does not read is not proposed for it. Optuna is told the pooled value over a
configuration's seeds, and by how much it broke the bounds that a winner must keep.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from ray.tune.search.optuna import OptunaSearch

from gaelp_ray.agents import agent_reads
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.sweep.format.parameters import Leaf
from gaelp_ray.sweep.format.space import canonical

UNIT = " (share)"
"""Ends the name of a parameter that optuna sees as a number from 0 to 1: the share of draws below it."""

REPEATS = 20
"""Proposals for one configuration until it is new; a small space is then searched twice."""

SWITCHES = ("agent_type", "ppo.reference", "sb3.reference", "dual.traffic")
"""Decided first: what else is read depends on them."""


def sampler(name: str | None, seed: int) -> BaseSampler:
    """TPE, or the Gaussian process `gp`, which leaves to TPE the parameters that not all configurations have."""
    tpe = TPESampler(seed=seed)
    if name != "gp":
        return tpe
    return GPSampler(seed=seed, independent_sampler=tpe, warn_independent_sampling=False)


class BayesSearch:
    """Proposes the sampled values of configurations, keyed by dotted name."""

    def __init__(
        self, leaves: Sequence[Leaf], base: GAELPExperimentConfig, maximize: bool, sampler: BaseSampler
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        order = {name: place for place, name in enumerate(SWITCHES)}
        self._leaves = sorted(leaves, key=lambda leaf: order.get(leaf.name, len(order)))
        self._base = base
        self._asked: dict[str, optuna.Trial] = {}
        self._ids: dict[str, str] = {}  # optuna's of each configuration
        self._values: dict[str, dict[str, Any]] = {}
        self._current = ""
        mode = "max" if maximize else "min"
        self._search = OptunaSearch(space=self._space, metric="value", mode=mode, sampler=sampler)

    def propose(self, name: str) -> dict[str, Any]:
        """Values for the configuration `name`, which no other configuration has as long as there are such."""
        seen = {canonical(values) for values in self._values.values()}
        for attempt in range(REPEATS):
            self._current = name if attempt == 0 else f"{name} again {attempt}"
            self._suggest()
            values = self._values.pop(self._current)
            if canonical(values) not in seen or attempt == REPEATS - 1:
                break
            self._search.on_trial_complete(self._current, error=True)
        self._asked[name] = self._asked[self._current]
        self._values[name], self._ids[name] = values, self._current
        return values

    def _suggest(self) -> None:
        with warnings.catch_warnings():  # of a space that takes over a second: there the Gaussian process is fitted
            warnings.filterwarnings("ignore", "Define-by-run function", UserWarning)
            self._search.suggest(self._current)

    def tell(self, name: str, value: float, broken: Mapping[str, float]) -> None:
        """What a configuration has earned; `broken` says by how much each bound was, 0 or less where it was kept."""
        for bound, by in broken.items():
            self._asked[name].set_constraint(bound, by)
        self._search.on_trial_complete(self._ids[name], result={"value": value})

    def pass_over(self, name: str, failed: bool) -> None:
        """A configuration without a value: one that failed says nothing, one that was stopped early was bad."""
        self._search.on_trial_complete(self._ids[name], error=failed)

    def _space(self, trial: optuna.Trial) -> None:
        """Tune's define-by-run function; optuna's trial is kept, for only it can be told more than a value."""
        values: dict[str, Any] = {}
        for leaf in self._leaves:
            reads = agent_reads(self._base.replace(values))
            if leaf.name in SWITCHES[:1] or reads.applies(leaf.name):
                values[leaf.name] = _suggested(trial, leaf)
        self._asked[self._current], self._values[self._current] = trial, values


def _suggested(trial: optuna.Trial, leaf: Leaf) -> Any:
    """One value; distributions that optuna does not know are searched by the share of draws below a value."""
    prior = leaf.parameter.prior
    if prior.kind == "constant":
        return prior.values[0]
    if prior.kind == "categorical":
        return prior.values[trial.suggest_categorical(leaf.name, range(len(prior.values)))]
    if prior.kind == "int_uniform":
        return trial.suggest_int(leaf.name, int(prior.low), int(prior.high))
    if prior.kind == "uniform":
        return trial.suggest_float(leaf.name, prior.low, prior.high)
    if prior.kind in ("log_uniform", "log_uniform_values"):
        low, high = prior.support()
        return trial.suggest_float(leaf.name, low, high, log=True)
    return prior.from_unit(trial.suggest_float(f"{leaf.name}{UNIT}", 0.0, 1.0))
