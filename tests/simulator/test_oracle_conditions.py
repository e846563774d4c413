"""The hindsight optimum under caps, fatigue and both: on small flights, nothing that is tried earns more.

Small flights have two or three hours in two channels. What a plan brings is played through hour by hour by the
auction's own arithmetic, with the fatigue that it causes.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq

from gaelp_ray.market import load_market, market_names
from gaelp_ray.market.landscape import DAYS
from gaelp_ray.market.market import market_from
from gaelp_ray.market.prices import Lognormal, Pricing, Shape, Table
from gaelp_ray.simulator.hidden import Hidden
from gaelp_ray.simulator.oracle import Optimum, _better, hindsight_optimum
from gaelp_ray.simulator.random_streams import KeyedStream

LAND = load_market("airfrance-search").landscape

SHAPES: dict[str, Shape] = {
    "lognormal": Lognormal(0.8),
    # Three in ten auctions of the first channel, one in ten of the second cannot be won.
    "table": Table(0.1, np.stack([np.linspace(0.0, 0.7, 31), 0.9 * np.linspace(0.0, 1.0, 31) ** 0.6])),
}
CONDITIONS = {
    "plain": (0.0, (1.0, 1.0)),
    "caps": (0.0, (1.0, 0.25)),
    "caps on all": (0.0, (0.3, 0.25)),
    "fatigue": (np.log(2.0) / 0.5, (1.0, 1.0)),
    "fatigue and caps": (np.log(2.0) / 0.5, (1.0, 0.25)),
}

PRICES = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
RULES = pytest.mark.parametrize("first_price", [False, True], ids=["second price", "first price"])
UNDER = pytest.mark.parametrize("condition", CONDITIONS)


def small(condition: str, shape: Shape, first_price: bool, hours: int = 2, share: float = 0.25) -> Hidden:
    """One flight that lasts a week of traffic in a few hours, with a share of what the whole market costs."""
    fatigue_rate, caps = CONDITIONS[condition]
    volume = np.array([1000.0, 3000.0])
    land = replace(
        LAND,
        order_value=np.array([10.0, 40.0]),
        volume=volume,
        pricing=Pricing(shape, first_price),
        fatigue_rate=fatigue_rate,
        spend_cap=np.array(caps),
    )
    hidden = Hidden(
        landscape=land,
        budget=np.ones(1),
        ctr=np.array([[0.1, 0.02]]),
        volume=1.2 * volume[None],
        traffic=DAYS * np.array([[0.5], [0.3], [0.2]])[:hours] / [0.8, 1.0][hours - 2],
        log_price=np.array([[[0.0, 0.5]], [[-0.6, 0.3]], [[0.2, -0.1]]])[:hours],
        conversion_rate=np.array([[[0.2, 0.1]], [[0.25, 0.08]], [[0.15, 0.12]]])[:hours],
    )
    whole = played(hidden, np.full((hours, 2), 1.5))[0].sum()
    return replace(hidden, budget=np.array([share * whole]))


def played(hidden: Hidden, bids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(cost per channel (..., S), revenue (...)) of the only flight at log bids (..., H, S), hour by hour."""
    land = hidden.landscape
    won, cost, revenue = (np.zeros(bids.shape[:-2] + bids.shape[-1:]) for _ in range(3))
    for t in range(bids.shape[-2]):
        win, price = land.pricing.clearing(bids[..., t, :], hidden.log_price[t, 0] * np.ones_like(bids[..., t, :]))
        impressions = hidden.volume[0] * hidden.traffic[t, 0] * win
        clicks = impressions * hidden.ctr[0] * np.exp(land.log_fatigue(won))
        won, cost = won + impressions, cost + clicks * price
        revenue = revenue + clicks * hidden.conversion_rate[t, 0] * land.order_value
    return cost, revenue.sum(axis=-1)


def kept(hidden: Hidden, cost: np.ndarray) -> np.ndarray:
    """Whether costs (..., S) keep the budget and the caps."""
    budget = hidden.budget[0]
    return (cost.sum(axis=-1) <= budget) & (cost <= hidden.landscape.spend_cap * budget).all(axis=-1)


def best_of_grids(hidden: Hidden, points: int = 11, zooms: int = 9) -> float:
    """Revenue of the best plan found by trying every grid of bids, each finer and around the best so far."""
    hours = len(hidden.traffic)
    centre, width, most = np.zeros(2 * hours), 2.5, 0.0
    steps = np.linspace(-1.0, 1.0, points)
    offsets = np.stack(np.meshgrid(*[steps] * (2 * hours), indexing="ij"), axis=-1).reshape(-1, 2 * hours)
    for _ in range(zooms):
        plans = centre + width * offsets
        cost, revenue = played(hidden, plans.reshape(-1, hours, 2))
        revenue = np.where(kept(hidden, cost), revenue, 0.0)
        if revenue.max() > most:
            most, centre = revenue.max(), plans[revenue.argmax()]
        width *= 0.6
    return float(most)


@PRICES
@RULES
@UNDER
def test_trying_every_grid_of_bids_finds_the_same_optimum(condition, shape, first_price):
    hidden = small(condition, shape, first_price)
    best = hindsight_optimum(hidden).revenue[0]
    assert 0.985 * best < best_of_grids(hidden) <= best * (1.0 + 1e-3)


