"""The score that arms are ranked by, on the simulator's flights: spending less gains nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gaelp_ray.agents import make_agent
from gaelp_ray.agents.base import FixedBidder
from gaelp_ray.agents.dual import BayesDual, Planner
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.evidence.contest import duels
from gaelp_ray.market import load_market
from gaelp_ray.records import SCORE
from gaelp_ray.sections import DualConfig
from gaelp_ray.sweep.outcome.eligibility import Eligibility
from gaelp_ray.sweep.outcome.race import Rules, decide, race
from gaelp_ray.training import Stream, evaluate

FLIGHTS = 512
MARKET = load_market("airfrance-search")


class SparingPlanner(Planner):
    """Plans for 91.5 % of the budget."""

    def _outlook(self, view, t):
        outlook, now = super()._outlook(view, t)
        kept_back = 0.085 * self._market.budget * np.exp(view.overall("log_budget"))
        return replace(outlook, budget=np.maximum(outlook.budget - kept_back, 0.0)), now


class Underspender(FixedBidder):
    """BayesDual with such plans."""

    def __init__(self, config, market):
        self._config, self._market = config, market

    def begin(self, flights, rng):
        self._planner, self._hour = SparingPlanner(self._config, self._market, flights), 0

    def act(self, obs, explore=False):
        self._hour += 1
        return self._planner.plan(obs, self._hour - 1)


@pytest.fixture(scope="module")
def flown():
    arms = {name: cls(DualConfig(), MARKET.landscape) for name, cls in (("under", Underspender), ("full", BayesDual))}
    return {name: evaluate(agent, MARKET, FLIGHTS, [0, Stream.SELECTION]).totals for name, agent in arms.items()}


def test_planned_underspender_has_more_roas_less_revenue_and_less_optimality(flown):
    under, full = (flown[name].pooled() for name in ("under", "full"))
    assert 0.9 < under.delivery < 0.93 < full.delivery
    assert under.roas > 1.02 * full.roas
    assert under.revenue < full.revenue and under.optimality < full.optimality


def test_planned_underspender_scores_below_the_arm_that_spends_the_budget(flown):
    (by_score,), (by_roas,) = (duels(flown, metric, 0.95) for metric in (SCORE, "roas"))
    assert by_roas.found.verdict == "above"
    assert by_score.found.verdict == "below"


@pytest.mark.parametrize("seed", range(20))
def test_planned_underspender_never_wins_the_race(flown, seed):
    """Where min_delivery lets it take part; each time on other flights, drawn from those that were flown."""
    drawn = np.random.default_rng(seed).integers(FLIGHTS, size=1280)

    def fly(left, number, flights):
        chosen = drawn[number * 256 : number * 256 + flights]
        return {arm: flown[arm].select(chosen) for arm in left}

    run = race(list(flown), Rules(0.95, 2560, Eligibility(0.9), round=256), fly)
    verdict = decide(run, None, {})
    assert run.fit("under") and verdict.kept == "full"


def test_agents_of_the_shipped_sweep_rank_as_by_optimality_and_not_as_by_roas():
    """The families of sweeps/agents.yaml that need no training."""
    flown = {}
    for name in ("BayesDual", "BayesPID", "PID", "constant"):
        agent = make_agent(GAELPExperimentConfig(agent_type=name), MARKET.landscape)
        flown[name] = evaluate(agent, MARKET, 192, [1, Stream.SELECTION]).metrics.as_dict()

    def order(metric):
        return sorted(flown, key=lambda name: -flown[name][metric])

    assert order(SCORE) == order("optimality") != order("roas")
