"""The aggregated hour against every auction drawn by itself, and a planted fault that the comparison catches."""

from dataclasses import replace

import numpy as np
import pytest
from exact_auction import draw_every_auction
from scipy.stats import ks_2samp

from gaelp_ray.market.auction import Hour, Outcome, Purse
from gaelp_ray.market.keyed_auction import draw_keyed
from gaelp_ray.market.prices import Lognormal, Pricing, Table
from gaelp_ray.market.stream import Cells

REPLICATES = 3000
QUANTITIES = ("impressions", "clicks", "cost", "conversions", "revenue")

# Bids from far below to far above the median competing price of 1 (log sd 0.8); rows of 0.5 to 30 clicks an hour.
BIDS = np.exp(0.8 * np.array([-2.0, -1.0, 0.0, 1.0, 3.0]))
EXPECTED_CLICKS = (0.5, 3.0, 30.0)

# Above what two samples of one distribution show here (z 3, sd 10 %, KS 0.045), below every planted fault.
MAX_Z, MAX_SD_DEVIATION, MAX_KS = 4.0, 0.12, 0.07


UNLIMITED = Purse(np.array([np.inf]))


def hour(clicks: float, first_price: bool = False) -> Hour:
    """One flight of five channels with so many clicks if everything were won; one in five clicks converts."""
    cells = np.ones((1, len(BIDS)))
    ctr = 0.1
    return Hour(
        volume=clicks / ctr * cells,
        log_price=0.0 * cells,
        pricing=Pricing(Lognormal(0.8), first_price),
        ctr=ctr * cells,
        conversion_rate=0.2 * cells,
        order_value=np.full(len(BIDS), 50.0),
        order_value_shape=2.1,
    )


def replicated(outcomes: list[Outcome]) -> dict[str, np.ndarray]:
    # Rounded, as an hour leaves a trace of every purse for sums in another order.
    return {name: np.concatenate([getattr(o, name) for o in outcomes]).astype(float).round(9) for name in QUANTITIES}


def keyed(seed: int, state: Hour, purse: Purse) -> Outcome:
    flights, channels = state.volume.shape
    cells = Cells(seed, np.arange(flights)[:, None], np.array(0), np.arange(channels))
    return draw_keyed(cells, state, np.tile(np.log(BIDS), (flights, 1)), purse)


def aggregated(state: Hour, seed: int, purse: Purse = UNLIMITED, replicates: int = REPLICATES) -> dict[str, np.ndarray]:
    many = replace(
        state,
        **{
            n: np.repeat(getattr(state, n), replicates, axis=0)
            for n in ("volume", "log_price", "ctr", "conversion_rate")
        },
    )
    caps = None if purse.channel is None else np.tile(purse.channel, (replicates, 1))
    purses = Purse(np.repeat(purse.flight, replicates), caps)
    return replicated([keyed(seed, many, purses)])


def singly(state: Hour, seed: int, purse: Purse = UNLIMITED, replicates: int = REPLICATES) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return replicated([draw_every_auction(rng, state, BIDS[None], purse) for _ in range(replicates)])


def distances(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """(|z| of the means, |sd ratio - 1|, Kolmogorov-Smirnov distance) of two samples of one cell."""
    error = np.sqrt(a.var() / len(a) + b.var() / len(b))
    z = abs(a.mean() - b.mean()) / error if error else 0.0
    deviation = abs(a.std() / b.std() - 1.0) if b.std() else 0.0
    return z, deviation, float(ks_2samp(a, b, method="asymp").statistic)


def agree(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> dict[str, tuple[float, float, float]]:
    """Quantities and cells whose distance crosses a threshold, with the distances."""
    faults = {}
    for name in QUANTITIES:
        for channel in range(len(BIDS)):
            z, deviation, ks = distances(a[name][:, channel], b[name][:, channel])
            # Rare events have noisy spreads: the tolerance grows with the error of the sd of about 20 events or more.
            events = max(np.count_nonzero(b[name][:, channel]), 1)
            if z > MAX_Z or deviation > MAX_SD_DEVIATION + 6.0 / np.sqrt(2.0 * events) or ks > MAX_KS:
                faults[f"{name}[{channel}]"] = (z, deviation, ks)
    return faults


@pytest.fixture(scope="module")
def exact():
    return {clicks: singly(hour(clicks), seed=1) for clicks in EXPECTED_CLICKS}


@pytest.mark.parametrize("clicks", EXPECTED_CLICKS)
def test_aggregation_is_statistically_free(exact, clicks):
    assert agree(aggregated(hour(clicks), seed=2), exact[clicks]) == {}


def test_paying_the_bid_is_aggregated_exactly_too():
    state = hour(3.0, first_price=True)
    yardstick = singly(state, seed=1)
    assert agree(aggregated(state, seed=2), yardstick) == {}


def test_prices_from_tables_are_aggregated_exactly_too():
    steps = np.linspace(0.0, 0.7, 101)  # three in ten auctions cannot be won
    state = replace(hour(3.0), pricing=Pricing(Table(0.1, np.tile(steps, (len(BIDS), 1)))))
    yardstick = singly(state, seed=1)
    assert agree(aggregated(state, seed=2), yardstick) == {}


# 60 clicks an hour on each channel if everything were won, every second auction is clicked. Costs 170, first price 690.
BUSY = replace(hour(12.0), ctr=0.5 * np.ones((1, len(BIDS))))
STEPS = Table(0.1, np.tile(np.linspace(0.0, 0.7, 101), (len(BIDS), 1)))
CAPS = np.array([[0.05, 2.0, 15.0, 30.0, np.inf]])


def money(amount: float, caps: np.ndarray | None = None) -> Purse:
    return Purse(np.array([amount]), caps)


@pytest.mark.parametrize(
    ("state", "purse"),
    [
        (BUSY, money(4.0)),
        (BUSY, money(40.0)),
        (BUSY, money(120.0)),
        (replace(BUSY, pricing=Pricing(Lognormal(0.8), first_price=True)), money(120.0)),
        (replace(BUSY, pricing=Pricing(STEPS)), money(40.0)),
        (BUSY, money(80.0, CAPS)),
    ],
    ids=["4", "40", "120", "first price", "price table", "caps and budget"],
)
def test_hour_in_which_money_runs_out_agrees_with_single_auctions(state, purse):
    yardstick = singly(state, 1, purse, 1000)
    assert agree(aggregated(state, 2, purse, 5000), yardstick) == {}


def test_the_comparison_is_fair_to_itself(exact):
    assert agree(singly(hour(3.0), seed=5), exact[3.0]) == {}


@pytest.mark.parametrize(
    ("fault", "where"),
    [
        (lambda state: replace(state, log_price=state.log_price + 0.1), "cost"),
        (lambda state: replace(state, ctr=0.9 * state.ctr), "clicks"),
        (lambda state: replace(state, order_value_shape=0.5), "revenue"),
    ],
    ids=["prices 10 % too high", "CTR 10 % too low", "orders spread too wide"],
)
def test_a_planted_fault_in_the_market_is_caught(exact, fault, where):
    assert any(name.startswith(where) for name in agree(aggregated(fault(hour(30.0)), seed=2), exact[30.0]))


def test_charging_the_mean_price_instead_of_drawn_ones_is_caught(exact):
    planted = aggregated(hour(30.0), seed=2)
    _, price = hour(30.0).pricing.clearing(np.log(BIDS), np.zeros(len(BIDS)))
    planted["cost"] = planted["clicks"] * price
    assert any(name.startswith("cost") for name in agree(planted, exact[30.0]))
