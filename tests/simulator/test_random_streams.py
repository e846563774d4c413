"""Flights follow their law, do not depend on their batch, and bidders share random numbers."""

import hashlib

import numpy as np
import pytest
from independent_flights import IndependentEnv
from scipy.stats import ks_2samp
from stepped import Stepped

from gaelp_ray.agents.dual import BayesDual
from gaelp_ray.agents.pacing import PacedBidder
from gaelp_ray.market import Market, load_market
from gaelp_ray.market.market import market_from
from gaelp_ray.records import FlightTotals
from gaelp_ray.sections import DualConfig, PIDConfig
from gaelp_ray.simulator import AdCampaignVectorEnv
from gaelp_ray.training import fly

MARKET = load_market("airfrance-search")
LAND = MARKET.landscape
S = LAND.channels
SUMS = ("impressions", "clicks", "cost", "conversions", "revenue", "budget", "expected_revenue", "oracle_revenue")
HARD = market_from(
    MARKET.model_dump(mode="json", exclude_none=True)
    | {
        "conversion_delay": {"mean_hours": {"value": 5.0, "source": "assumed"}},
        "fatigue": {"half_life": {"value": 2.0, "source": "assumed"}},
        "spend_caps": {"source": "assumed", "shares": {MARKET.channel_names[1]: 0.1}},
    },
    "hard",
)


def flown(env: AdCampaignVectorEnv, hours: int, seed: int = 3, **options) -> tuple[FlightTotals, np.ndarray]:
    """(sums, observations) of bids that follow from the observations, as those of an agent do."""
    obs, _ = env.reset(seed=seed, options=options)
    seen = [obs]
    for _ in range(hours):
        obs = env.step(np.clip(seen[-1][:, :S] - 0.3, -1.0, 1.0).astype(np.float32))[0]
        seen.append(obs)
    return env.totals(), np.stack(seen)


@pytest.mark.parametrize("market", [MARKET, HARD, load_market("ipinyou-display")], ids=["plain", "hard", "tables"])
def test_a_flight_is_the_same_in_every_batch(market):
    size = market.landscape.channels

    def sums(env: AdCampaignVectorEnv, first: int = 0) -> np.ndarray:
        env.reset(seed=11, options={"first_flight": first})
        for t in range(40):
            env.step(np.full((env.num_envs, size), 0.3 * np.sin(t), np.float32))
        totals = env.totals()
        # BLAS multiplies expected revenue in an order that follows from the batch.
        names = ("impressions", "clicks", "cost", "conversions", "revenue", "budget")
        return np.stack([getattr(totals, name) for name in names], axis=1)

    whole = sums(AdCampaignVectorEnv(64, market))
    assert len(np.unique(whole[:, 4])) > 60
    for flights, first in ((1, 0), (1, 63), (7, 20)):
        part = sums(AdCampaignVectorEnv(flights, market), first)
        np.testing.assert_array_equal(part, whole[first : first + flights])
    copies = sums(AdCampaignVectorEnv(12, market, copies=3))
    np.testing.assert_array_equal(copies, np.tile(whole[:4], (3, 1)))


def test_flights_differ_by_seed_and_number():
    totals = [flown(AdCampaignVectorEnv(2, MARKET), 5, seed)[0].clicks.tolist() for seed in (1, 2, 2**64 - 1)]
    assert len({clicks for pair in totals for clicks in pair}) == 6


def test_copies_share_all_luck_until_their_bids_differ():
    env = AdCampaignVectorEnv(6, MARKET, copies=3)
    env.reset(seed=5)
    same = np.zeros((6, S), np.float32)
    other = same.copy()
    other[2:4] += 0.2
    for action in (same, other, same):
        obs = env.step(action)[0]
        np.testing.assert_array_equal(obs[:2], obs[4:])
        assert np.array_equal(obs[:2], obs[2:4]) == (action is same and env._ledger.hour == 1)


def test_an_autoreset_brings_new_flights_that_follow_from_the_seed():
    def two_flights() -> list[float]:
        env = AdCampaignVectorEnv(1, MARKET)
        env.reset(seed=4)
        budgets = [float(env.totals().budget[0])]
        for _ in range(169):
            env.step(np.zeros((1, S), np.float32))
        return [*budgets, float(env.totals().budget[0])]

    first, second = two_flights()
    assert first != second
    assert two_flights() == [first, second]


def test_seeds_of_more_than_64_bits_are_refused():
    with pytest.raises(ValueError, match=r"seed \d+: seeds lie below 2\^64"):
        AdCampaignVectorEnv(1, MARKET).reset(seed=2**64)


def digest_of(market: Market) -> str:
    """Of all observations and rewards of five flights, and of their sums but the optimum's."""
    env = AdCampaignVectorEnv(5, market)
    hashed = hashlib.sha256(env.reset(seed=2**40 + 1)[0].astype("<f4").tobytes())
    for t in range(168):
        obs, reward, *_ = env.step(np.full(env.action_space.shape, ((t * 7) % 11 - 5) / 16.0, np.float32))
        hashed.update(obs.astype("<f4").tobytes() + reward.astype("<f8").tobytes())
    totals = env.totals()
    for name in SUMS[:-1]:
        hashed.update(getattr(totals, name).astype("<f8").tobytes())
    return hashed.hexdigest()[:16]


@pytest.mark.parametrize(
    ("market", "digest"),
    [
        (MARKET, "bb3bb81663489c73"),
        (HARD, "b0dc72ca26260160"),
        (MARKET.variant(auction="first_price"), "76d5595797c4c933"),
        (load_market("ipinyou-display"), "6e38f8e5437bd288"),
    ],
    ids=["plain", "hard", "first price", "tables"],
)
def test_bits_of_flights_are_the_same_on_every_processor(market, digest):
    assert digest_of(market) == digest


FLIGHTS = 512


@pytest.fixture(scope="module")
def totals() -> dict[tuple[str, type], FlightTotals]:
    """By bidder and environment."""
    bidders = {
        "default": BayesDual(DualConfig(), LAND),
        "shaded": BayesDual(DualConfig(shade=0.05), LAND),
        "PID": PacedBidder(PIDConfig(), LAND, False),
    }
    made = {}
    for kind in (AdCampaignVectorEnv, IndependentEnv):
        env = kind(FLIGHTS, MARKET)
        for name, bidder in bidders.items():
            fly(env, Stepped(bidder), ([1], [1]), explore=False)
            made[name, kind] = env.totals()
    return made


@pytest.mark.parametrize("bidder", ["default", "PID"])
def test_flights_follow_the_law_of_independent_ones(totals, bidder):
    both = totals[bidder, AdCampaignVectorEnv], totals[bidder, IndependentEnv]
    columns = {name: tuple(getattr(t, name) for t in both) for name in SUMS}
    columns["optimality"] = tuple(t.expected_revenue / t.oracle_revenue for t in both)
    columns["delivery"] = tuple(t.cost / t.budget for t in both)
    for name, (a, b) in columns.items():
        z = (a.mean() - b.mean()) / np.sqrt((a.var() + b.var()) / FLIGHTS)
        assert abs(z) < 3.5, name
        assert ks_2samp(a, b).pvalue > 1e-3, name


def test_bidders_that_are_compared_share_luck(totals):
    """On a generator they share what is hidden alone: the first draw that differs shifts all later ones."""

    def variance(kind: type) -> float:
        default, shaded = totals["default", kind], totals["shaded", kind]
        return float((shaded.revenue / shaded.budget - default.revenue / default.budget).var())

    assert variance(IndependentEnv) / variance(AdCampaignVectorEnv) > 50.0
