"""Properties of every flight: the money, the funnel, finite numbers, repetition, and flights that do not touch.

All shipped markets, under both auction rules, plain and with everything that a market file can switch on.
"""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaelp_ray.market import Market, load_market
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.market.market import market_from, market_names
from gaelp_ray.market.observation import View
from gaelp_ray.simulator import AdCampaignVectorEnv, random_streams
from gaelp_ray.simulator.ledger import Ledger
from gaelp_ray.simulator.random_streams import KeyedStream

FLIGHTS = 5

PALETTES = {
    "corners": (-1.0, 1.0),
    "corners and history": (-1.0, 0.0, 1.0),
    "mostly highest": (1.0, 1.0, 1.0, -1.0),
    "anything": None,
}


def hard(name: str, auction: str) -> Market:
    """A market with late conversions, tiring audiences and a cap on its first channel."""
    market = load_market(name).variant(auction=auction, conversion_delay=24.0, fatigue_half_life=0.5)
    capped = {"source": "assumed", "shares": {market.channels.rows[0].name: 0.2}}
    return market_from(market.model_dump(mode="json", exclude_none=True) | {"spend_caps": capped}, name)


RULES = ("second_price", "first_price")
MARKETS = {f"{name}, {rule}": load_market(name).variant(auction=rule) for name in market_names() for rule in RULES} | {
    f"{name}, {rule}, hard": hard(name, rule) for name in market_names() for rule in RULES
}
every_market = pytest.mark.parametrize("market", MARKETS.values(), ids=MARKETS)
seeds = st.integers(0, 2**32 - 1)


def bids(seed: int, palette: tuple[float, ...] | None, channels: int) -> np.ndarray:
    """Actions (T, B, S), others in every hour, flight and channel."""
    rng, shape = np.random.default_rng(seed), (HOURS, FLIGHTS, channels)
    drawn = rng.choice(palette, shape) if palette else rng.uniform(-1.0, 1.0, shape)
    return drawn.astype(np.float32)


@every_market
@settings(derandomize=True, max_examples=3, deadline=None)
@given(seed=seeds, palette=st.sampled_from(list(PALETTES)))
def test_money_funnel_and_numbers_hold_in_every_hour(market, seed, palette):
    env = AdCampaignVectorEnv(FLIGHTS, market)
    obs, _ = env.reset(seed=seed)
    assert env.observation_space.contains(obs)
    for action in bids(seed, PALETTES[palette], env.landscape.channels):
        obs, reward, *_ = env.step(action)
        assert env.observation_space.contains(obs)  # which no NaN is
        assert np.isfinite(reward).all()
        assert (reward >= 0.0).all()
        assert (View(obs).channel("spend_share") <= env.landscape.spend_cap + 1e-6).all()  # 1 where there is no cap
        books = env.totals()
        assert (books.cost <= books.budget).all()
        assert (books.clicks <= books.impressions).all()
        assert (books.conversions <= books.clicks).all()
    sums = [getattr(books, field.name) for field in fields(books)]
    assert all(np.isfinite(total).all() for total in sums)


@every_market
@settings(derandomize=True, max_examples=1, deadline=None)
@given(seed=seeds, palette=st.sampled_from(list(PALETTES)))
def test_same_seed_same_trajectory(market, seed, palette):
    trajectories = []
    for _ in range(2):
        env = AdCampaignVectorEnv(FLIGHTS, market)
        env.reset(seed=seed)
        actions = bids(seed, PALETTES[palette], env.landscape.channels)
        trajectories.append([env.step(action)[:2] for action in actions])
    for first, second in zip(*trajectories, strict=True):
        np.testing.assert_array_equal(first[0], second[0])
        np.testing.assert_array_equal(first[1], second[1])


def flown(market: Market, seed: int, numbers: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, ...]:
    """(observations (T, B, D), rewards (T, B), sums (K, B)) of the flights with these numbers."""
    env = AdCampaignVectorEnv(len(numbers), market)
    env.reset(seed=seed)
    env._random = KeyedStream(seed, env.landscape, numbers)
    env._hidden = env._random.hidden()
    env._ledger = env._random.ledger(env._hidden.budget)
    steps = [env.step(action)[:2] for action in actions]
    sums = [array for name, array in vars(env.totals()).items() if name not in ("steps", "oracle_revenue")]
    return np.stack([obs for obs, _ in steps]), np.stack([reward for _, reward in steps]), np.stack(sums)


def check(market: Market, seed: int, palette: str, rows: np.ndarray) -> None:
    """Flights `rows` by themselves and in this order are those of the whole batch, bit for bit."""
    actions = bids(seed, PALETTES[palette], market.landscape.channels)
    whole, part = flown(market, seed, np.arange(FLIGHTS), actions), flown(market, seed, rows, actions[:, rows])
    for all_flights, some in zip(whole, part, strict=True):
        np.testing.assert_array_equal(all_flights[:, rows], some)


def check_permuting(market: Market, seed: int, palette: str) -> None:
    check(market, seed, palette, np.random.default_rng(seed).permutation(FLIGHTS))


def check_alone(market: Market, seed: int) -> None:
    for row in range(FLIGHTS):
        check(market, seed, "anything", np.array([row]))


@every_market
@settings(derandomize=True, max_examples=2, deadline=None)
@given(seed=seeds, palette=st.sampled_from(list(PALETTES)))
def test_permuting_the_flights_permutes_the_results(market, seed, palette):
    check_permuting(market, seed, palette)


@every_market
def test_a_flight_is_the_same_alone_and_in_company(market):
    check_alone(market, seed=5)


@pytest.mark.parametrize("book", ["_cost", "_clicks", "log_fatigue", "_recent_spend"])
def test_a_leak_to_the_neighbour_would_be_noticed(book, monkeypatch):
    market, whole = MARKETS["airfrance-search, second_price, hard"], Ledger.book

    def leaking(self, *hour):
        earned = whole(self, *hour)
        array = getattr(self, book)
        setattr(self, book, 0.999 * array + 0.001 * np.roll(array, 1, axis=0))
        return earned

    monkeypatch.setattr(random_streams, "ledger_of", Ledger)
    check_permuting(market, 3, "anything")
    check_alone(market, 3)
    monkeypatch.setattr(Ledger, "book", leaking)
    with pytest.raises(AssertionError, match="Mismatch"):
        check_permuting(market, 3, "anything")
    with pytest.raises(AssertionError, match="Mismatch"):
        check_alone(market, 3)


def test_a_leak_through_the_mean_of_the_batch_would_be_noticed(monkeypatch):
    market, whole = MARKETS["airfrance-search, second_price"], Ledger.book

    def leaking(self, *hour):
        earned = whole(self, *hour)
        self.budget_left = 0.999 * self.budget_left + 0.001 * self.budget_left.mean()
        return earned

    monkeypatch.setattr(random_streams, "ledger_of", Ledger)
    monkeypatch.setattr(Ledger, "book", leaking)
    with pytest.raises(AssertionError, match="Mismatch"):  # permuting alone could not tell
        check_alone(market, 3)
