"""Tune's population-based bandits on planned trials. Needs scikit-learn, which takes a second to import."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from ray.tune.schedulers.pb2 import PB2 as TunePB2

from gaelp_ray.sweep.format.blocks import Population
from gaelp_ray.sweep.format.distributions import Distribution
from gaelp_ray.sweep.search.exchange import Exchange
from gaelp_ray.sweep.search.population import adopted, settled
from gaelp_ray.sweep.search.spared import ITERATION, SCORE

if TYPE_CHECKING:
    from ray.tune.experiment import Trial


class PB2(Exchange, TunePB2):
    """Population-based bandits (Parker-Holder et al. 2020): the new values are chosen by a Gaussian process.

    It knows numbers between two ends only, and no resampling.
    """

    def __init__(self, rule: Population, priors: Mapping[str, Distribution], mode: str, seed: int) -> None:
        TunePB2.__init__(
            self,
            time_attr=ITERATION,
            metric=SCORE,
            mode=mode,
            perturbation_interval=rule.perturbation_interval,
            quantile_fraction=rule.quantile_fraction,
            hyperparam_bounds={"trial": {"params": {name: list(prior.support()) for name, prior in priors.items()}}},
            log_config=False,
            synch=True,
        )
        self.seed, self.lineage, self._priors = seed, [], priors

    def _get_new_config(self, trial: Trial, trial_to_clone: Trial) -> tuple[dict[str, Any], dict[str, Any]]:
        with _quiet_and_seeded(int(self.rng(trial).spawn(1)[0].integers(2**32))):
            chosen, _ = super()._get_new_config(trial, trial_to_clone)
        values = {name: settled(chosen["trial"]["params"][name], prior) for name, prior in self._priors.items()}
        own = adopted(trial.config["trial"], trial_to_clone.config["trial"], values)
        return {**trial.config, "trial": own}, {}


@contextmanager
def _quiet_and_seeded(seed: int) -> Iterator[None]:
    """Tune's PB2 draws from numpy's global generator, and scikit-learn warns of each fit of few points."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        np.random.set_state(before)
