"""The reward `regret`: never above 0, 0 for the best bids, and in sum expected revenue less the optimum's."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from gaelp_ray.agents import reference_bidder
from gaelp_ray.market import Market, load_market, market_names
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.market.market import market_from
from gaelp_ray.records import FlightTotals
from gaelp_ray.simulator import AdCampaignVectorEnv
from gaelp_ray.simulator.hidden import Hidden
from gaelp_ray.simulator.oracle import Optimum, hindsight_optimum

MARKET = load_market("airfrance-search")
Policy = Callable[["Flights", int], np.ndarray]

RULES = pytest.mark.parametrize("auction", ["second_price", "first_price"])


def with_flight(market: Market, **values: float) -> Market:
    """The market with other numbers in its block `flight`."""
    data = market.model_dump(mode="json", exclude_none=True)
    sourced = {name: {"value": value, "source": "assumed"} for name, value in values.items()}
    return market_from(data | {"flight": data["flight"] | sourced}, market.name)


class Flights:
    """Whole flights with rewards (T, B) in shares of the budget; `budget` multiplies the drawn ones."""

    def __init__(self, market: Market, flights: int, policy: Policy, budget: float = 1.0, seed: int = 4) -> None:
        self.env = AdCampaignVectorEnv(flights, market, "regret")
        self.obs, _ = self.env.reset(seed=seed)
        self.land = self.env.landscape
        self.hidden: Hidden = self.env._hidden
        if budget != 1.0:
            self.hidden = replace(self.hidden, budget=budget * self.hidden.budget)
            self.env._hidden, ledger = self.hidden, self.env._ledger
            ledger.budget, ledger.budget_left = self.hidden.budget, self.hidden.budget.copy()
        self.best: Optimum = hindsight_optimum(self.hidden)
        rewards, left = [], []
        for t in range(HOURS):
            left.append(self.env._ledger.budget_left.copy())
            self.obs, reward, *_ = self.env.step(policy(self, t))
            rewards.append(reward)
        self.rewards, self.left = np.stack(rewards), np.stack(left)
        self.totals: FlightTotals = self.env.totals()

    @property
    def money(self) -> np.ndarray:
        """Sum of each flight's rewards, (B,), in money."""
        return self.rewards.sum(axis=0) * self.totals.budget


def always(action: float) -> Policy:
    return lambda flights, t: np.full(flights.env.action_space.shape, action, np.float32)


def at_random(flights: Flights, t: int) -> np.ndarray:
    return np.random.default_rng([1, t]).uniform(-1.0, 1.0, flights.env.action_space.shape).astype(np.float32)


def knowing(flights: Flights, t: int) -> np.ndarray:
    """The optimum's bids: value / lambda of the hidden values, shaded where the winner pays them."""
    land, hidden = flights.land, flights.hidden
    worth = np.log(hidden.conversion_rate[t] * land.order_value / flights.best.multiplier[:, None])
    return land.action(land.pricing.best_bid(worth - hidden.log_price[t]) + hidden.log_price[t])


def planning() -> Policy:
    """BayesDual, which starts anew with the flights that it meets first."""
    bidders = {}

    def policy(flights: Flights, t: int) -> np.ndarray:
        if not bidders:
            bidders["one"] = reference_bidder(flights.land)
            bidders["one"].begin(flights.env.num_envs, np.random.default_rng(0))
        return bidders["one"].act(flights.obs)

    return policy


CORNERS = {"least": always(-1.0), "historical": always(0.0), "most": always(1.0), "random": at_random}
CONDITIONS = {
    "plain": lambda market: market,
    "fatigue": lambda market: market.variant(fatigue_half_life=2.0),
    "delay": lambda market: market.variant(conversion_delay=24.0),
}


@RULES
@pytest.mark.parametrize("policy", CORNERS.values(), ids=CORNERS)
@pytest.mark.parametrize("name", market_names())
def test_no_bids_do_better_than_the_best(name, policy, auction):
    rewards = Flights(load_market(name).variant(auction=auction), 8, policy).rewards
    assert np.isfinite(rewards).all()
    assert rewards.max() <= 1e-12
    assert rewards.min() < -1e-3


@RULES
@pytest.mark.parametrize("name", market_names())
def test_bids_around_the_best_do_no_better(name, auction):
    # Bids of first-price auctions come from a table: what lies between its entries must not earn a reward either.
    def around(flights: Flights, t: int) -> np.ndarray:
        shape = flights.env.action_space.shape
        return knowing(flights, t) + np.random.default_rng(t).normal(0.0, 0.02, shape).astype(np.float32)

    assert Flights(load_market(name).variant(auction=auction), 8, around).rewards.max() <= 1e-12


@pytest.mark.parametrize("condition", ["fatigue", "delay"])
def test_conditions_leave_rewards_below_zero_and_finite(condition):
    rewards = Flights(CONDITIONS[condition](MARKET), 8, at_random).rewards
    assert np.isfinite(rewards).all()
    assert rewards.max() <= 1e-12


@RULES
@pytest.mark.parametrize("name", market_names())
def test_the_optimums_own_bids_lose_nothing(name, auction):
    flights = Flights(load_market(name).variant(auction=auction), 16, knowing)
    funded = (flights.left > 0.0)[:-1]
    assert funded[:100].all()
    lost = flights.rewards[:-1][funded]
    # Actions are float32: what that costs is of second order.
    np.testing.assert_allclose(lost, 0.0, atol=1e-7)