@PRICES
@RULES
@UNDER
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_no_random_plan_of_the_same_cost_earns_more(condition, shape, first_price, share):
    hidden = small(condition, shape, first_price, hours=3, share=share)
    best = hindsight_optimum(hidden)
    rng = np.random.default_rng(1)
    spread, level = rng.choice([0.1, 0.5, 1.5], (900, 1, 1)), rng.standard_normal((900, 1, 2))
    plans = level + spread * rng.standard_normal((900, 3, 2))
    plans += np.log(hidden.conversion_rate[:, 0] * hidden.landscape.order_value) - 1.0
    cost, revenue = played(hidden, plans[:, None] + np.linspace(-4.0, 3.0, 43)[:, None, None])
    allowed = np.where(kept(hidden, cost), revenue, 0.0)
    assert 0.9 * best.revenue[0] < allowed.max() <= best.revenue[0] * (1.0 + 1e-3)


@pytest.mark.parametrize("condition", ["caps", "caps on all"])
@RULES
def test_caps_that_bind_are_spent_and_the_rest_goes_elsewhere(condition, first_price):
    hidden = small(condition, SHAPES["lognormal"], first_price)
    free = hindsight_optimum(replace(hidden, landscape=replace(hidden.landscape, spend_cap=np.ones(2))))
    best = hindsight_optimum(hidden)
    caps = np.array(CONDITIONS[condition][1])
    assert best.cost[0] == pytest.approx(hidden.budget[0] * min(caps.sum(), 1.0), rel=1e-4)
    assert best.revenue[0] < free.revenue[0]


def test_caps_that_do_not_bind_change_nothing():
    hidden = small("plain", SHAPES["lognormal"], False)
    loose = replace(hidden, landscape=replace(hidden.landscape, spend_cap=np.array([0.99, 0.99])))
    assert hindsight_optimum(loose).revenue[0] == pytest.approx(hindsight_optimum(hidden).revenue[0], rel=1e-9)


def alone(hidden: Hidden, channel: int, budget: float) -> float:
    """Revenue of one channel that spends this amount at one multiplier, by a library's root finder."""
    value = hidden.conversion_rate[:, 0, channel] * hidden.landscape.order_value[channel]

    def bids(log_multiplier: float) -> np.ndarray:
        both = np.full((2, 2), -50.0)
        both[:, channel] = np.log(value) - log_multiplier
        return both

    found = brentq(lambda x: played(hidden, bids(x))[0][channel] - budget, -10.0, 10.0, xtol=1e-12)
    return float(played(hidden, bids(found))[1])


def test_each_channel_at_its_cap_has_a_multiplier_of_its_own():
    hidden = small("caps on all", SHAPES["lognormal"], False)
    by_hand = sum(alone(hidden, s, hidden.budget[0] * cap) for s, cap in enumerate((0.3, 0.25)))
    assert hindsight_optimum(hidden).revenue[0] == pytest.approx(by_hand, rel=1e-6)


def hard(name: str, auction: str) -> Hidden:
    market = load_market(name).variant(auction=auction, fatigue_half_life=0.5)
    shares = {"source": "assumed", "shares": {market.channel_names[0]: 0.05, market.channel_names[1]: 0.1}}
    both = market_from(market.model_dump(mode="json", exclude_none=True) | {"spend_caps": shares}, name)
    return KeyedStream(0, both.landscape, np.arange(7)).hidden()


@pytest.mark.parametrize("auction", ["second_price", "first_price"])
@pytest.mark.parametrize("name", market_names())
def test_whole_flights_are_solved_within_their_budgets_and_alone(name, auction):
    hidden = hard(name, auction)
    best = hindsight_optimum(hidden)
    assert (best.cost <= hidden.budget * (1.0 + 1e-6)).all()
    assert (best.revenue > 0.0).all()
    one = Hidden(
        hidden.landscape, hidden.budget[5:6], hidden.ctr[5:6], hidden.volume[5:6], hidden.traffic[:, 5:6],
        hidden.log_price[:, 5:6], hidden.conversion_rate[:, 5:6],
    )  # fmt: skip
    assert hindsight_optimum(one).revenue[0] == pytest.approx(best.revenue[5], rel=1e-4)


def test_more_fatigue_and_tighter_caps_earn_less():
    hidden = hard("airfrance-search", "second_price")
    land = hidden.landscape
    easier = [
        replace(land, fatigue_rate=land.fatigue_rate / 4.0),
        replace(land, spend_cap=np.ones(land.channels)),
        replace(land, fatigue_rate=0.0, spend_cap=np.ones(land.channels)),
    ]
    revenue = [hindsight_optimum(replace(hidden, landscape=each)).revenue for each in (land, *easier)]
    for other in revenue[1:]:
        assert (revenue[0] <= other * (1.0 + 1e-3)).all()
    assert revenue[0].sum() < 0.97 * revenue[3].sum()


def test_of_two_plans_the_better_one_counts_after_what_costs_too_much_is_cut_down():
    def plans(cost: list[float], revenue: list[float]) -> Optimum:
        return Optimum(np.array([1.0, 1.0, 1.0]) * revenue[0], np.array(cost), np.array(revenue))

    budget = np.full(3, 100.0)
    best = _better(plans([100.0, 90.0, 80.0], [300.0] * 3), plans([200.0, 150.0, 50.0], [400.0, 600.0, 310.0]), budget)
    np.testing.assert_allclose(best.cost, [100.0, 100.0, 50.0])
    np.testing.assert_allclose(best.revenue, [300.0, 400.0, 310.0])
    np.testing.assert_allclose(best.multiplier, [300.0, 400.0, 400.0])
