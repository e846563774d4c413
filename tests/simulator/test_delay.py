"""Delayed conversions: how late they are reported, that none is lost, and what a bidder makes of those it has seen."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chisquare, ks_2samp

from gaelp_ray.market import Market, load_market
from gaelp_ray.market.auction import Hour, Outcome, Purse
from gaelp_ray.market.keyed_auction import draw_keyed
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.market.observation import View
from gaelp_ray.market.prices import Lognormal, Pricing
from gaelp_ray.market.stream import Cells
from gaelp_ray.records import FlightTotals
from gaelp_ray.simulator import AdCampaignVectorEnv
from gaelp_ray.simulator.random_streams import KeyedStream

MARKET = load_market("airfrance-search")
LAND = MARKET.landscape
FLIGHTS = 300
PLENTY = Purse(np.array([1e12]))


def an_hour(volume: float, report_rate: float, pending: np.ndarray | int = 0) -> Hour:
    """One flight with one channel, on which nearly everything is won, clicked and bought half of the time."""
    one = np.ones((1, 1))
    pricing = Pricing(Lognormal(0.8))
    return Hour(
        volume * one, 0.0 * one, pricing, 0.9 * one, 0.5 * one, np.array([10.0]), 2.0, pending, report_rate
    )  # fmt: skip


def reported(report_rate: float, hours: int) -> tuple[list[Outcome], int]:
    """Hours of which only the first has any auctions, and how many conversions that hour made."""
    cells, log_bid = Cells(1, np.zeros((1, 1), int), np.array(0), np.arange(1)), np.full((1, 1), np.log(50.0))
    outcomes = [draw_keyed(cells, an_hour(200_000.0, report_rate), log_bid, PLENTY)]
    for t in range(1, hours):
        waiting = an_hour(0.0, report_rate, outcomes[-1].pending)
        outcomes.append(draw_keyed(cells.at(hour=np.array(t)), waiting, log_bid, PLENTY))
    return outcomes, int(outcomes[0].conversions[0, 0] + outcomes[0].pending[0, 0])


@pytest.mark.parametrize("mean_hours", [0.5, 3.0, 24.0])
def test_reports_are_a_geometric_number_of_hours_late(mean_hours):
    rate, hours = 1.0 / (1.0 + mean_hours), 30
    outcomes, made = reported(rate, hours)
    seen = np.array([outcome.conversions[0, 0] for outcome in outcomes])
    late = np.append(seen, outcomes[-1].pending[0, 0])
    expected = np.append(rate * (1.0 - rate) ** np.arange(hours), (1.0 - rate) ** hours) * made
    common = expected > 5.0
    pooled = [np.append(counts[common], counts[~common].sum()) for counts in (late, expected)]
    pooled = [counts if pooled[1][-1] > 0.5 else counts[:-1] for counts in pooled]
    assert chisquare(pooled[0], pooled[1] * pooled[0].sum() / pooled[1].sum()).pvalue > 1e-3
    assert made > 80_000


def test_what_is_not_reported_waits_and_nothing_is_lost():
    outcomes, made = reported(0.25, 20)
    seen = 0
    for outcome in outcomes:
        seen += outcome.conversions[0, 0]
        assert outcome.pending[0, 0] == made - seen >= 0
    assert not any(outcome.clicks.any() for outcome in outcomes[1:])


def test_revenue_comes_with_the_report():
    for outcome in reported(0.25, 10)[0]:
        assert outcome.revenue[0, 0] == pytest.approx(10.0 * outcome.conversions[0, 0], rel=0.05)


class Watched:
    """Flights of one constant bid, with the ledger's pending conversions after each hour."""

    def __init__(self, market: Market, flights: int = FLIGHTS, seed: int = 3) -> None:
        env = AdCampaignVectorEnv(flights, market)
        env.reset(seed=seed)
        self.pending, self.rewards = [], []
        for _ in range(HOURS):
            _, reward, *_ = env.step(np.full((flights, LAND.channels), -0.22, np.float32))
            self.pending.append(np.array(np.broadcast_to(env._ledger.pending, (flights, LAND.channels))))
            self.rewards.append(reward)
        self.totals: FlightTotals = env.totals()


