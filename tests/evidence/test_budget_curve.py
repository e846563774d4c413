"""ROAS by budget: the fit finds a power law with honest errors, and its low ends hold for all budgets together."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from gaelp_ray.errors import ModelError
from gaelp_ray.evidence.budget_curve import BudgetCurve, fit_budget_curve
from gaelp_ray.records import PER_FLIGHT, FlightTotals

ROAS, ELASTICITY, BUDGET, RANGE = 11.0, -0.58, 12000.0, 0.7


def totals(cost, revenue, budget) -> FlightTotals:
    arrays = {name: np.ones(len(cost)) for name in PER_FLIGHT}
    return FlightTotals(168, **arrays | {"cost": cost, "revenue": revenue, "budget": budget})


def fly(dice: np.random.Generator, flights: int, bend: float = 0.0, power: int = 2) -> FlightTotals:
    """Flights with the spread of airfrance-search; `bend`: of log ROAS, times a power of the log budget."""
    log_budget = dice.uniform(-RANGE, RANGE, flights)
    budget = BUDGET * np.exp(log_budget)
    cost = budget * dice.uniform(0.95, 1.0, flights)
    roas = ROAS * np.exp(ELASTICITY * log_budget + bend * log_budget**power)
    return totals(cost, roas * cost * dice.gamma(8.4, 1 / 8.4, flights), budget)


def low_ends(curve: BudgetCurve, budgets) -> np.ndarray:
    """Of ROAS at each budget alone."""
    return np.array([curve.expected_revenue(np.ones(1), np.array([b]), 0.025)[1][0] for b in budgets])


def test_fit_recovers_the_power_law_with_honest_errors():
    dice, errors = np.random.default_rng(0), []
    for _ in range(150):
        curve = fit_budget_curve(fly(dice, 256))
        level = math.log(curve.roas / ROAS) - ELASTICITY * math.log(curve.reference / BUDGET)
        errors.append((level / curve.roas_error, (curve.elasticity - ELASTICITY) / curve.elasticity_error))
    assert np.abs(np.mean(errors, axis=0)).max() < 0.25
    assert np.std(errors, axis=0) == pytest.approx([1.0, 1.0], abs=0.15)
    assert abs(np.corrcoef(np.transpose(errors))[0, 1]) < 0.25  # level and slope, at the reference


def test_fit_keeps_totals_and_takes_a_third_off_the_variance():
    flights = fly(np.random.default_rng(1), 4096)
    curve = fit_budget_curve(flights)
    expected, _ = curve.expected_revenue(flights.cost, flights.budget, 0.025)
    assert expected.sum() == pytest.approx(flights.revenue.sum(), rel=1e-9)
    pooled = flights.revenue.sum() / flights.cost.sum()
    influence = (flights.revenue - pooled * flights.cost) / (pooled * flights.cost.mean())
    assert curve.deviation**2 < 0.75 * np.var(influence)
    assert (curve.low_budget, curve.high_budget) == (flights.budget.min(), flights.budget.max())
    width = (curve.high_budget / curve.low_budget) ** 0.05
    budgets = np.array([curve.low_budget / width / 1.001, curve.low_budget / width * 1.001, BUDGET, 0.0])
    assert curve.covers(budgets).tolist() == [False, True, True, False]
    assert curve.covers(curve.high_budget * width * np.array([0.999, 1.001])).tolist() == [True, False]


def test_low_ends_of_all_budgets_hold_together_as_often_as_stated():
    dice, wrong = np.random.default_rng(2), 0
    for _ in range(300):
        curve = fit_budget_curve(fly(dice, 256))
        budgets = np.geomspace(curve.low_budget, curve.high_budget, 3)
        wrong += (low_ends(curve, budgets) > ROAS * (budgets / BUDGET) ** ELASTICITY).any()
    print(f"a low end above the truth: {wrong / 300:.1%} of 300 cards, at most 2.5 % stated")
    assert 0.005 < wrong / 300 <= 0.025 + 2.0 * math.sqrt(0.025 / 300)


def test_low_end_of_a_mix_is_that_of_its_mean_log_budget():
    curve = fit_budget_curve(fly(np.random.default_rng(3), 512))
    budget = np.array([7000.0, 20000.0, 9000.0])
    revenue, low = curve.expected_revenue(np.full(3, 100.0), budget, 0.025)
    mean = (revenue * np.log(budget)).sum() / revenue.sum()
    (alone,) = low_ends(curve, [math.exp(mean)])
    roas = curve.roas * math.exp(curve.elasticity * (mean - math.log(curve.reference)))
    assert low[-1] / revenue.sum() == pytest.approx(alone / roas)
    assert low[0] / revenue[0] == pytest.approx(low_ends(curve, budget[:1])[0] * 100.0 / revenue[0])


def test_misfit_of_a_bent_market_widens_the_low_end_and_noise_does_not():
    dice = np.random.default_rng(4)
    assert sum(fit_budget_curve(fly(dice, 512)).misfit > 0 for _ in range(100)) <= 10
    bent = fit_budget_curve(fly(dice, 4096, bend=-0.5))
    # A parabola leaves a straight line by at most two thirds of its height over a uniform range.
    assert 0.5 * RANGE**2 * 0.4 < bent.misfit < 0.5 * RANGE**2 * 0.8
    truth = ROAS * math.exp(ELASTICITY * RANGE - 0.5 * RANGE**2)
    waved = fit_budget_curve(fly(dice, 4096, bend=1.0, power=3))  # two fifths, likewise
    assert 0.2 * RANGE**3 < waved.misfit < 0.5 * RANGE**3
    assert low_ends(bent, [bent.high_budget])[0] < truth < bent.roas * (math.exp(RANGE)) ** bent.elasticity


def same(flights: FlightTotals, **changes) -> FlightTotals:
    return totals(**{name: changes.get(name, getattr(flights, name)) for name in ("cost", "revenue", "budget")})


def test_no_curve_where_the_flights_determine_none():
    flights = fly(np.random.default_rng(5), 64)
    none, ones = np.zeros(64), np.ones(64)
    assert fit_budget_curve(flights) is not None
    assert fit_budget_curve(same(flights, budget=50.0 * ones)) is None  # one budget
    assert fit_budget_curve(same(flights, budget=none)) is None  # an environment without budgets
    assert fit_budget_curve(same(flights, budget=np.where(np.arange(64) < 3, 0.0, flights.budget))) is None
    assert fit_budget_curve(same(flights, revenue=none)) is None
    assert fit_budget_curve(same(flights, cost=none)) is None
    assert fit_budget_curve(same(flights, revenue=2.0 * flights.cost)) is None  # no luck, and so no errors
    only_one = np.where(flights.budget == flights.budget.max(), 1.0, 0.0)
    assert fit_budget_curve(same(flights, revenue=only_one)) is None


def test_a_curve_survives_json_and_a_damaged_one_is_refused():
    curve = fit_budget_curve(fly(np.random.default_rng(6), 512))
    content = json.loads(json.dumps(asdict(curve)))
    assert BudgetCurve.of(content) == curve and BudgetCurve.of(None) is None
    wrong = ({"roas": None}, {"elasticity": "-1"}, {"low_budget": 1e9}, {"roas_error": 0.0}, {"misfit": -0.1})
    for damaged in ([], "x", {}, *(content | change for change in wrong)):
        with pytest.raises(ModelError, match=r"model\.json: roas_by_budget: damaged: fetch"):
            BudgetCurve.of(damaged)
