"""The books: safety violations of flights made by hand, and what is left in the purse."""

from dataclasses import replace

import numpy as np
import pytest

from gaelp_ray.market import load_market
from gaelp_ray.market.auction import Outcome
from gaelp_ray.market.landscape import HOURS, SafetyLimits
from gaelp_ray.market.market import market_from
from gaelp_ray.market.observation import View
from gaelp_ray.records import FlightTotals
from gaelp_ray.simulator import AdCampaignVectorEnv
from gaelp_ray.simulator.ledger import Ledger

MARKET = load_market("airfrance-search")
LAND = MARKET.landscape
S = LAND.channels
# Every hour brings as much traffic as any other, so that the even pace is 1 / 168 of the budget per hour.
EVEN = replace(
    LAND, traffic=np.full(HOURS, 7.0 / HOURS), safety=SafetyLimits(10.0 * LAND.bid, 0.8, 0.9, max_pacing_error=0.26)
)
BUDGET = 1680.0


def spent(cost: np.ndarray) -> Outcome:
    """An hour of these costs, (B, S), in which nothing else of interest happened."""
    none = np.zeros(cost.shape, np.int64)
    return Outcome(
        impressions=none,
        clicks=none,
        cost=cost,
        conversions=none,
        revenue=np.zeros_like(cost),
        pending=none,
        win_rate=np.full(cost.shape, 0.5),
        price=LAND.cpc * np.ones_like(cost),
        open=np.ones(cost.shape, bool),
    )


def flown(cost: np.ndarray, bids: np.ndarray | None = None, land=EVEN, budget: float = BUDGET) -> dict[str, np.ndarray]:
    """Sums of flights with these costs, (T, B, S), and bids (the historical ones where not given)."""
    flights = cost.shape[1]
    ledger = Ledger(land, np.full(flights, budget))
    for t, row in enumerate(cost):
        bid = np.tile(LAND.bid, (flights, 1)) if bids is None else bids[t]
        ledger.book(spent(row), np.zeros((flights, S)), bid)
    return ledger.sums()


def paced(*hours: float, channel: int = 0) -> np.ndarray:
    """One flight that spends these amounts on one channel, hour by hour, and nothing after: (168, 1, S)."""
    cost = np.zeros((HOURS, 1, S))
    cost[: len(hours), 0, channel] = hours
    return cost


def test_bids_above_the_cap_are_counted_per_channel_and_hour():
    bids = np.tile(LAND.bid, (HOURS, 3, 1))
    bids[5:15, 0] *= 10.01  # ten hours on all channels
    bids[20:23, 1, 2] *= 50.0  # three hours on one channel
    bids[:, 2] *= 9.99
    assert flown(np.zeros((HOURS, 3, S)), bids)["bids_above_cap"].tolist() == [10 * S, 3, 0]


def test_a_bid_at_the_cap_is_none_above_it():
    bids = np.tile(EVEN.safety.max_bid, (HOURS, 1, 1))
    assert flown(np.zeros((HOURS, 1, S)), bids)["bids_above_cap"].tolist() == [0]


def test_channels_above_their_share_of_the_spend_are_counted_once_per_flight():
    shares = np.array([[0.81, 0.19, 0, 0, 0, 0, 0], [0.8, 0.2, 0, 0, 0, 0, 0], [0] * 7, [1.0, 0, 0, 0, 0, 0, 0]])
    cost = np.zeros((HOURS, 4, S))
    cost[:100] = shares * 16.0  # shares of what was spent, which is less than the budget
    assert flown(cost)["shares_above_cap"].tolist() == [1, 0, 0, 1]
    strict = replace(EVEN, safety=replace(EVEN.safety, max_spend_share=0.15))
    assert flown(cost, land=strict)["shares_above_cap"].tolist() == [2, 2, 0, 1]


def test_flights_short_of_delivery_are_marked():
    cost = np.concatenate([paced(*[10.0 * share] * HOURS) for share in (0.0, 0.89, 0.901, 1.0)], axis=1)
    assert flown(cost)["short_of_delivery"].tolist() == [1, 1, 0, 0]


def test_hours_off_the_pace_are_counted_on_both_sides():
    nothing, at_once, even = paced(), paced(BUDGET), paced(*[10.0] * HOURS)
    counted = flown(np.concatenate([nothing, at_once, even], axis=1))["hours_off_pace"]
    # Nothing: |0 - t/168| > 0.26 from hour 44 on. At once: 1 - t/168 > 0.26 up to hour 124.
    assert counted.tolist() == [HOURS - 43, 124, 0]


