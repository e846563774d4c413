"""What a market can spend at the highest bids: the moments against simulated flights, and what bounds them."""

from dataclasses import replace

import numpy as np
import pytest

from gaelp_ray.market import load_market
from gaelp_ray.market.market import market_from
from gaelp_ray.market.spend import largest_delivery, largest_spend, spendable
from gaelp_ray.simulator.campaign import AdCampaignVectorEnv


def flown(market, flights=256):
    """Spend of flights that bid as high as they may, with a budget that never ends."""
    data = market.model_dump(mode="json")
    data["flight"]["budget"]["value"] *= 1e6
    env = AdCampaignVectorEnv(flights, market_from(data, "m"))
    env.reset(seed=0)
    highest = np.ones(env.action_space.shape, np.float32)
    for _ in range(168):
        *_, info = env.step(highest)
    return info["cost"]


@pytest.mark.parametrize("name", ["airfrance-search", "ipinyou-display"])
def test_largest_spend_has_the_moments_and_the_quantile_of_simulated_flights(name):
    market = load_market(name)
    cost, largest = flown(market), largest_spend(market.landscape)
    assert largest.mean == spendable(market.landscape) == pytest.approx(cost.mean(), rel=0.05)
    assert largest.variation == pytest.approx(cost.std() / cost.mean(), rel=0.15)
    assert largest.quantile(0.05) == pytest.approx(np.quantile(cost, 0.05), rel=0.1)


@pytest.mark.parametrize("times", [1.0, 8.0, 40.0])
def test_largest_delivery_is_that_of_simulated_flights_at_the_highest_bids(times):
    data = load_market("airfrance-search").model_dump(mode="json")
    data["flight"]["budget"]["value"] *= times
    market = market_from(data, "m")
    env = AdCampaignVectorEnv(256, market)
    env.reset(seed=3)
    for _ in range(168):
        *_, info = env.step(np.ones(env.action_space.shape, np.float32))
    simulated = info["cost"].sum() / info["budget"].sum()
    assert largest_delivery(market.landscape) == pytest.approx(simulated, abs=0.02)
    assert (largest_delivery(market.landscape) > 0.99) == (times == 1.0)


def test_largest_spend_varies_by_chance_where_clicks_are_few():
    data = load_market("airfrance-search").model_dump(mode="json")
    data["period_days"]["value"] *= 3_000
    market = market_from(data, "m")
    cost, largest = flown(market), largest_spend(market.landscape)
    assert largest.mean == pytest.approx(cost.mean(), rel=0.1)
    assert largest.variation == pytest.approx(cost.std() / cost.mean(), rel=0.15)
    assert largest.variation > 1.3 * largest_spend(load_market("airfrance-search").landscape).variation


def test_fatigue_lowers_what_a_market_can_spend_as_in_simulated_flights():
    market = load_market("airfrance-search").variant(fatigue_half_life=0.5)
    assert spendable(market.landscape) == pytest.approx(flown(market, 128).mean(), rel=0.06)
    assert spendable(market.landscape) < 0.7 * spendable(load_market("airfrance-search").landscape)


def test_first_price_winners_pay_their_bids():
    land = load_market("airfrance-search").variant(auction="first_price").landscape
    low = replace(land, max_bid_multiplier=2.0)
    win = land.pricing.shape.win(np.log(2.0 * land.bid) - land.log_price)
    assert spendable(low) == pytest.approx(float((land.volume * land.ctr * 7 * win * 2.0 * land.bid).sum()))


def test_low_highest_bids_and_caps_bound_what_can_be_spent():
    land = load_market("airfrance-search").landscape
    historical = land.volume * land.ctr * 7 * land.pricing.clearing(np.log(land.bid), land.log_price)[0] * land.cpc
    assert spendable(replace(land, max_bid_multiplier=1.0)) == pytest.approx(float(historical.sum()))
    caps = np.where(np.arange(land.channels) == 1, 0.05, 1.0)
    capped = replace(land, spend_cap=caps)
    only = replace(land, ctr=np.where(np.arange(land.channels) == 1, 1e-12, land.ctr))
    assert spendable(capped) == pytest.approx(spendable(only) + 0.05 * land.budget)


def test_a_market_without_departures_varies_by_chance_alone():
    land = load_market("airfrance-search").landscape
    zero = dict.fromkeys(("volume_log_sd", "ctr_log_sd", "price_log_sd", "hour_log_sd", "day_log_sd"), 0.0)
    largest = largest_spend(replace(land, **zero))
    assert largest.variation < 0.02
    assert largest.quantile(0.5) == pytest.approx(largest.mean, rel=1e-3)
