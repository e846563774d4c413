"""Repeated flights: common hidden values and luck, block after block."""

import numpy as np
import pytest

from gaelp_ray.market import load_market
from gaelp_ray.simulator import AdCampaignVectorEnv
from gaelp_ray.simulator.hidden import repeated
from gaelp_ray.simulator.random_streams import KeyedStream

MARKET = load_market("airfrance-search")
S = MARKET.landscape.channels
BY_FLIGHT = {"budget": 0, "ctr": 0, "volume": 0, "traffic": 1, "log_price": 1, "conversion_rate": 1}


def test_repeated_flights_come_block_after_block():
    single = KeyedStream(0, MARKET.landscape, np.arange(4)).hidden()
    three = repeated(single, 3)
    for name, axis in BY_FLIGHT.items():
        once, thrice = getattr(single, name), getattr(three, name)
        assert thrice.shape[axis] == 12
        for block in range(3):
            np.testing.assert_array_equal(np.take(thrice, range(4 * block, 4 * block + 4), axis), once)


def test_copies_share_what_is_hidden_and_the_luck():
    env = AdCampaignVectorEnv(12, MARKET, copies=3)
    obs, _ = env.reset(seed=1)
    np.testing.assert_array_equal(obs[:4], obs[4:8])
    assert not np.array_equal(obs[0], obs[1])
    for _ in range(24):
        env.step(np.full((12, S), -0.2, np.float32))
    totals = env.totals()
    for name in ("budget", "clicks", "revenue", "oracle_revenue"):
        blocks = getattr(totals, name).reshape(3, 4)
        np.testing.assert_allclose(blocks, np.tile(blocks[0], (3, 1)), rtol=1e-9)
        assert len(np.unique(blocks[0])) == 4


def test_one_copy_is_the_plain_environment():
    plain, once = (AdCampaignVectorEnv(4, MARKET, **options) for options in ({}, {"copies": 1}))
    np.testing.assert_array_equal(plain.reset(seed=2)[0], once.reset(seed=2)[0])
    action = np.zeros((4, S), np.float32)
    np.testing.assert_array_equal(plain.step(action)[0], once.step(action)[0])


def test_copies_meet_the_flights_of_as_small_a_batch():
    small, copied = AdCampaignVectorEnv(4, MARKET), AdCampaignVectorEnv(12, MARKET, copies=3)
    np.testing.assert_array_equal(small.reset(seed=3)[0], copied.reset(seed=3)[0][:4])


def test_an_autoreset_starts_copies_again():
    env = AdCampaignVectorEnv(4, MARKET, copies=2)
    env.reset(seed=4)
    first = env.totals().budget
    for _ in range(169):
        obs, *_ = env.step(np.zeros((4, S), np.float32))
    np.testing.assert_array_equal(obs[:2], obs[2:])
    assert not np.array_equal(env.totals().budget, first)


@pytest.mark.parametrize(("flights", "copies"), [(4, 3), (2, 4), (1, 2)])
def test_flights_that_are_no_multiple_of_the_copies_are_refused(flights, copies):
    with pytest.raises(ValueError, match=f"{flights} flights cannot be {copies} copies"):
        AdCampaignVectorEnv(flights, MARKET, copies=copies)
