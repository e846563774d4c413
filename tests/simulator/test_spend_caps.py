"""Caps on what single channels may spend: kept whatever is bid, together with the budget, and by nobody else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaelp_ray.market import Market, load_market
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.market.market import market_from
from gaelp_ray.simulator import AdCampaignVectorEnv

MARKET = load_market("airfrance-search")
S = MARKET.landscape.channels


def capped(market: Market, shares: dict[str, float]) -> Market:
    block = {"spend_caps": {"source": "assumed", "shares": shares}}
    return market_from(market.model_dump(mode="json", exclude_none=True) | block, "capped")


SOME = capped(MARKET, {"Google - US": 0.1, "MSN - US": 0.001, "Yahoo - US": 0.5})
TIGHT = capped(MARKET, dict.fromkeys(MARKET.channel_names, 0.05))
FIRST = SOME.variant(auction="first_price", conversion_delay=12.0, fatigue_half_life=1.0)


def spend(market: Market, actions: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(share of the budget that each channel has spent, after each hour (T, B, S); budgets)."""
    env = AdCampaignVectorEnv(actions.shape[1], market)
    env.reset(seed=seed)
    spent = []
    for action in actions:
        env.step(action)
        spent.append(env._ledger._cost.copy())
    return np.stack(spent), env._ledger.budget


def assert_kept(market: Market, actions: np.ndarray, seed: int = 0) -> None:
    cost, budget = spend(market, actions, seed)
    assert (cost <= market.landscape.spend_cap * budget[:, None]).all()
    assert (cost.sum(axis=2) <= budget).all()


CORNERS = st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=S, max_size=S)


@pytest.mark.parametrize("market", [SOME, TIGHT, FIRST], ids=["some", "all", "first price, tired, late"])
@settings(derandomize=True, max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), corner=CORNERS)
def test_no_channel_ever_spends_more_than_its_cap(market, seed, corner):
    rng = np.random.default_rng(seed)
    actions = np.tile(np.array(corner, np.float32), (HOURS, 4, 1))
    actions[:, 2:] = rng.choice([-1.0, 0.3, 1.0], (HOURS, 2, S))
    assert_kept(market, actions, seed)


HIGHEST = np.ones((HOURS, 6, S), np.float32)


@pytest.mark.parametrize("market", [SOME, TIGHT, FIRST], ids=["some", "all", "first price, tired, late"])
def test_highest_bids_keep_every_cap(market):
    assert_kept(market, HIGHEST)


def test_highest_bids_reach_the_caps_of_channels_that_are_large_enough():
    cost, budget = spend(SOME, HIGHEST)
    share = cost[-1] / budget[:, None]
    assert share[:, [1, 3]].min(axis=0) == pytest.approx([0.1, 0.001], rel=1e-2)
    assert share.sum(axis=1).min() > 0.98  # channels without a cap spend the rest
    cost, budget = spend(TIGHT, HIGHEST)
    share = cost[-1] / budget[:, None]
    assert share[:, :2].min() == pytest.approx(0.05, rel=1e-3)
    assert share.sum(axis=1).max() == pytest.approx(0.35, rel=1e-3)  # the caps bind, the budget does not


def test_a_cap_leaves_channels_alone_until_it_binds():
    actions = np.full((30, 8, S), -0.3, np.float32)
    free, bound = (spend(market, actions)[0] for market in (MARKET, capped(MARKET, {"Google - US": 0.9})))
    np.testing.assert_array_equal(free, bound)


def test_caps_of_one_are_no_caps():
    actions = np.ones((40, 4, S), np.float32)
    whole = capped(MARKET, dict.fromkeys(MARKET.channel_names, 1.0))
    np.testing.assert_array_equal(spend(MARKET, actions)[0], spend(whole, actions)[0])


def test_money_that_a_cap_holds_back_is_spent_elsewhere():
    actions = np.full((HOURS, 32, S), -0.05, np.float32)
    free, bound = (spend(market, actions)[0][-1].sum(axis=0) for market in (MARKET, SOME))
    uncapped = SOME.landscape.spend_cap == 1.0
    assert (bound[uncapped] > free[uncapped]).all()
    assert bound[1] < 0.5 * free[1]