@RULES
def test_bids_a_little_off_lose_in_every_hour(auction):
    off = Flights(MARKET.variant(auction=auction), 16, lambda f, t: knowing(f, t) + np.float32(0.03))
    assert off.rewards[:100].max() < -1e-7


def test_one_channel_bid_too_high_costs_its_own_surplus_by_hand():
    t, channel = 5, 1

    def spoiled(flights: Flights, hour: int) -> np.ndarray:
        action = knowing(flights, hour)
        if hour == t:
            action[:, channel] += np.float32(0.2)
        return action

    flights = Flights(MARKET, 4, spoiled)
    hidden, land, price = flights.hidden, flights.land, flights.best.multiplier
    action = knowing(flights, t)[:, channel].astype(np.float64)
    value = hidden.conversion_rate[t, :, channel] * land.order_value[channel]
    clicks = hidden.traffic[t] * hidden.volume[:, channel] * hidden.ctr[:, channel]
    surplus = []
    for log_multiplier in (action, action + np.float32(0.2)):
        log_bid = np.log(land.bid[channel]) + land.action_scale * log_multiplier
        win, paid = land.pricing.clearing(log_bid, hidden.log_price[t, :, channel])
        surplus.append(clicks * win * (value - price * paid))
    np.testing.assert_allclose(flights.rewards[t] * hidden.budget, surplus[1] - surplus[0], rtol=1e-4)


@RULES
def test_rewards_add_up_to_what_was_earned_less_the_optimum(auction):
    market = MARKET.variant(auction=auction)
    for policy in (planning(), always(-0.35)):
        flights = Flights(market, 300, policy)
        totals = flights.totals
        luck = flights.money - (totals.expected_revenue - totals.oracle_revenue)
        # The hour in which the money runs out counts as a whole hour in the rewards: a hair, where it happens.
        assert abs(luck.mean()) < 3.5 * luck.std() / np.sqrt(len(luck)) + 3e-4 * totals.oracle_revenue.mean()
        assert luck.std() < 0.1 * totals.oracle_revenue.mean()
        assert flights.money.mean() < -0.02 * totals.oracle_revenue.mean()


def test_money_left_at_the_end_is_charged_in_the_last_hour():
    flights = Flights(MARKET, 8, always(-0.35))
    spent = flights.totals.cost
    left = flights.totals.budget - spent
    assert (left > 0.1 * flights.totals.budget).any()
    lost = -flights.rewards[-1] * flights.totals.budget
    charged = flights.best.multiplier * left
    whole = hourly_surplus(flights, HOURS - 1)
    assert (lost >= charged * (1.0 - 1e-9)).all()
    assert (lost <= charged + whole).all()


def hourly_surplus(flights: Flights, t: int) -> np.ndarray:
    """Surplus of the optimum's bids in one hour, (B,)."""
    land, hidden, price = flights.land, flights.hidden, flights.best.multiplier[:, None]
    value = hidden.conversion_rate[t] * land.order_value
    best = land.pricing.best_bid(np.log(value / price) - hidden.log_price[t]) + hidden.log_price[t]
    win, paid = land.pricing.clearing(best, hidden.log_price[t])
    clicks = hidden.traffic[t][:, None] * hidden.volume * hidden.ctr
    return (clicks * win * (value - price * paid)).sum(axis=1)


@RULES
def test_who_spends_nothing_loses_all_that_the_optimum_earns(auction):
    market = with_flight(MARKET.variant(auction=auction), max_bid_multiplier=9e5)
    flights = Flights(market, 16, always(-1.0))
    assert flights.totals.cost.max() == 0.0
    np.testing.assert_allclose(flights.money, -flights.totals.oracle_revenue, rtol=1e-4)


@RULES
def test_without_money_all_of_an_hours_surplus_is_lost(auction):
    flights = Flights(MARKET.variant(auction=auction), 8, always(0.3))
    broke = flights.left == 0.0
    assert broke[-1].all()
    assert not broke[0].any()
    whole = np.stack([hourly_surplus(flights, t) for t in range(HOURS)])
    lost = -flights.rewards * flights.totals.budget
    np.testing.assert_allclose(lost[broke], whole[broke], rtol=1e-9)


@pytest.mark.parametrize(("auction", "action"), [("second_price", 0.9), ("first_price", 0.5)])
def test_flights_richer_than_the_market_have_finite_rewards(auction, action):
    flights = Flights(MARKET.variant(auction=auction), 8, always(action), budget=1000.0)
    totals = flights.totals
    assert (flights.best.cost < totals.budget).all()
    assert np.isfinite(flights.rewards).all()
    assert flights.rewards.max() <= 1e-12
    # Money is worth almost nothing there: winning everything is almost the best.
    assert (totals.expected_revenue > 0.9 * totals.oracle_revenue).all()
    assert (flights.money > -0.2 * totals.oracle_revenue).all()


def test_a_new_batch_of_flights_has_an_optimum_of_its_own():
    env = AdCampaignVectorEnv(4, MARKET, "regret")
    action = np.full(env.action_space.shape, -0.3, np.float32)
    env.reset(seed=1)
    env.step(action)
    env.reset(seed=2)
    again = env.step(action)[1]
    fresh = AdCampaignVectorEnv(4, MARKET, "regret")
    fresh.reset(seed=2)
    np.testing.assert_array_equal(again, fresh.step(action)[1])
