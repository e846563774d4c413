"""The rest of a flight in blocks: price levels recovered and forecast, clicks and spend against single hours."""

from dataclasses import replace

import numpy as np
import pytest

from gaelp_ray.agents.horizon import Blocks, Horizon, PriceLevel, level_variance
from gaelp_ray.market import Market, load_market
from gaelp_ray.market.landscape import HOURS, Landscape
from gaelp_ray.market.observation import GLOBAL, PER_CHANNEL, View, pack
from gaelp_ray.simulator import AdCampaignVectorEnv

AIRFRANCE = load_market("airfrance-search")
TABLES = load_market("ipinyou-display")
MARKETS = {
    "lognormal": AIRFRANCE,
    "lognormal, first price": AIRFRANCE.variant(auction="first_price"),
    "tables": TABLES,
    "tables, first price": TABLES.variant(auction="first_price"),
}
every_pricing = pytest.mark.parametrize("market", MARKETS.values(), ids=MARKETS)
BY_CHANNEL = replace(
    AIRFRANCE.landscape,
    pricing=replace(
        AIRFRANCE.landscape.pricing,
        shape=replace(AIRFRANCE.landscape.pricing.shape, log_sd=np.linspace(0.4, 1.2, 7), channels=7),
    ),
)


def known_level(market: Landscape, level: np.ndarray) -> PriceLevel:
    """A price level (B, S) that was seen in the last hour."""
    prices = PriceLevel(market, len(level))
    prices._level = level
    return prices


def horizon(market: Landscape, t: int, level: np.ndarray, todays: float = 1.0) -> Horizon:
    """What lies ahead at calibrated volumes and values, with today's traffic times `todays`."""
    blocks, usual = Blocks.ahead(market, t), np.broadcast_to(market.volume * market.ctr, level.shape)
    return Horizon(
        log_value=np.broadcast_to(np.log(market.value), level.shape),
        clicks=blocks.clicks(todays * usual, usual),
        log_price=blocks.log_price(known_level(market, level)),
        pricing=blocks.pricing,
        budget=np.full(len(level), market.budget),
    )


@every_pricing
def test_the_level_of_the_last_hour_is_recovered_from_the_observation(market: Market):
    land, env = market.landscape, AdCampaignVectorEnv(4, market)
    env.reset(seed=3)
    prices, rng = PriceLevel(land, 4), np.random.default_rng(0)
    for t in range(1, 30):
        bids = rng.uniform(-0.4, 0.0, (4, land.channels)).astype(np.float32)
        obs, *_ = env.step(bids)
        prices.update(View(obs), t)
        variance = land.price_log_sd**2 * (1.0 - land.price_autocorrelation ** (2.0 * t))
        hidden = env._hidden.log_price[t - 1] - land.log_price + variance / 2.0
        # A bid above all prices of a table wins the same whatever their level is.
        seen = View(obs).channel("win_rate") < 0.95 * land.pricing.shape.win(np.full(land.channels, 50.0))
        assert seen.mean() > 0.5
        np.testing.assert_allclose(prices._level[seen], hidden[seen], atol=1e-3)


def test_a_level_that_is_not_seen_decays():
    land = AIRFRANCE.landscape
    prices = known_level(land, np.full((2, 7), 0.5))
    nothing_won = pack({name: np.zeros((2, 7)) for name in PER_CHANNEL}, {name: np.full(2, 0.5) for name in GLOBAL})
    prices.update(View(nothing_won), 1)
    np.testing.assert_allclose(prices._level, 0.5 * land.price_autocorrelation)


@pytest.mark.parametrize("t", [0, 30, 160, 167])
def test_clicks_ahead_are_todays_and_those_of_later_days(t):
    land, level = AIRFRANCE.landscape, np.zeros((2, 7))
    midnight = (t // 24 + 1) * 24
    traffic = 3.0 * land.traffic[t:midnight].sum() + land.traffic[midnight:].sum()
    ahead = horizon(land, t, level, todays=3.0).clicks.sum(axis=0)
    np.testing.assert_allclose(ahead, np.tile(land.volume * land.ctr * traffic, (2, 1)))


def hourly(market: Landscape, t: int, level: np.ndarray, log_multiplier: np.ndarray) -> np.ndarray:
    """Expected spend (B, S) of the hours from t on, averaged over 4,000 levels of each hour."""
    draws = np.random.default_rng(1).standard_normal((2000, 1, 1))
    draws = np.concatenate([draws, -draws])
    spend = np.zeros_like(level)
    for hour in range(t, HOURS):
        ahead = hour - t + 1
        sd = np.sqrt(level_variance(market, np.array(float(ahead))))
        mean_one = level_variance(market, np.array(hour + 1.0)) / 2.0
        location = market.log_price + market.price_autocorrelation**ahead * level + sd * draws - mean_one
        payment = market.pricing.payment(np.log(market.value) - log_multiplier[:, None] - location)
        spend += market.volume * market.ctr * market.traffic[hour] * (np.exp(location) * payment).mean(axis=0)
    return spend


@pytest.mark.parametrize("t", [0, 100, 164])
@pytest.mark.parametrize("land", [MARKETS["lognormal"].landscape, BY_CHANNEL], ids=["one sd", "by channel"])
def test_lognormal_spend_is_that_of_single_hours_and_drawn_levels(land, t):
    level = np.array([[-0.3], [0.4]]) * np.ones(7)
    log_multiplier = np.array([1.0, 2.0])
    planned, slope = horizon(land, t, level).spend(log_multiplier[:, None])
    np.testing.assert_allclose(planned, hourly(land, t, level, log_multiplier), rtol=0.02)
    near = horizon(land, t, level).spend(log_multiplier[:, None] + 1e-4)[0]
    np.testing.assert_allclose((planned - near) / 1e-4, slope, rtol=1e-3)


@every_pricing
def test_spend_of_other_prices_is_that_of_single_hours_too(market: Market):
    land = market.landscape
    level, log_multiplier = np.array([[0.2]]) * np.ones(land.channels), np.array([1.0])
    planned = horizon(land, 140, level).spend(log_multiplier[:, None])[0]
    exact = hourly(land, 140, level, log_multiplier)
    assert planned.sum() == pytest.approx(exact.sum(), rel=0.02)
    np.testing.assert_allclose(planned, exact, rtol=0.08)  # a table's steps fall between the nodes


def test_prices_that_spread_cost_more_than_their_mean_where_bids_are_low():
    land, level, high = AIRFRANCE.landscape, np.zeros((1, 7)), np.array([[5.0]])
    spread = horizon(land, 0, level).spend(high)[0]
    still = horizon(replace(land, price_log_sd=0.0), 0, level).spend(high)[0]
    assert (spread > 1.05 * still).all()


@every_pricing
def test_impressions_ahead_are_won_auctions(market: Market):
    land = market.landscape
    outlook = horizon(land, 0, np.zeros((1, land.channels)))
    everything = outlook.impressions(np.array([[-7.0]]), land.ctr)
    winnable = land.pricing.shape.win(np.full(land.channels, 50.0))
    np.testing.assert_allclose(everything[0], land.volume * land.traffic.sum() * winnable, rtol=0.02)
    assert (outlook.impressions(np.array([[3.0]]), land.ctr) < everything).all()