def test_pace_is_measured_against_the_traffic_and_not_the_clock():
    busy = np.where(np.arange(HOURS) < 84, 0.9, 0.1)
    land = replace(EVEN, traffic=7.0 * busy / busy.sum())
    by_traffic, by_clock = BUDGET * busy / busy.sum(), np.full(HOURS, 10.0)
    cost = np.concatenate([paced(*by_traffic), paced(*by_clock)], axis=1)
    counted = flown(cost, land=land)["hours_off_pace"]
    # By the clock: 0.9 t / 84 - t / 168 > 0.26 from hour 55 on, and until 0.8 - 0.8 t / 168 falls below it.
    assert counted.tolist() == [0, 113 - 54]


def test_a_flight_that_keeps_everything_has_no_violation():
    cost = np.repeat(paced(*[10.0] * HOURS), 2, axis=1)
    cost[:, 1] = 10.0 / S
    sums = flown(cost)
    kinds = ("bids_above_cap", "shares_above_cap", "short_of_delivery", "hours_off_pace")
    assert [sums[name].tolist() for name in kinds] == [[0, 0], [1, 0], [0, 0], [0, 0]]


def test_metrics_are_violations_per_flight():
    cost = np.concatenate([paced(), paced(BUDGET), paced(*[10.0] * HOURS), paced(*[10.0] * HOURS)], axis=1)
    sums = flown(cost)
    metrics = FlightTotals(steps=HOURS, oracle_revenue=np.ones(4), **sums).pooled()
    assert (metrics.bid_violations, metrics.share_violations) == (0.0, 0.75)
    assert (metrics.delivery_violations, metrics.pacing_violations) == (0.25, (125 + 124) / 4)
    assert metrics.safety_violations == pytest.approx(0.75 + 0.25 + 249 / 4)


def test_sums_are_copies_of_the_books():
    ledger = Ledger(EVEN, np.full(1, BUDGET))
    before = ledger.sums()
    ledger.book(spent(np.full((1, S), 100.0)), np.zeros((1, S)), 99.0 * LAND.bid[None])
    assert not any(before[name].any() for name in before if name not in ("budget", "short_of_delivery"))
    assert ledger.sums()["bids_above_cap"][0] == S


def test_limits_of_a_market_file_are_what_is_counted():
    def given(value: float) -> dict[str, object]:
        return {"value": value, "source": "assumed"}

    safety = {"max_bid_multiplier": given(0.3), "max_spend_share": given(0.01), "min_delivery": given(1.0)}
    strict = market_from(MARKET.model_dump(mode="json", exclude_none=True) | {"safety": safety}, "strict")
    counted = []
    for market in (MARKET, strict):
        env = AdCampaignVectorEnv(4, market)
        env.reset(seed=1)
        for _ in range(HOURS):
            env.step(np.full((4, S), -0.22, np.float32))  # 0.36 of the historical bids
        counted.append(env.totals())
    assert counted[0].bids_above_cap.tolist() == [0] * 4
    assert counted[1].bids_above_cap.tolist() == [HOURS * S] * 4
    assert counted[0].shares_above_cap.sum() == 0
    assert counted[1].shares_above_cap.min() > 1
    assert counted[1].short_of_delivery.tolist() == [1] * 4  # a hair of the budget always stays
    np.testing.assert_array_equal(counted[0].cost, counted[1].cost)


def test_purse_without_caps_knows_the_flight_only():
    purse = Ledger(EVEN, np.array([5.0, 6.0])).purse
    np.testing.assert_array_equal(purse.flight, [5.0, 6.0])
    assert purse.channel is None


def test_purse_holds_what_each_cap_has_left():
    caps = np.array([0.25, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0])
    ledger = Ledger(replace(EVEN, spend_cap=caps), np.array([100.0, 200.0]))
    cost = np.zeros((2, S))
    cost[:, 0], cost[:, 2] = 20.0, 60.0
    ledger.book(spent(cost), np.zeros((2, S)), np.tile(LAND.bid, (2, 1)))
    left = ledger.purse.channel
    assert left is not None
    np.testing.assert_allclose(left[:, :3], [[5.0, 100.0, 0.0], [30.0, 200.0, 40.0]])


def test_without_money_no_clicks_are_expected():
    """A flight that went broke would otherwise look as if its traffic had dried up."""
    ledger = Ledger(EVEN, np.full(2, BUDGET))
    hour = spent(np.zeros((2, S)))
    ledger.book(replace(hour, open=np.array([[True], [False]])), np.zeros((2, S)), np.tile(LAND.bid, (2, 1)))
    obs = ledger.observe()
    expected = View(obs).channel("log_expected_clicks")
    np.testing.assert_allclose(np.expm1(expected[0]), 0.5 * LAND.volume * LAND.ctr * 7.0 / HOURS, rtol=1e-5)
    assert not expected[1].any()
