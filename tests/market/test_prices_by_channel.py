"""`prices.by_channel`: channels with prices of their own, and market files from before it unchanged."""

import copy

import numpy as np
import pytest
from exact_auction import draw_every_auction

from gaelp_ray.errors import MarketError
from gaelp_ray.market import load_market
from gaelp_ray.market.auction import Hour, Purse
from gaelp_ray.market.keyed_auction import draw_keyed
from gaelp_ray.market.market import market_from
from gaelp_ray.market.stream import Cells

DATA = load_market("airfrance-search").model_dump(mode="json", exclude_none=True)
NAMES = [row["name"] for row in DATA["channels"]["rows"]]
OWN = {NAMES[1]: (0.72, 0.5), NAMES[4]: (0.11, 1.1)}
ROWS = [{"channel": name, "paid_over_bid": paid, "log_sd": sd} for name, (paid, sd) in OWN.items()]


def priced(rows):
    data = copy.deepcopy(DATA)
    data["prices"]["by_channel"] = {"source": "airfrance", "rows": rows}
    return market_from(data, "m")


def test_shipped_markets_keep_their_hashes_and_have_no_by_channel_key():
    known = {"airfrance-search": "cc92316713141931", "ipinyou-display": "7d00a319044f3f95"}
    known |= {"kag-social": "a7defbb2b58ea479"}
    assert {name: load_market(name).hash[:16] for name in known} == known
    assert "by_channel" not in load_market("airfrance-search").model_dump(mode="json")["prices"]


def test_named_channels_have_their_own_prices_and_others_the_markets():
    land, plain = priced(ROWS).landscape, load_market("airfrance-search").landscape
    win, price = land.pricing.clearing(np.log(land.bid), land.log_price)
    np.testing.assert_allclose(price, land.cpc)
    for s, name in enumerate(NAMES):
        paid, sd = OWN.get(name, (land.cpc[s] / plain.bid[s], 0.8))
        assert land.cpc[s] / land.bid[s] == pytest.approx(paid)
        assert land.pricing.shape.log_sd[s] == sd
        if name not in OWN:
            assert (land.bid[s], land.log_price[s]) == pytest.approx((plain.bid[s], plain.log_price[s]))
    assert win[1] < win[0] < win[4]


@pytest.mark.parametrize("money", [np.inf, 0.6])  # in units of what the hour costs
@pytest.mark.parametrize("auction", ["second_price", "first_price"])
def test_channels_of_different_spread_are_drawn_as_single_auctions_are(auction, money):
    land = priced(ROWS).variant(auction=auction).landscape
    shape = (400, land.channels)
    hour = Hour(
        volume=np.full(shape, 200.0),
        log_price=np.broadcast_to(land.log_price, shape),
        pricing=land.pricing,
        ctr=np.full(shape, 0.5),
        conversion_rate=np.full(shape, 0.1),
        order_value=land.order_value,
        order_value_shape=2.0,
    )
    bids = np.broadcast_to(land.bid, shape)
    mean_cost = 200.0 * 0.5 * float((land.pricing.shape.win(np.log(land.bid) - land.log_price) * land.cpc).sum())
    purse = Purse(np.full(400, money * mean_cost))
    cells = Cells(0, np.arange(400)[:, None], np.array(0), np.arange(land.channels))
    fast = draw_keyed(cells, hour, np.log(bids), purse)
    exact = draw_every_auction(np.random.default_rng(1), hour, bids, purse)
    for name in ("clicks", "cost"):
        a, b = getattr(fast, name), getattr(exact, name)
        error = np.sqrt((a.var(axis=0) + b.var(axis=0)) / 400)
        assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) < 4.0 * error).all()


def test_prices_by_channel_are_part_of_the_hash_and_survive_a_round_trip():
    market = priced(ROWS)
    assert market.hash != load_market("airfrance-search").hash
    assert market.hash != priced(ROWS[:1]).hash
    again = market_from(market.model_dump(mode="json"), "again")
    assert again.hash == market.hash
    assert again.prices == market.prices
    assert market.variant("nominal").prices == market.prices


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [ROWS[0] | {"channel": "Gogle - US"}],
            "prices.by_channel: no channel 'Gogle - US'. Did you mean 'Google - US'",
        ),
        ([ROWS[0], ROWS[0]], f"prices.by_channel: {NAMES[1]!r} is listed twice: keep one row"),
        ([ROWS[0] | {"paid_over_bid": 0.95}], "paid_over_bid: Input should be less than 0.95"),
        ([ROWS[0] | {"log_sd": 0.0}], "log_sd: Input should be greater than 0"),
        ([], "rows: Tuple should have at least 1 item"),
    ],
)
def test_prices_by_channel_that_no_market_can_have_are_refused(rows, message):
    with pytest.raises(MarketError) as caught:
        priced(rows)
    assert message in str(caught.value)
