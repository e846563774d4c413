"""The hour on keyed random numbers: its law against independent hours and single prices, and cells by themselves."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from independent_auction import draw
from scipy.stats import chisquare, ks_2samp

from gaelp_ray.market import keyed_auction, load_market
from gaelp_ray.market.auction import Hour, Outcome, Purse
from gaelp_ray.market.keyed_auction import LOG_RISK, SINGLY, Clearing, draw_keyed
from gaelp_ray.market.prices import Lognormal, Pricing, Table
from gaelp_ray.market.stream import Cells, Purpose

QUANTITIES = ("impressions", "clicks", "cost", "conversions", "revenue", "pending")
LOG_BIDS = 0.8 * np.array([-2.5, -1.0, 0.0, 1.0, 3.0])
S = len(LOG_BIDS)
SECOND, FIRST = (Pricing(Lognormal(0.8), first) for first in (False, True))
STEPS = Pricing(Table(0.1, np.tile(np.linspace(0.0, 0.7, 101), (S, 1))))  # three in ten auctions cannot be won
SPREADS = Pricing(Lognormal(np.array([0.3, 0.5, 0.8, 1.0, 1.3]), S))
PRICINGS = {"second price": SECOND, "first price": FIRST, "table": STEPS, "spreads": SPREADS}


def an_hour(flights: int, clicks: float, pricing: Pricing = SECOND, **others) -> Hour:
    """Five channels with so many clicks if everything were won."""
    cells = np.ones((flights, S))
    return Hour(
        10.0 * clicks * cells, 0.1 * cells, pricing, 0.1 * cells, 0.2 * cells, np.arange(1.0, 6.0), 2.1, **others
    )


def keyed(state: Hour, purse: Purse, seed: int = 7, log_bids: np.ndarray = LOG_BIDS) -> Outcome:
    flights = len(state.volume)
    cells = Cells(seed, np.arange(flights)[:, None], np.array(3), np.arange(S))
    return draw_keyed(cells, state, np.tile(log_bids, (flights, 1)), purse)


def independent(state: Hour, purse: Purse, seed: int = 7) -> Outcome:
    return draw(np.random.default_rng(seed), state, np.exp(np.tile(LOG_BIDS, (len(state.volume), 1))), purse)


def unlimited(flights: int) -> Purse:
    return Purse(np.full(flights, np.inf))


def z_of_means_and_variances(a: np.ndarray, b: np.ndarray) -> float:
    """The largest |z| of the differences of means and of variances, over channels."""
    a, b = (np.asarray(x, np.float64) for x in (a, b))
    mean = a.mean(axis=0) - b.mean(axis=0)
    mean_error = np.sqrt((a.var(axis=0) + b.var(axis=0)) / len(a))
    spread = a.var(axis=0) - b.var(axis=0)
    fourth = sum(((x - x.mean(axis=0)) ** 4).mean(axis=0) - x.var(axis=0) ** 2 for x in (a, b))
    spread_error = np.sqrt(fourth / len(a))
    pairs = ((mean, mean_error), (spread, spread_error))
    return max(float(np.abs(np.divide(d, e, out=np.zeros_like(d), where=e > 0.0)).max()) for d, e in pairs)


DRAWS = 10_000


@pytest.mark.parametrize(
    ("clicks", "pricing"), [(0.5, "second price"), (5.0, "spreads"), (60.0, "table"), (20.0, "first price")]
)
def test_keyed_hours_follow_the_law_of_independent_ones(clicks, pricing):
    state, purse = an_hour(DRAWS, clicks, PRICINGS[pricing]), unlimited(DRAWS)
    ours, theirs = keyed(state, purse), independent(state, purse)
    for name in QUANTITIES:
        a, b = getattr(ours, name).round(9), getattr(theirs, name).round(9)
        assert z_of_means_and_variances(a, b) < 4.0, name
        assert min(ks_2samp(a[:, s], b[:, s], method="asymp").pvalue for s in range(S)) > 1e-3, name


@pytest.mark.parametrize("share", [0.1, 0.8])
@pytest.mark.parametrize("caps", [None, np.array([0.5, 2.0, 0.3, 0.9, 1.5])], ids=["budget", "budget and caps"])
def test_hours_in_which_money_runs_out_follow_the_law_of_independent_ones(share, caps):
    state = an_hour(DRAWS, 6.0)
    mean_cost = independent(state, unlimited(DRAWS)).cost.mean(axis=0)
    limits = None if caps is None else np.tile(caps * mean_cost, (DRAWS, 1))
    purse = Purse(np.full(DRAWS, share * mean_cost.sum()), limits)
    ours, theirs = keyed(state, purse), independent(state, purse)
    for name in QUANTITIES:
        assert z_of_means_and_variances(getattr(ours, name), getattr(theirs, name)) < 4.0, name


def clearing_of(pricing: Pricing) -> Clearing:
    return Clearing.at(an_hour(1, 1.0, pricing), LOG_BIDS[None])


def repeated(prices: Clearing, count: int) -> Clearing:
    arrays = ("scale", "bid", "win", "mean", "variance", "skewness")
    return replace(prices, **{name: np.repeat(getattr(prices, name), count, axis=0) for name in arrays})


@pytest.mark.parametrize("pricing", ["second price", "table"])
@pytest.mark.parametrize(("clicks", "most"), [(4, 0.025), (12, 0.014)])
def test_cost_of_many_clicks_is_distributed_as_the_sum_of_single_prices(pricing, clicks, most):
    count, rng, prices = 40_000, np.random.default_rng(1), clearing_of(PRICINGS[pricing])
    many, cell = repeated(prices, count), np.tile(np.arange(S), count)
    cells = Cells(2, np.arange(count)[:, None], np.array(0), np.arange(S))
    cost = keyed_auction._charge(cells, np.full((count, S), float(clicks)), many, rng.random((count, S)))
    exact = sum(prices.single(rng.random(cell.size), cell, cell) for _ in range(clicks)).reshape(count, S)
    assert z_of_means_and_variances(cost, exact) < 4.0
    assert max(ks_2samp(cost[:, s], exact[:, s], method="asymp").statistic for s in range(S)) < most
    assert (cost <= clicks * prices.bid * (1.0 + 1e-12)).all()


@pytest.mark.parametrize("pricing", PRICINGS)
def test_cost_of_few_clicks_is_the_sum_of_their_prices(pricing):
    prices = clearing_of(PRICINGS[pricing])
    cells = Cells(2, np.array([[4]]), np.array(9), np.arange(S))
    for clicks in range(SINGLY + 1):
        cost = keyed_auction._charge(cells, np.full((1, S), float(clicks)), prices, np.full((1, S), 0.3))
        single = np.zeros(S)
        for number in range(clicks):
            single += prices.single(cells.uniforms(Purpose.CLICK, number)[0][0], np.arange(S), np.arange(S))
        np.testing.assert_allclose(cost[0], single, rtol=1e-15)


@pytest.mark.parametrize("pricing", PRICINGS)
def test_clearing_agrees_with_that_of_the_pricing(pricing):
    pricing = PRICINGS[pricing]
    location = np.full((1, S), 0.1)
    ours, (win, mean) = clearing_of(pricing), pricing.clearing(LOG_BIDS[None], location)
    np.testing.assert_allclose(ours.win, win, rtol=1e-13)
    np.testing.assert_allclose(ours.mean, mean, rtol=1e-13)
    np.testing.assert_allclose(ours.variance, pricing.variance(LOG_BIDS[None], location, win, mean), rtol=1e-10)
    chance, channel = np.linspace(0.01, 0.99, S), np.arange(S)
    expected = np.exp(pricing.shape.quantile(chance * win[0]))
    np.testing.assert_allclose(pricing.shape.price(chance * win[0], channel), expected, rtol=1e-12)


@pytest.mark.parametrize("pricing", ["second price", "table", "spreads"])
def test_skewness_is_that_of_single_prices(pricing):
    prices, cell = clearing_of(PRICINGS[pricing]), np.tile(np.arange(S), 100_000)
    single = prices.single(np.random.default_rng(3).random(cell.size), cell, cell).reshape(-1, S)
    centred = single - single.mean(axis=0)
    measured = (centred**3).mean(axis=0) / (centred**2).mean(axis=0) ** 1.5
    mild = prices.skewness[0] < 3.0  # where large prices do not decide the third moment of a sample
    assert mild.sum() >= 4
    np.testing.assert_allclose(prices.skewness[0][mild], measured[mild], atol=0.06)


def test_bids_that_never_win_have_finite_prices():
    for pricing in PRICINGS.values():
        prices = Clearing.at(an_hour(1, 1.0, pricing), np.full((1, S), -30.0))
        assert all(np.isfinite(getattr(prices, name)).all() for name in ("mean", "variance", "skewness"))
        np.testing.assert_array_equal(prices.mean, prices.bid)
        assert not keyed(an_hour(1, 50.0, pricing), unlimited(1), log_bids=np.full(S, -30.0)).clicks.any()


@pytest.mark.parametrize("mean_hours", [0.5, 3.0])
def test_reports_are_a_geometric_number_of_hours_late(mean_hours):
    rate, hours, pending, seen = 1.0 / (1.0 + mean_hours), 20, 0, []
    for t in range(hours):
        state = replace(an_hour(400, 300.0 if t == 0 else 0.0), report_rate=rate, pending=pending)
        cells = Cells(1, np.arange(400)[:, None], np.array(t), np.arange(S))
        outcome = draw_keyed(cells, state, np.tile(LOG_BIDS, (400, 1)), unlimited(400))
        seen.append(outcome.conversions.sum())
        pending = outcome.pending
    counts = np.append(np.array(seen), pending.sum())
    expected = np.append(rate * (1.0 - rate) ** np.arange(hours), (1.0 - rate) ** hours) * counts.sum()
    common = expected > 5.0
    pooled = [np.append(n[common], n[~common].sum()) for n in (counts, expected)]
    pooled = [n if pooled[1][-1] > 0.5 else n[:-1] for n in pooled]
    assert chisquare(pooled[0], pooled[1] * pooled[0].sum() / pooled[1].sum()).pvalue > 1e-3


def mixed(flights: int) -> tuple[Hour, Purse]:
    """Flights with plenty of money, with some and with none; with caps, conversions that wait, and late reports."""
    rng = np.random.default_rng(5)
    state = an_hour(flights, 8.0, report_rate=0.4, pending=rng.integers(0, 5, (flights, S)))
    state = replace(
        state, volume=state.volume * rng.gamma(2.0, 1.0, (flights, S)), log_price=rng.normal(0.0, 0.3, (flights, S))
    )
    money = rng.choice([0.0, 3.0, 15.0, 1e9], flights)
    return state, Purse(money, np.where(rng.random((flights, S)) < 0.2, 2.0, 1e9))


@pytest.mark.parametrize("pricing", PRICINGS)
def test_a_flight_does_not_depend_on_the_others(pricing):
    flights = 60
    state, purse = mixed(flights)
    state = replace(state, pricing=PRICINGS[pricing])
    arrays = ("volume", "log_price", "ctr", "conversion_rate", "pending")

    def drawn(index: np.ndarray) -> Outcome:
        some = replace(state, **{name: getattr(state, name)[index] for name in arrays})
        cells = Cells(6, index[:, None], np.array(100), np.arange(S))
        return draw_keyed(cells, some, np.tile(LOG_BIDS, (len(index), 1)), purse.of(index))

    whole = drawn(np.arange(flights))
    assert ((whole.cost > 0.0).any(axis=1) & (whole.cost.sum(axis=1) > 0.999 * purse.flight)).any()
    for index in (np.arange(flights)[::-1], np.array([31]), np.arange(0, flights, 7)):
        part = drawn(index)
        for name in (*QUANTITIES, "win_rate", "price"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[index])


def test_a_slightly_higher_bid_changes_little():
    """Common random numbers: another bid, the same luck."""
    state, purse = an_hour(4000, 20.0), unlimited(4000)
    base, higher, other = (
        keyed(state, purse),
        keyed(state, purse, log_bids=LOG_BIDS + 0.01),
        keyed(state, purse, seed=8),
    )
    for name in ("clicks", "cost", "revenue"):
        near, far = (getattr(out, name) - getattr(base, name) for out in (higher, other))
        assert (near.var(axis=0) < 0.1 * far.var(axis=0)).all(), name


money = st.one_of(st.just(0.0), st.floats(0.0, 1e-300), st.floats(0.0, 10.0), st.floats(0.0, 1e4), st.just(np.inf))


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**64 - 1),
    flight=money,
    caps=st.lists(money, min_size=S, max_size=S),
    pricing=st.sampled_from(sorted(PRICINGS)),
    volume=st.floats(0.0, 500.0),
)
def test_nothing_is_ever_billed_above_the_purse(seed, flight, caps, pricing, volume):
    purse = Purse(np.full(3, flight), np.tile(caps, (3, 1)))
    hour = keyed(an_hour(3, volume / 10.0, PRICINGS[pricing]), purse, seed)
    assert (hour.cost <= purse.channel).all()
    assert (hour.cost.sum(axis=1) <= purse.flight).all()
    assert ((hour.cost > 0.0) == (hour.clicks > 0)).all()
    assert (hour.clicks <= hour.impressions).all()
    assert (hour.conversions <= hour.clicks).all()
    assert ((hour.revenue > 0.0) == (hour.conversions > 0)).all()


def test_an_hour_that_cannot_empty_the_purse_is_drawn_as_with_unlimited_money():
    state = an_hour(300, 20.0)
    free = keyed(state, unlimited(300))
    enough = keyed(state, Purse(np.full(300, 5.0 * free.cost.sum(axis=1).max())))
    for name in QUANTITIES:
        np.testing.assert_array_equal(getattr(enough, name), getattr(free, name))


@pytest.mark.parametrize("block", [1, 300])
def test_blocks_of_flights_out_of_money_change_nothing(monkeypatch, block):
    state, purse = mixed(60)
    whole = keyed(state, purse)
    sizes, resolve = [], keyed_auction._resolve
    monkeypatch.setattr(keyed_auction, "BLOCK", block)
    monkeypatch.setattr(
        keyed_auction,
        "_resolve",
        lambda cells, flights, *rest: sizes.append(len(flights)) or resolve(cells, flights, *rest),
    )
    for name in QUANTITIES:
        np.testing.assert_array_equal(getattr(keyed(state, purse), name), getattr(whole, name))
    assert len(sizes) > 4


@pytest.mark.parametrize("clicks", [1, 4, 100])
@pytest.mark.parametrize("bid", [0.3, 1.0, 20.0])
def test_upper_bound_of_a_cost_holds_and_is_below_the_bids(monkeypatch, clicks, bid):
    assert np.isclose(LOG_RISK, np.log(1e-6), rtol=1e-15)
    monkeypatch.setattr(keyed_auction, "LOG_RISK", np.log(0.01))
    prices = Clearing.at(an_hour(1, 1.0), np.full((1, S), np.log(bid)))
    cell = np.zeros(3000 * clicks, np.intp)
    cost = prices.single(np.random.default_rng(1).random(cell.size), cell, cell).reshape(-1, clicks).sum(axis=1)
    bound = keyed_auction._upper_bound(clicks * prices.mean, clicks * prices.variance, prices.bid - prices.mean)[0, 0]
    assert (cost > bound).mean() <= 0.01
    assert clicks < 100 or bound < 0.97 * clicks * bid


def test_shipped_tables_have_their_third_moment():
    land = load_market("ipinyou-display").landscape
    shape, x = land.pricing.shape, np.log(land.bid) - land.log_price
    chance = (np.arange(200_000) + 0.5) / 200_000
    for s in range(land.channels):
        drawn = shape.price(chance * float(shape.win(x)[s]), np.full(chance.size, s))
        np.testing.assert_allclose(shape.moments(x).cube[s], (drawn**3).mean() * shape.win(x)[s], rtol=1e-4)
