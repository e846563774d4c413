"""Properties of every flight: the money, the funnel, finite numbers, repetition, and flights that do not touch.

All shipped markets, under both auction rules, plain and with everything that a market file can switch on.
"""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaelp_ray.market import Market, load_market
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.market.market import market_from, market_names
from gaelp_ray.market.observation import View
from gaelp_ray.simulator import AdCampaignVectorEnv
from gaelp_ray.simulator.hidden import Hidden, draw_hidden
from gaelp_ray.simulator.ledger import Ledger

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


class RowByRow:
    """Chance with a generator for each flight, so that it can be permuted with the flights.

    What is drawn for some of the flights does not say which: order values and the auctions of a served share are their
    means, and single clicks run through the same sequence in every flight.
    """

    def __init__(self, flights: np.ndarray) -> None:
        self._generators = [np.random.default_rng(int(flight)) for flight in flights]

    def _draw(self, law: str, *parameters: np.ndarray) -> np.ndarray:
        rows = zip(self._generators, *np.broadcast_arrays(*parameters), strict=True)
        return np.stack([getattr(generator, law)(*row) for generator, *row in rows])

    def poisson(self, mean: np.ndarray) -> np.ndarray:
        return self._draw("poisson", mean)

    def binomial(self, trials: np.ndarray, chance: np.ndarray) -> np.ndarray:
        if len(trials) != len(self._generators):
            return np.rint(trials * chance).astype(np.int64)
        return self._draw("binomial", trials, chance)

    def beta(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return self._draw("beta", a, b)

    def gamma(self, shape: np.ndarray, scale: np.ndarray) -> np.ndarray:
        return shape * scale

    def random(self, shape: tuple[int, int]) -> np.ndarray:
        return np.broadcast_to(np.arange(1, shape[1] + 1) * 0.6180339887 % 1.0, shape)


class NoChance(RowByRow):
    """Every draw is its mean: a flight is then the same in whatever company."""

    def __init__(self) -> None:
        super().__init__(np.arange(0))

    def _draw(self, law: str, *parameters: np.ndarray) -> np.ndarray:
        first, *rest = np.broadcast_arrays(*parameters)
        if law == "beta":
            return first / (first + rest[0])
        return np.rint(first * rest[0] if rest else first).astype(np.int64)


def some_of(hidden: Hidden, rows: np.ndarray) -> Hidden:
    """The truth of these flights in this order."""
    axes = {f.name: int(len(getattr(hidden, f.name)) == HOURS) for f in fields(hidden) if f.name != "landscape"}
    return replace(hidden, **{name: np.take(getattr(hidden, name), rows, axis) for name, axis in axes.items()})


def flown(hidden: Hidden, market: Market, actions: np.ndarray, chance: RowByRow) -> tuple[np.ndarray, ...]:
    """(observations (T, B, D), rewards (T, B), sums (K, B)) of flights with this truth and this chance.

    On stream 1, whose generator can be replaced; test_random_streams.py tests that flights of stream 2 are independent.
    """
    env = AdCampaignVectorEnv(actions.shape[1], market, stream=1)
    env.reset(seed=0)
    env._hidden, env._ledger = hidden, Ledger(env.landscape, hidden.budget)
    env._random = replace(env._random, rng=chance)
    steps = [env.step(action)[:2] for action in actions]
    sums = [array for name, array in vars(env.totals()).items() if name != "steps"]
    return np.stack([obs for obs, _ in steps]), np.stack([reward for _, reward in steps]), np.stack(sums)


def assert_same_rows(whole: tuple[np.ndarray, ...], part: tuple[np.ndarray, ...], rows: np.ndarray) -> None:
    """Flights `rows` of the whole are the flights of the part, up to the rounding of sums of other lengths."""
    (obs, rewards, sums), (some_obs, some_rewards, some_sums) = whole, part
    np.testing.assert_allclose(obs[:, rows], some_obs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rewards[:, rows], some_rewards, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(sums[:, rows], some_sums, rtol=1e-6, atol=1e-9)


def check_permuting(market: Market, seed: int, palette: str) -> None:
    order = np.random.default_rng(seed).permutation(FLIGHTS)
    hidden = draw_hidden(np.random.default_rng(seed), market.landscape, FLIGHTS)
    actions = bids(seed, PALETTES[palette], market.landscape.channels)
    whole = flown(hidden, market, actions, RowByRow(np.arange(FLIGHTS)))
    permuted = flown(some_of(hidden, order), market, actions[:, order], RowByRow(order))
    assert_same_rows(whole, permuted, order)


def check_alone(market: Market, seed: int) -> None:
    hidden = draw_hidden(np.random.default_rng(seed), market.landscape, FLIGHTS)
    actions = bids(seed, PALETTES["anything"], market.landscape.channels)
    together = flown(hidden, market, actions, NoChance())
    for row in np.arange(FLIGHTS)[:, None]:
        assert_same_rows(together, flown(some_of(hidden, row), market, actions[:, row], NoChance()), row)


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

    monkeypatch.setattr(Ledger, "book", leaking)
    with pytest.raises(AssertionError, match="Mismatch"):  # permuting alone could not tell
        check_alone(market, 3)
