"""Fatigue: what won impressions cost in click-through rate, and that expectations know it."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from gaelp_ray.market import Market, load_market
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.market.market import market_from
from gaelp_ray.market.observation import View
from gaelp_ray.simulator import AdCampaignVectorEnv
from gaelp_ray.simulator.random_streams import KeyedStream

MARKET = load_market("airfrance-search")
TIRING = MARKET.variant(fatigue_half_life=0.5)
LAND = TIRING.landscape
S = LAND.channels


def flown(market: Market, seed: int, actions: np.ndarray) -> tuple[np.ndarray, AdCampaignVectorEnv]:
    """(observations (T + 1, B, D), the environment afterwards)."""
    env = AdCampaignVectorEnv(actions.shape[1], market)
    seen = [env.reset(seed=seed)[0]]
    seen += [env.step(action)[0] for action in actions]
    return np.stack(seen), env


def random_actions(hours: int = HOURS, flights: int = 4) -> np.ndarray:
    return np.random.default_rng(1).uniform(-0.4, 0.4, (hours, flights, S)).astype(np.float32)


def test_log_fatigue_is_shown_and_follows_the_impressions_of_the_channel():
    seen, env = flown(TIRING, 2, random_actions(40))
    shown = np.stack([View(obs).channel("log_fatigue") for obs in seen])
    np.testing.assert_array_equal(shown[0], np.zeros((4, S)))
    assert (np.diff(shown, axis=0) <= 0.0).all()
    won = env._ledger._impressions
    np.testing.assert_allclose(shown[-1], -np.log(2.0) * won / (0.5 * 7.0 * LAND.volume), rtol=1e-5)


def test_a_market_without_fatigue_shows_none():
    seen, _ = flown(MARKET, 2, random_actions())
    assert not View(seen[-1]).channel("log_fatigue").any()


def test_clicks_come_at_the_tired_rate():
    """Half of the clicks of a fresh channel after half a week's auctions, measured."""
    flights = 4000
    random = KeyedStream(3, replace(LAND, ctr_log_sd=0.0, volume_log_sd=0.0), np.arange(flights))
    hidden, ledger = random.hidden(), random.ledger(np.full(flights, 1e12))
    tired, actions = LAND.log_fatigue(0.5 * 7.0 * LAND.volume), np.zeros((flights, S), np.float32)
    fresh = deepcopy(random.draw(hidden, ledger, actions).outcome)
    ledger.log_fatigue = np.tile(tired, (flights, 1))
    late = random.draw(hidden, ledger, actions).outcome
    shown = fresh.impressions.sum(axis=0)
    assert (np.abs(late.impressions.sum(axis=0) - shown) < 4.0 * np.sqrt(shown)).all()
    rates = [outcome.clicks.sum(axis=0) / outcome.impressions.sum(axis=0) for outcome in (fresh, late)]
    error = np.sqrt(1.25 / late.clicks.sum(axis=0))
    assert (np.abs(rates[1] / rates[0] / 0.5 - 1.0) < 4.0 * error).all()


class Counted:
    """Clicks and expected clicks of flights in a market without any departure but chance."""

    def __init__(self, hours: int) -> None:
        flights = 600
        calm = dict.fromkeys(("ctr_log_sd", "volume_log_sd", "hour_log_sd", "day_log_sd"), 0.0)
        land = replace(LAND, **calm)
        random = KeyedStream(5, land, np.arange(flights))
        hidden, ledger = random.hidden(), random.ledger(np.full(flights, 1e9))
        self.naive = np.zeros((flights, S))
        for t in range(hours):
            drawn = random.draw(hidden, ledger, np.zeros((flights, S), np.float32))
            self.naive += land.volume * land.ctr * land.traffic[t] * drawn.outcome.win_rate
            ledger.book(drawn.outcome, hidden.conversion_rate[t], drawn.bids)
        self.clicks, self.expected = ledger._clicks, ledger._expected_clicks
        self.shown = np.expm1(View(ledger.observe()).channel("log_expected_clicks"))


def test_expected_clicks_know_fatigue_so_that_volumes_stay_unbiased():
    counted = Counted(100)
    error = (counted.clicks - counted.expected) / np.sqrt(counted.expected)
    z = error.mean(axis=0) / (error.std(axis=0) / np.sqrt(len(error)))
    assert np.abs(z).max() < 4.0
    np.testing.assert_allclose(counted.shown, counted.expected, rtol=1e-5)


def test_expectations_without_fatigue_would_be_far_too_high():
    counted = Counted(100)
    assert (counted.clicks.sum(axis=0) / counted.naive.sum(axis=0)).max() < 0.85


def test_a_half_life_of_ages_is_no_fatigue():
    given = {"fatigue": {"half_life": {"value": 1e12, "source": "assumed"}}}
    ages = market_from(MARKET.model_dump(mode="json", exclude_none=True) | given, "ages")
    actions = random_actions(60)
    (seen, env), (seen_too, env_too) = (flown(market, 6, actions) for market in (MARKET, ages))
    np.testing.assert_allclose(seen, seen_too, atol=1e-6)
    np.testing.assert_array_equal(env.totals().revenue, env_too.totals().revenue)
    np.testing.assert_allclose(env.totals().oracle_revenue, env_too.totals().oracle_revenue, rtol=1e-6)


@pytest.mark.parametrize("half_life", [0.5, 2.0])
def test_a_tiring_market_earns_less_with_the_same_bids(half_life):
    actions = np.full((HOURS, 32, S), -0.22, np.float32)
    fresh, tired = (flown(m, 7, actions)[1].totals() for m in (MARKET, MARKET.variant(fatigue_half_life=half_life)))
    assert tired.expected_revenue.sum() < 0.97 * fresh.expected_revenue.sum()
    assert (tired.oracle_revenue < fresh.oracle_revenue).all()
