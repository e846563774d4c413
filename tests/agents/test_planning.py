"""spend_all() against a library's root finder, and what it does where there is no root."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import ndtr

from gaelp_ray.agents.planning import LOG_MULTIPLIER_RANGE, Outlook, calibrated_multiplier, spend_all
from gaelp_ray.market import load_market
from gaelp_ray.market.prices import Lognormal, Pricing

LAND = load_market("airfrance-search").landscape
FLIGHTS, CHANNELS = 60, 5


def spend(outlook: Outlook, row: int, log_multiplier: float) -> float:
    """Expected spend of one flight when it bids value / lambda."""
    log_sd = outlook.pricing.shape.log_sd
    z = (outlook.log_value[row] - log_multiplier - outlook.log_price[row]) / log_sd - log_sd
    mean_price = np.exp(outlook.log_price[row] + log_sd**2 / 2.0)
    return float((outlook.clicks[row] * mean_price * ndtr(z)).sum())


def random_outlook(seed: int, log_sd: float = 0.8, channels: int = CHANNELS) -> Outlook:
    """Outlooks whose budgets buy between 1 % and 90 % of the whole market."""
    rng = np.random.default_rng(seed)
    shape = (FLIGHTS, channels)
    log_value, log_price = rng.normal(1.0, 1.0, shape), rng.normal(0.0, 0.5, shape)
    outlook = Outlook(
        log_value, np.exp(rng.normal(3.0, 1.5, shape)), log_price, Pricing(Lognormal(log_sd)), np.ones(FLIGHTS)
    )
    whole = np.array([spend(outlook, row, -60.0) for row in range(FLIGHTS)])
    return replace(outlook, budget=whole * rng.uniform(0.01, 0.9, FLIGHTS))


def root(outlook: Outlook, row: int) -> float:
    return brentq(lambda x: spend(outlook, row, x) - outlook.budget[row], *LOG_MULTIPLIER_RANGE, xtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_solution_is_the_root_that_brentq_finds(seed):
    outlook = random_outlook(seed)
    solved = spend_all(outlook, np.zeros(FLIGHTS), steps=15)
    np.testing.assert_allclose(solved, [root(outlook, row) for row in range(FLIGHTS)], atol=1e-6)


@pytest.mark.parametrize("start", [-7.0, -3.0, 5.0, 9.0])
def test_solution_does_not_depend_on_the_first_guess(start):
    outlook = random_outlook(7)
    solved = spend_all(outlook, np.full(FLIGHTS, start), steps=25)
    np.testing.assert_allclose(solved, spend_all(outlook, np.zeros(FLIGHTS), steps=25), atol=1e-9)


@pytest.mark.parametrize("log_sd", [0.2, 0.8, 1.5])
def test_concave_spend_is_approached_from_above_after_one_step(log_sd):
    # With one channel, log spend is concave and falls: a tangent never crosses it before the root.
    outlook = random_outlook(8, log_sd, channels=1)
    x = spend_all(outlook, np.zeros(FLIGHTS), steps=12)
    for _ in range(12):
        following = spend_all(outlook, x, steps=1)
        assert (following <= x + 1e-9).all()
        x = following
    np.testing.assert_allclose(x, [root(outlook, row) for row in range(FLIGHTS)], atol=1e-6)


def test_one_hours_four_steps_follow_a_small_change():
    outlook = random_outlook(9)
    before = spend_all(outlook, np.zeros(FLIGHTS), steps=25)
    changed = replace(outlook, budget=outlook.budget * 0.8)
    np.testing.assert_allclose(spend_all(changed, before, steps=4), spend_all(changed, before, steps=25), atol=1e-4)


def test_bids_at_the_solution_cost_the_budget_in_the_auction():
    outlook = random_outlook(10)
    solved = spend_all(outlook, np.zeros(FLIGHTS), steps=20)
    win, price = outlook.pricing.clearing(outlook.log_value - solved[:, None], outlook.log_price)
    np.testing.assert_allclose((outlook.clicks * win * price).sum(axis=1), outlook.budget, rtol=1e-6)


def test_market_cheaper_than_the_budget_ends_at_the_highest_bids():
    outlook = random_outlook(11)
    rich = replace(outlook, budget=np.full(FLIGHTS, 1e12))
    np.testing.assert_array_equal(spend_all(rich, np.zeros(FLIGHTS), steps=20), LOG_MULTIPLIER_RANGE[0])


def test_nothing_left_ends_with_bids_that_spend_almost_nothing():
    outlook = replace(random_outlook(12), budget=np.zeros(FLIGHTS))
    solved = spend_all(outlook, np.zeros(FLIGHTS), steps=20)
    assert np.isfinite(solved).all()
    assert max(spend(outlook, row, solved[row]) for row in range(FLIGHTS)) < 1e-3


def test_more_budget_bids_more():
    outlook = random_outlook(13)
    poor, rich = (
        spend_all(replace(outlook, budget=outlook.budget * factor), np.zeros(FLIGHTS), 20) for factor in (0.5, 1.0)
    )
    assert (rich < poor).all()


def test_first_guess_is_not_changed():
    start = np.zeros(FLIGHTS)
    spend_all(random_outlook(14), start, steps=3)
    np.testing.assert_array_equal(start, np.zeros(FLIGHTS))


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_calibrated_multiplier_spends_the_budget_in_the_calibrated_market(share):
    budget = np.array([1000.0, 4000.0, 9000.0])
    log_multiplier = calibrated_multiplier(LAND, budget, share)
    win, price = LAND.pricing.clearing(np.log(LAND.value) - log_multiplier[:, None], LAND.log_price)
    week = 7.0 * share * LAND.volume * LAND.ctr
    np.testing.assert_allclose((week * win * price).sum(axis=1), budget, rtol=1e-6)


def test_calibrated_multiplier_takes_a_share_per_flight():
    budget = np.array([12000.0, 12000.0])
    both = calibrated_multiplier(LAND, budget, np.array([1.0, 0.3]))
    alone = [calibrated_multiplier(LAND, budget[:1], share)[0] for share in (1.0, 0.3)]
    np.testing.assert_allclose(both, alone)


@pytest.mark.parametrize("start", [-7.0, -1.0, 0.0, 9.0])
def test_channels_far_apart_do_not_make_newton_cycle(start):
    # One big cheap channel and one small dear one: log spend is not concave, and plain Newton jumps for ever.
    far = Outlook(
        np.array([[0.0, 6.0]]), np.array([[1e6, 1.0]]), np.zeros((1, 2)), Pricing(Lognormal(0.1)), np.array([1e3])
    )
    solved = spend_all(far, np.array([start]), steps=60)
    assert spend(far, 0, float(solved[0])) == pytest.approx(1e3, rel=1e-6)