@pytest.fixture(scope="module")
def at_once() -> Watched:
    return Watched(MARKET)


@pytest.fixture(scope="module")
def late() -> Watched:
    return Watched(MARKET.variant(conversion_delay=24.0))


def test_conversions_wait_during_the_flight_and_none_at_its_end(at_once, late):
    assert min(pending.min() for pending in late.pending) >= 0
    assert late.pending[100].sum() > 10 * FLIGHTS
    assert not late.pending[-1].any()
    assert not any(pending.any() for pending in at_once.pending)


@pytest.mark.parametrize("name", ["impressions", "clicks", "cost", "conversions", "revenue", "expected_revenue"])
def test_delay_changes_no_sum_of_a_flight_but_the_values_of_its_orders(at_once, late, name):
    np.testing.assert_array_equal(at_once.totals.budget, late.totals.budget)
    np.testing.assert_array_equal(at_once.totals.oracle_revenue, late.totals.oracle_revenue)
    a, b = getattr(at_once.totals, name), getattr(late.totals, name)
    if name != "revenue":  # order values belong to the hour in which conversions are reported
        np.testing.assert_array_equal(a, b)
    difference = a - b  # on the same luck
    assert abs(difference.mean()) <= 4.0 * difference.std() / np.sqrt(FLIGHTS)
    assert a.std() / b.std() == pytest.approx(1.0, abs=0.08)
    assert ks_2samp(a, b).pvalue > 1e-3


def test_rewards_come_later_and_sum_to_the_same_revenue(at_once, late):
    early = [np.sum(watched.rewards[:24]) for watched in (late, at_once)]
    assert early[0] < 0.6 * early[1]
    np.testing.assert_allclose(np.sum(late.rewards, axis=0), late.totals.revenue / late.totals.budget)


def test_no_delay_is_the_same_flight_bit_for_bit():
    first, second = (Watched(market, 5).totals for market in (MARKET, MARKET.variant(conversion_delay=0.0)))
    for name in ("cost", "conversions", "revenue"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


class Learned:
    """Flights whose true conversion rates are the calibrated ones, booked by a ledger that doubts it."""

    def __init__(self, mean_hours: float, hours: int) -> None:
        flights = 1500
        doubting = replace(LAND, report_rate=1.0 / (1.0 + mean_hours))
        certain = replace(doubting, conversion_rate_log_sd=0.0, conversion_rate_drift=0.0)
        random = KeyedStream(7, certain, np.arange(flights))
        hidden, ledger = random.hidden(), KeyedStream(7, doubting, np.arange(flights)).ledger(np.full(flights, 1e9))
        actions = np.tile(LAND.action(np.log(0.3 * LAND.bid)), (flights, 1))
        self.clicks, self.ripe = (np.zeros((flights, LAND.channels)) for _ in range(2))
        by_hour = []
        for t in range(hours):
            drawn = random.draw(hidden, ledger, actions)
            ledger.book(drawn.outcome, hidden.conversion_rate[t], drawn.bids)
            by_hour.append(drawn.outcome.clicks)
        for age, clicks in enumerate(reversed(by_hour)):
            self.clicks += clicks
            self.ripe += clicks * (1.0 - (1.0 - doubting.report_rate) ** (age + 1))
        self.ratio = np.exp(View(ledger.observe()).channel("log_conversion_rate_ratio"))

    def z(self, counted: np.ndarray) -> float:
        """z of the mean error of posteriors with the conversions seen and so many clicks."""
        prior = LAND.conversion_prior_clicks
        error = (self.ratio * (self.ripe + prior) / (counted + prior) - 1.0).mean(axis=1)
        return float(error.mean() / (error.std() / np.sqrt(len(error))))


@pytest.mark.parametrize(("mean_hours", "hours"), [(24.0, 3), (24.0, 12), (24.0, 48), (6.0, 48)])
def test_posterior_is_unbiased_however_few_conversions_are_reported(mean_hours, hours):
    learned = Learned(mean_hours, hours)
    assert abs(learned.z(learned.ripe)) < 4.0


def test_counting_every_click_would_be_biased():
    learned = Learned(24.0, 12)
    assert learned.z(learned.clicks) < -8.0
