"""Tune's population-based training on planned trials: seeded, and with a lineage that can be read.

population.py decides what a trial becomes; Tune decides when, and moves the checkpoints. Each `perturbation_interval`
iterations all trials wait for each other: only those that have flown the same batches can be compared (one that is a
batch ahead may just have met a luckier one, and two of them could send each other back for ever), and only so does
timing change nothing. Start at PBT.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from ray.tune.schedulers import PopulationBasedTraining

from gaelp_ray.sweep.format.blocks import Population
from gaelp_ray.sweep.format.distributions import Distribution
from gaelp_ray.sweep.search.population import Mutations, changes, offspring, value_of
from gaelp_ray.sweep.search.spared import ITERATION, SCORE
from gaelp_ray.sweep.store.journal import Exploit

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial


class Exchange(PopulationBasedTraining):
    """What PBT and PB2 share: who is copied is drawn from the sweep's seed, and every exploit is noted."""

    seed: int
    lineage: list[Exploit]

    def rng(self, trial: Trial) -> np.random.Generator:
        """Of one exploit: neither other trials nor their timing change what it draws."""
        name = trial.config["trial"]["name"]
        before = sum(record.trial == name for record in self.lineage)
        return np.random.default_rng([self.seed, zlib.crc32(name.encode()), before])

    def _checkpoint_or_exploit(
        self, trial: Trial, tune_controller: TuneController, upper_quantile: list[Trial], lower_quantile: list[Trial]
    ) -> None:
        if trial in lower_quantile:
            # Tune draws from all of them, and skips the exploit if that one has no checkpoint yet.
            able = [good for good in upper_quantile if self._trial_state[good].last_checkpoint] or upper_quantile
            able.sort(key=lambda good: str(good.config["trial"]["name"]))
            upper_quantile = [able[int(self.rng(trial).integers(len(able)))]]
        super()._checkpoint_or_exploit(trial, tune_controller, upper_quantile, lower_quantile)

    def _exploit(self, tune_controller: TuneController, trial: Trial, trial_to_clone: Trial) -> None:
        iteration = self._trial_state[trial].last_result[ITERATION]
        source_iteration = self._trial_state[trial_to_clone].last_result[ITERATION]
        before, source = trial.config["trial"], trial_to_clone.config["trial"]
        super()._exploit(tune_controller, trial, trial_to_clone)
        # Its score was that of what it no longer is; it is ranked again when it has reported.
        self._trial_state[trial].last_score = None
        changed = changes(before, trial.config["trial"])
        copied = {name: value_of(source["config"], name) for name in changed}
        record = Exploit(before["name"], source["name"], iteration, source_iteration, changed, copied)
        self.lineage.append(record)


class PBT(Exchange):
    """Population-based training (Jaderberg et al. 2017)."""

    def __init__(self, rule: Population, priors: Mapping[str, Distribution], mode: str, seed: int) -> None:
        super().__init__(
            time_attr=ITERATION,
            metric=SCORE,
            mode=mode,
            perturbation_interval=rule.perturbation_interval,
            quantile_fraction=rule.quantile_fraction,
            custom_explore_fn=_as_it_is,
            log_config=False,
            synch=True,
        )
        self.seed, self.lineage = seed, []
        self._mutations = Mutations(priors, rule.resample_probability)

    def _get_new_config(self, trial: Trial, trial_to_clone: Trial) -> tuple[dict[str, Any], dict[str, Any]]:
        rng = self.rng(trial).spawn(1)[0]
        own = offspring(trial.config["trial"], trial_to_clone.config["trial"], self._mutations, rng)
        return {**trial.config, "trial": own}, {}


def _as_it_is(config: dict[str, Any]) -> dict[str, Any]:
    """Tune wants mutations or a function that makes them; ours are made elsewhere."""
    return config
