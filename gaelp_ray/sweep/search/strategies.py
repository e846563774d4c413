"""Which trial runs next. Tune asks (proposals.py), a strategy answers: the planned list, a race of seeds, or Bayes.

random and grid hand out what was planned, in that order, whatever ends when. Racing waits until all seeds of one round
are in before it decides who gets another; bayes alone depends on when trials end.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from gaelp_ray.sweep.format.parameters import leaves
from gaelp_ray.sweep.planning.constraints import Constraint
from gaelp_ray.sweep.planning.plan import SweepPlan, TrialPlan, base_config

KEPT = 2
"""In a race, one of so many configurations gets another seed."""


class Strategy(Protocol):
    """Hands out trials and hears what they have earned."""

    @property
    def finished(self) -> bool:
        """Whether no trial will be proposed any more."""

    def propose(self) -> TrialPlan | None:
        """The next trial; None while it depends on one that still runs."""

    def hear(self, trial: TrialPlan, result: Mapping[str, Any] | None) -> None:
        """A trial's last report under Tune's flat names; None where it failed."""


def strategy_for(plan: SweepPlan, constraints: Sequence[Constraint]) -> Strategy:
    """The strategy of a sweep file's method and seeds."""
    first = BayesTrials(plan, constraints) if plan.spec.method == "bayes" else Planned(plan.trials)
    return SeedRace(first, plan) if plan.spec.seeds.max > plan.spec.seeds.min else first


class Planned:
    """The trials of a list, in its order."""

    def __init__(self, trials: Sequence[TrialPlan]) -> None:
        self._waiting = deque(trials)

    @property
    def finished(self) -> bool:
        """Whether all have been handed out."""
        return not self._waiting

    def propose(self) -> TrialPlan | None:
        """The next of the list."""
        return self._waiting.popleft() if self._waiting else None

    def hear(self, trial: TrialPlan, result: Mapping[str, Any] | None) -> None:
        """Changes nothing."""


class BayesTrials:
    """The control arm as planned; every other trial's values are proposed when its turn comes."""

    def __init__(self, plan: SweepPlan, constraints: Sequence[Constraint]) -> None:
        from gaelp_ray.sweep.search.bayes import BayesSearch, sampler  # optuna takes a while

        spec = plan.spec
        self._base = base_config(spec)
        self._waiting = deque(plan.trials)
        self._constraints, self._min_delivery = constraints, spec.select.min_delivery
        found = list(leaves(spec.parameters))
        self._search = BayesSearch(found, self._base, plan.goal == "maximize", sampler(spec.sampler, spec.seed))

    @property
    def finished(self) -> bool:
        """Whether run_cap configurations have been proposed."""
        return not self._waiting

    def propose(self) -> TrialPlan | None:
        """The next trial, with values that optuna proposes."""
        if not self._waiting:
            return None
        trial = self._waiting.popleft()
        if trial.is_default:
            return trial
        params = self._search.propose(trial.name)
        return replace(trial, params=params, config=self._base.replace(params))

    def hear(self, trial: TrialPlan, result: Mapping[str, Any] | None) -> None:
        """Tell optuna the pooled score, and by how much the bounds of a winner were broken."""
        if trial.is_default:
            return
        value = score_of(result)
        if result is None or value is None:
            self._search.pass_over(trial.name, failed=result is None)
            return
        judged = {name.removeprefix("validation/"): x for name, x in result.items() if name.startswith("validation/")}
        broken = {constraint.key: constraint.excess(judged) for constraint in self._constraints}
        if not math.isnan(judged.get("delivery", math.nan)):
            broken["min_delivery"] = self._min_delivery - judged["delivery"]
        self._search.tell(trial.name, value, broken)


class SeedRace:
    """After all configurations have had their first seeds, the better half of them gets one more, and so on.

    The control arm gets every seed: whoever is compared with it is compared with its mean, too.
    """

    def __init__(self, first: Strategy, plan: SweepPlan) -> None:
        self._first, self._plan = first, plan
        self._sign = 1.0 if plan.goal == "maximize" else -1.0
        self._round = plan.spec.seeds.min
        self._running = 0
        self._waiting: deque[TrialPlan] = deque()
        # By the name of a configuration's first trial; two configurations may be the same.
        self._scores: dict[str, list[float]] = {}  # one per seed
        self._racing: dict[str, TrialPlan] = {}

    @property
    def finished(self) -> bool:
        """Whether the last round has been handed out."""
        over = self._round >= self._plan.spec.seeds.max
        return self._first.finished and not self._waiting and (over or not (self._running or self._racing))

    def propose(self) -> TrialPlan | None:
        """The first seeds, then the rounds."""
        trial = self._first.propose()
        if trial is None and self._first.finished:
            if not self._waiting and not self._running and self._round < self._plan.spec.seeds.max:
                self._next_round()
            trial = self._waiting.popleft() if self._waiting else None
        self._running += trial is not None
        return trial

    def _next_round(self) -> None:
        control = [trial for trial in self._racing.values() if trial.is_default]
        others = [trial for trial in self._racing.values() if not trial.is_default]
        others.sort(key=lambda trial: -self._sign * self._mean(trial))
        kept = control + others[: math.ceil(len(others) / KEPT)]
        self._racing = {trial.name: trial for trial in kept}
        seeds, end = (self._plan.seeds[self._round],), f"-s{self._round}"
        self._waiting.extend(replace(t, name=t.name + end, seeds=seeds, further_of=t.name) for t in kept)
        self._round += 1

    def _mean(self, trial: TrialPlan) -> float:
        scores = self._scores[trial.first]
        return sum(scores) / len(scores)

    def hear(self, trial: TrialPlan, result: Mapping[str, Any] | None) -> None:
        """A configuration races on while all of its seeds have a score."""
        self._running -= 1
        self._first.hear(trial, result)
        value = score_of(result)
        if value is None:
            self._racing.pop(trial.first, None)
            return
        self._scores.setdefault(trial.first, []).extend([value] * len(trial.seeds))
        if not trial.further_of:
            self._racing[trial.first] = trial


def score_of(result: Mapping[str, Any] | None) -> float | None:
    """The pooled validation score of a trial that was trained to its end; None for any other."""
    value = (result or {}).get("final_score")
    return float(value) if value is not None and math.isfinite(value) else None


def as_tune_config(trial: TrialPlan) -> dict[str, Any]:
    """What a worker needs to know of its trial, as plain values."""
    return {
        "name": trial.name,
        "first": trial.first,
        "config_id": trial.config_id,
        "params": dict(trial.params),
        "config": trial.config.to_dict(),
        "is_default": trial.is_default,
        "seeds": list(trial.seeds),
    }
