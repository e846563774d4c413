"""The hindsight optimum and regret in C have the bits of oracle.py, and a flight does not depend on its batch."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from gaelp_ray.core import library
from gaelp_ray.market import load_market
from gaelp_ray.market.auction import Hour, Outcome
from gaelp_ray.market.prices import Lognormal, Pricing, Table
from gaelp_ray.market.stream import Cells
from gaelp_ray.simulator import AdCampaignVectorEnv, campaign, oracle
from gaelp_ray.simulator.hidden import draw_hidden, repeated
from gaelp_ray.simulator.oracle import Optimum, hindsight_optimum, regret

LANDSCAPE = load_market("airfrance-search").landscape
S = LANDSCAPE.channels
CAPS = np.array([0.1, 1.0, 0.3, 0.02, 1.0, 0.3, 0.2])


def tables(rows):
    """One table for all channels or one for each; 4% of auctions cannot be won."""
    rng = np.random.default_rng(2)
    cumulative = np.cumsum(rng.uniform(0.0, 1.0, (rows, 40)) * (rng.random((rows, 40)) < 0.7), axis=1)
    return Table(0.1, np.pad(0.96 * cumulative / cumulative[:, -1:], ((0, 0), (1, 0))))


PRICES = {"lognormal": LANDSCAPE.pricing.shape, "table": tables(1), "tables": tables(S)}
CONDITIONS = {
    "plain": {},
    "caps": {"spend_cap": CAPS},
    "fatigue": {"fatigue_rate": 0.7},
    "fatigue and caps": {"fatigue_rate": 0.7, "spend_cap": CAPS},
    "a spread of prices for each channel": {"pricing": Pricing(Lognormal(np.linspace(0.3, 1.5, S), S))},
    "table": {"pricing": Pricing(PRICES["table"])},
    **{f"{name}, first price": {"pricing": Pricing(shape, True)} for name, shape in PRICES.items()},
    **{
        f"tables, fatigue and caps, {rule}": {
            "pricing": Pricing(PRICES["tables"], rule == "first price"),
            "fatigue_rate": 0.7,
            "spend_cap": CAPS,
        }
        for rule in ("first price", "second price")
    },
}


def truth_of(flights, first=0, **changes):
    landscape = replace(LANDSCAPE, **changes)
    numbers = np.arange(first, first + flights)
    truth = draw_hidden(Cells(8, numbers[:, None], np.array(0), np.arange(S)), landscape)
    # Budgets that buy a few clicks, and some that buy the whole market.
    return replace(truth, budget=truth.budget * 10.0 ** (3.0 * np.sin(numbers)))


def use(monkeypatch, loaded):
    monkeypatch.setattr(oracle, "load", lambda: library.Core(loaded, ""))


def bits(optimum):
    return {field.name: getattr(optimum, field.name).tobytes() for field in fields(Optimum)}


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("flights", [1, 8, 37])
def test_optimum(libraries, monkeypatch, condition, flights):
    truth = truth_of(flights, **CONDITIONS[condition])
    use(monkeypatch, None)
    expected = hindsight_optimum(truth)
    assert (expected.revenue > 0.0).all()
    for level, loaded in libraries.items():
        use(monkeypatch, loaded)
        assert bits(hindsight_optimum(truth)) == bits(expected), level


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("in_c", [True, False])
def test_optimum_of_a_flight_does_not_depend_on_its_batch(libraries, monkeypatch, condition, in_c):
    use(monkeypatch, next(iter(libraries.values())) if in_c else None)
    whole = hindsight_optimum(truth_of(20, **CONDITIONS[condition]))
    part = hindsight_optimum(truth_of(5, first=11, **CONDITIONS[condition]))
    for field in fields(Optimum):
        np.testing.assert_array_equal(getattr(part, field.name), getattr(whole, field.name)[11:16])


def test_optimum_of_copies():
    truth = truth_of(5)
    assert bits(hindsight_optimum(repeated(truth, 3), 3)) == bits(hindsight_optimum(repeated(truth, 3)))


def hour_of(rng, flights, condition):
    """An hour and what random bids leave of it, some of them without money."""
    truth = truth_of(flights, **CONDITIONS[condition])
    hour: Hour = truth.hour(int(rng.integers(168)), rng.uniform(-2.0, 0.0, (flights, S)))
    win = rng.uniform(0.0, 1.0, (flights, S))
    price = np.exp(hour.log_price + rng.normal(0.0, 1.0, (flights, S)))
    by_channel = "caps" in condition
    none = np.zeros((flights, S))
    open_ = rng.random((flights, S if by_channel else 1)) < 0.8
    return hour, Outcome(none, none, none, none, none, none, win, price, open_)


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("flights", [1, 200])
def test_regret(libraries, monkeypatch, condition, flights):
    rng = np.random.default_rng(5)
    for _ in range(5):
        hour, outcome = hour_of(rng, flights, condition)
        multiplier = np.exp(rng.uniform(-3.0, 3.0, flights))
        use(monkeypatch, None)
        expected = regret(hour, outcome, multiplier)
        assert (expected > 0.0).any()
        for level, loaded in libraries.items():
            use(monkeypatch, loaded)
            assert regret(hour, outcome, multiplier).tobytes() == expected.tobytes(), level


def test_flights_started_again_keep_what_is_hidden_until_others_start(monkeypatch):
    solved = []
    monkeypatch.setattr(campaign, "hindsight_optimum", lambda *args: solved.append(args) or hindsight_optimum(*args))
    env = AdCampaignVectorEnv(4)
    action = np.zeros((4, S), np.float32)

    def flown(**options):
        env.reset(**options)
        for _ in range(3):
            env.step(action)
        return env.totals()

    first, again = flown(seed=1), flown(seed=1)
    for name in ("cost", "oracle_revenue"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    assert len(solved) == 1
    others = [flown(seed=2), flown(seed=1, options={"first_flight": 1}), flown(), flown(), flown(seed=1)]
    assert len(solved) == 6
    np.testing.assert_array_equal(others[1].budget[:3], first.budget[1:])
    assert len({totals.budget.tobytes() for totals in others}) == 5
    np.testing.assert_array_equal(others[-1].oracle_revenue, first.oracle_revenue)
