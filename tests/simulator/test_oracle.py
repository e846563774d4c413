"""The hindsight optimum: it spends the budget, and nothing that spends as little earns more."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq

from gaelp_ray.market import load_market
from gaelp_ray.simulator.hidden import Hidden
from gaelp_ray.simulator.oracle import hindsight_optimum
from gaelp_ray.simulator.random_streams import KeyedStream

LAND = load_market("airfrance-search").landscape


RULES = pytest.mark.parametrize("first_price", [False, True], ids=["second price", "first price"])


def tiny(budget: float, first_price: bool = False) -> Hidden:
    """One flight of two hours in two channels, small enough to try everything."""
    return Hidden(
        landscape=replace(
            LAND,
            order_value=np.array([10.0, 40.0]),
            volume=np.array([1000.0, 3000.0]),
            pricing=replace(LAND.pricing, first_price=first_price),
            spend_cap=np.ones(2),
        ),
        budget=np.array([budget]),
        ctr=np.array([[0.1, 0.02]]),
        volume=np.array([[1000.0, 3000.0]]),
        traffic=np.array([[1.0], [0.4]]),
        log_price=np.array([[[0.0, 0.5]], [[-0.6, 0.3]]]),
        conversion_rate=np.array([[[0.2, 0.1]], [[0.25, 0.08]]]),
    )


def expected(hidden: Hidden, log_bids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(cost, revenue) expected of the only flight at bids (..., H, S), by the auction's own arithmetic."""
    win, price = hidden.landscape.pricing.clearing(log_bids, hidden.log_price[:, 0])
    clicks = hidden.traffic * hidden.volume * hidden.ctr * win
    value = hidden.conversion_rate[:, 0] * hidden.landscape.order_value
    return (clicks * price).sum(axis=(-2, -1)), (clicks * value).sum(axis=(-2, -1))


def whole_market(hidden: Hidden) -> tuple[float, float]:
    cost, revenue = expected(hidden, np.full((2, 2), 60.0))
    return float(cost), float(revenue)


def log_values(hidden: Hidden) -> np.ndarray:
    return np.log(hidden.conversion_rate[:, 0] * hidden.landscape.order_value)


@pytest.fixture(scope="module")
def flights() -> Hidden:
    return KeyedStream(0, LAND, np.arange(64)).hidden()


def test_optimum_spends_exactly_the_budget(flights):
    np.testing.assert_allclose(hindsight_optimum(flights).cost, flights.budget, rtol=1e-5)


def test_flights_are_solved_independently(flights):
    whole = hindsight_optimum(flights)
    one = Hidden(
        LAND, flights.budget[5:6], flights.ctr[5:6], flights.volume[5:6], flights.traffic[:, 5:6],
        flights.log_price[:, 5:6], flights.conversion_rate[:, 5:6],
    )  # fmt: skip
    assert hindsight_optimum(one).revenue[0] == pytest.approx(whole.revenue[5], rel=1e-5)


def test_optimum_is_what_bidding_value_over_lambda_brings():
    hidden = tiny(60.0)
    optimum = hindsight_optimum(hidden)
    cost, revenue = expected(hidden, log_values(hidden) - np.log(optimum.multiplier[0]))
    assert (optimum.cost[0], optimum.revenue[0]) == pytest.approx((cost, revenue))


@pytest.mark.parametrize("budget", [5.0, 60.0, 150.0])
def test_another_multiplier_overspends_or_earns_less(budget):
    hidden = tiny(budget)
    optimum = hindsight_optimum(hidden)
    best = np.log(optimum.multiplier[0])
    cheaper_cost, cheaper_revenue = expected(hidden, log_values(hidden) - (best + 0.01))
    dearer_cost, _ = expected(hidden, log_values(hidden) - (best - 0.01))
    assert cheaper_revenue < optimum.revenue[0]
    assert cheaper_cost < budget < dearer_cost


def test_multiplier_is_what_the_last_unit_of_budget_earns():
    below, above = (hindsight_optimum(tiny(budget)) for budget in (59.5, 60.5))
    assert above.revenue[0] - below.revenue[0] == pytest.approx(hindsight_optimum(tiny(60.0)).multiplier[0], rel=1e-3)


@RULES
@pytest.mark.parametrize("budget", [5.0, 60.0, 150.0])
def test_no_random_bids_of_the_same_cost_earn_more(budget, first_price):
    hidden = tiny(budget, first_price)
    rng = np.random.default_rng(1)
    best = hindsight_optimum(hidden).revenue[0]
    for spread in rng.choice([0.05, 0.3, 1.0], 60):
        bids = log_values(hidden) + spread * rng.standard_normal((2, 2))
        shift = brentq(lambda x, b=bids: expected(hidden, b + x)[0] - budget, -20.0, 20.0)
        assert expected(hidden, bids + shift)[1] <= best * (1.0 + 1e-5)


@RULES
def test_trying_every_grid_of_bids_finds_the_same_optimum(first_price):
    hidden = tiny(60.0, first_price)
    best = hindsight_optimum(hidden).revenue[0]
    grid = np.log(np.geomspace(0.2, 5.0, 28))
    cells = np.stack(np.meshgrid(grid, grid, grid, grid, indexing="ij"), axis=-1).reshape(-1, 2, 2)
    cost, revenue = expected(hidden, cells)
    tried = revenue[cost <= 60.0].max()
    assert 0.98 * best < tried <= best * (1.0 + 1e-5)


def test_budget_larger_than_the_market_buys_everything():
    cost, revenue = whole_market(tiny(1.0))
    optimum = hindsight_optimum(tiny(2.0 * cost))
    assert (optimum.cost[0], optimum.revenue[0]) == pytest.approx((cost, revenue), rel=1e-3)


def test_one_rich_flight_does_not_disturb_the_others(flights):
    rich = replace(flights, budget=np.where(np.arange(64) == 3, 1e9, flights.budget))
    before, after = hindsight_optimum(flights), hindsight_optimum(rich)
    others = np.arange(64) != 3
    np.testing.assert_allclose(after.revenue[others], before.revenue[others], rtol=1e-6)
    assert after.revenue[3] > before.revenue[3]
    assert after.cost[3] < 1e9


def test_more_budget_never_earns_less_and_returns_fall():
    revenue = np.array([hindsight_optimum(tiny(budget)).revenue[0] for budget in np.linspace(10.0, 200.0, 12)])
    assert (np.diff(revenue) > 0).all()
    assert (np.diff(revenue, n=2) < 0).all()


def test_paying_the_bid_never_earns_more_than_paying_the_price():
    second, first = (hindsight_optimum(tiny(60.0, rule)) for rule in (False, True))
    assert first.revenue[0] < second.revenue[0]
    assert first.cost[0] == pytest.approx(60.0, rel=1e-4)
