"""solve(): the multiplier at which spend equals the budget, for many flights at once, in one column or in many."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import ndtr

from gaelp_ray.market.multiplier import SETTLED, Spend, solve

BOUNDS = (-7.0, 9.0)
FLIGHTS, CHANNELS = 40, 5


class Curves:
    """Lognormal spend curves: scale x Phi((top - x) / sd), (B, S)."""

    def __init__(self, top: np.ndarray, scale: np.ndarray, sd: float) -> None:
        self.top, self.scale, self.sd = top, scale, sd

    def each(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Spend of each channel, (B, S)."""
        z = (self.top - x) / self.sd
        return self.scale * ndtr(z), self.scale * np.exp(-0.5 * z * z) / (self.sd * np.sqrt(2.0 * np.pi))

    def all(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Spend of each flight, (B,)."""
        spent, slope = self.each(x[:, None])
        return spent.sum(axis=1), slope.sum(axis=1)


def curves(seed: int, sd: float = 0.8) -> Curves:
    rng, shape = np.random.default_rng(seed), (FLIGHTS, CHANNELS)
    return Curves(rng.normal(0.0, 1.5, shape), np.exp(rng.normal(3.0, 1.5, shape)), sd)


def root(spend: Spend, budget: np.ndarray, index: tuple[int, ...]) -> float:
    """The same root by a library's bracketing."""

    def excess(x: float) -> float:
        return float(spend(np.full_like(budget, x))[0][index] - budget[index])

    return float(brentq(excess, -40.0, 40.0, xtol=1e-12))


@pytest.mark.parametrize("sd", [0.3, 0.8, 1.5])
def test_roots_of_flights_are_those_of_a_library(sd):
    some = curves(1, sd)
    budget = some.scale.sum(axis=1) * np.random.default_rng(2).uniform(0.01, 0.9, FLIGHTS)
    found = solve(some.all, budget, np.zeros(FLIGHTS), BOUNDS, 60)
    np.testing.assert_allclose(found, [root(some.all, budget, (row,)) for row in range(FLIGHTS)], atol=1e-8)


def test_roots_of_every_channel_by_itself():
    some = curves(3)
    budget = some.scale * np.random.default_rng(4).uniform(0.05, 0.9, some.scale.shape)
    found = solve(some.each, budget, np.zeros_like(budget), BOUNDS, 60)
    assert found.shape == (FLIGHTS, CHANNELS)
    for cell in np.ndindex(4, CHANNELS):
        assert found[cell] == pytest.approx(root(some.each, budget, cell), abs=1e-8)


@pytest.mark.parametrize("start", [-7.0, -2.5, 0.0, 3.0, 9.0])
def test_a_case_in_which_plain_newton_cycles_is_solved_from_everywhere(start):
    # One big cheap channel, one small dear one: log spend has a step, and a tangent there leads to the other side.
    far = Curves(np.array([[0.0, 6.0]]), np.array([[1e6, 400.0]]), 0.1)
    found = solve(far.all, np.array([1000.0]), np.array([start]), BOUNDS, 80)
    assert far.all(found)[0][0] == pytest.approx(1000.0, rel=1e-6)


def plain_newton(spend: Spend, budget: np.ndarray, start: np.ndarray, steps: int) -> np.ndarray:
    x = start
    for _ in range(steps):
        spent, slope = spend(x)
        x = np.clip(x + np.clip(np.log(spent / budget) * spent / np.maximum(slope, 1e-300), -2.0, 2.0), *BOUNDS)
    return x


def test_plain_newton_does_cycle_there():
    far = Curves(np.array([[0.0, 6.0]]), np.array([[1e6, 400.0]]), 0.1)
    cycling = plain_newton(far.all, np.array([1000.0]), np.array([3.0]), 80)
    assert abs(far.all(cycling)[0][0] / 1000.0 - 1.0) > 0.1


def test_one_flight_that_needs_many_steps_leaves_the_settled_ones_at_their_roots():
    some, far = curves(5, 0.1), Curves(np.array([[0.0, 6.0]]), np.array([[1e6, 400.0]]), 0.1)
    top = np.vstack([some.top, np.pad(far.top, ((0, 0), (0, 3)))])
    scale = np.vstack([some.scale, np.pad(far.scale, ((0, 0), (0, 3)), constant_values=1e-9)])
    both = Curves(top, scale, 0.1)
    budget = np.append(some.scale.sum(axis=1) * 0.3, 1000.0)
    found = solve(both.all, budget, np.full(FLIGHTS + 1, 3.0), BOUNDS, 80)
    np.testing.assert_allclose(both.all(found)[0], budget, rtol=1e-6)


def test_a_market_cheaper_than_the_budget_ends_at_the_lower_bound():
    some = curves(6)
    rich = np.where(np.arange(FLIGHTS) % 2, 1e9, some.scale.sum(axis=1) * 0.5)
    found = solve(some.all, rich, np.full(FLIGHTS, 2.0), BOUNDS, 60)
    np.testing.assert_array_equal(found[1::2], BOUNDS[0])
    np.testing.assert_allclose(some.all(found)[0][::2], rich[::2], rtol=1e-6)


def test_no_budget_ends_where_next_to_nothing_is_spent():
    found = solve(curves(7).all, np.zeros(FLIGHTS), np.zeros(FLIGHTS), BOUNDS, 60)
    assert np.isfinite(found).all()
    assert curves(7).all(found)[0].max() < 1e-6
    assert found.max() <= BOUNDS[1]


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 30])
def test_no_step_leaves_the_bounds(steps):
    narrow = (-0.5, 0.5)
    some = curves(8)
    budget = some.scale.sum(axis=1) * np.random.default_rng(9).uniform(0.001, 2.0, FLIGHTS)
    found = solve(some.all, budget, np.zeros(FLIGHTS), narrow, steps)
    assert found.min() >= narrow[0] - 1e-6
    assert found.max() <= narrow[1] + 1e-6


def test_solving_stops_when_all_flights_have_settled():
    some, calls = curves(10), []

    def counted(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        calls.append(x)
        return some.all(x)

    budget = some.scale.sum(axis=1) * 0.4
    found = solve(counted, budget, np.zeros(FLIGHTS), BOUNDS, 1000)
    assert len(calls) < 30
    assert np.abs(found - calls[-1]).max() < SETTLED


def test_the_first_guess_is_not_changed():
    start = np.zeros(FLIGHTS)
    solve(curves(11).all, np.full(FLIGHTS, 10.0), start, BOUNDS, 5)
    np.testing.assert_array_equal(start, np.zeros(FLIGHTS))
