"""The smallest difference that a sweep's race can see, from common episodes of its agents before training.

A difference of two arms on n common episodes has the standard error sd / sqrt(n), where sd is what one episode adds to
it. Arms that bid alike have most of their luck in common, so sd depends on the sweep's agents and market and cannot be
known without episodes: measure_resolution() evaluates some. Start there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from scipy.special import ndtri

from gaelp_ray.evidence.pooled import pooled_ratio
from gaelp_ray.evidence.race_design import certain_episodes, pair_boundary
from gaelp_ray.evidence.sequences import Ratio
from gaelp_ray.market import Market
from gaelp_ray.records import SCORE
from gaelp_ray.sweep.planning.plan import SweepPlan, TrialPlan
from gaelp_ray.training import EVALUATION_BATCH, Stream, fly_batch
from gaelp_ray.worlds import untrained

AGENTS = 6
"""Planned trials whose untrained agents stand for the arms of the race."""

ALIKE = 0.002
"""Standard deviation, as a share of the score, below which two agents differ by less than training will make them."""

POWER = 0.8
"""Share of races that find the smallest difference."""


@dataclass(frozen=True)
class Resolution:
    """What the race can tell apart; differences and standard deviations are shares of the score."""

    arms: int
    episodes: int  # of every arm, if none is dropped
    deviation: float  # of one episode's part in a difference: the median over pairs of agents
    smallest: float  # difference of two arms that the race finds in POWER of all cases
    search: float  # standard error of the difference of two search scores
    agents: int  # untrained agents that were measured


def measure_resolution(plan: SweepPlan) -> Resolution | None:
    """Fly EVALUATION_BATCH common episodes of some planned agents, before any training.

    None for an own environment, whose untrained agents act at random; where all agents bid alike before training; and
    for a race of one arm.
    """
    select = plan.spec.select
    arms = min(select.top_k, len(plan.trials) - select.include_default) + select.include_default
    if not isinstance(plan.market, Market) or arms < 2:
        return None
    budget = arms * select.episodes if select.budget is None else select.budget
    episodes = certain_episodes(budget, arms, EVALUATION_BATCH)
    boundary = pair_boundary(select.confidence, budget, arms, EVALUATION_BATCH)
    if episodes not in boundary.looks:  # too few to drop an arm
        return None
    critical = boundary.critical[boundary.looks.index(episodes)]
    ratios = [_ratio(plan, plan.market, trial) for trial in _chosen(plan.trials)]
    measured = [ratio for ratio in ratios if ratio is not None and ratio.value > 0.0]
    deviations = [
        (one - other).deviation / ((one.value + other.value) / 2.0) for one, other in combinations(measured, 2)
    ]
    differing = [deviation for deviation in deviations if deviation > ALIKE]
    if not differing:
        return None
    deviation = median(differing)
    smallest = (critical + float(ndtri(POWER))) * deviation / math.sqrt(episodes)
    return Resolution(arms, episodes, deviation, smallest, deviation / math.sqrt(EVALUATION_BATCH), len(measured))


def _chosen(trials: Sequence[TrialPlan]) -> list[TrialPlan]:
    """Trials spread evenly over the plan, starting with the control arm if the sweep has one."""
    if len(trials) <= AGENTS:
        return list(trials)
    step = (len(trials) - 1) / (AGENTS - 1)
    return [trials[round(number * step)] for number in range(AGENTS)]


def _ratio(plan: SweepPlan, market: Market, trial: TrialPlan) -> Ratio | None:
    """SCORE of a trial's agent as it starts, in the market that the final stage judges in."""
    agent = untrained(market, trial.config)
    return pooled_ratio(fly_batch(agent, market, EVALUATION_BATCH, [plan.spec.seed, Stream.VALIDATION]), SCORE)
