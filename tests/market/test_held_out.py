"""The `held_out` block: evidence about a market, possible beside its channels, and no part of its hash."""

import copy

import pytest

from gaelp_ray.errors import MarketError
from gaelp_ray.market import load_market, market_names
from gaelp_ray.market.held_out import NUMBERS, without
from gaelp_ray.market.market import market_from

MARKETS = {name: load_market(name) for name in market_names()}
DATA = MARKETS["airfrance-search"].model_dump(mode="json", exclude_none=True)


def with_rows(*rows, kind="parts", source="airfrance"):
    """The shipped market's data with other held-out campaigns."""
    return copy.deepcopy(DATA) | {"held_out": {"kind": kind, "source": source, "rows": list(rows)}}


def campaign(name="brand", channel="MSN - US", impressions=5e4, clicks=4e3, cost=6e3, **more):
    return {
        "name": name,
        "channel": channel,
        "impressions": impressions,
        "clicks": clicks,
        "cost": cost,
        "conversions": 50,
        "revenue": 6e4,
    } | more


@pytest.mark.parametrize("name", market_names())
def test_every_shipped_market_has_campaigns_to_be_compared_with(name):
    held = MARKETS[name].held_out
    channels = {row.name: row for row in MARKETS[name].channels.rows}
    assert len(held.rows) == {"airfrance-search": 12, "ipinyou-display": 9, "kag-social": 18}[name]
    assert held.source in MARKETS[name].sources and held.note
    assert len({row.name for row in held.rows}) == len(held.rows)
    for row in held.rows:
        assert (row.conversions is None) == (channels[row.channel].conversions is None)
        assert (row.revenue is None) == (channels[row.channel].revenue is None)


@pytest.mark.parametrize("name", ["airfrance-search", "kag-social"])
def test_shipped_parts_fit_into_their_channels_and_leave_them_something(name):
    market = MARKETS[name]
    assert market.held_out.kind == "parts"
    for channel in market.channels.rows:
        parts = [row for row in market.held_out.rows if row.channel == channel.name]
        for number in NUMBERS:
            if (whole := getattr(channel, number)) is not None:
                assert sum(getattr(part, number) for part in parts) <= whole * (1 + 1e-5)
        for part in parts:
            assert without(channel, part)["conversions"] > 0


def test_later_days_of_the_exchange_cost_what_they_did_in_the_channels_unit():
    market = MARKETS["ipinyou-display"]
    assert market.held_out.kind == "later"
    for row, channel in zip(market.held_out.rows, market.channels.rows, strict=True):
        assert row.channel == channel.name
        # Prices per mille move by at most a fourth between the days.
        assert row.cost / row.impressions == pytest.approx(channel.cost / channel.impressions, rel=0.25)


def test_a_rest_is_what_the_channel_keeps():
    channel, part = MARKETS["airfrance-search"].channels.rows[0], MARKETS["airfrance-search"].held_out.rows[0]
    assert without(channel, part) == pytest.approx(
        {"impressions": 1540074, "clicks": 37221, "cost": 62059.7, "conversions": 367, "revenue": 467982}
    )
    unknown = part.model_copy(update={"conversions": None, "revenue": None})
    assert without(channel, unknown)["conversions"] is None
    over = part.model_copy(update={"cost": channel.cost * 1.00001})
    assert without(channel, over)["cost"] == 0.0


def test_the_block_is_no_part_of_the_hash_and_stays_with_variants():
    market = MARKETS["airfrance-search"]
    plain = {key: value for key, value in DATA.items() if key != "held_out"}
    assert market_from(plain, "m").hash == market.hash == market_from(with_rows(campaign()), "m").hash
    assert market.hash.startswith("cc923167131419316a2f"), "model folders of version 1 know the market by this hash"
    assert market.variant("nominal", 0.7, "first_price").held_out == market.held_out


def test_a_campaign_may_have_sold_nothing():
    row = market_from(with_rows(campaign(conversions=0, revenue=0)), "m").held_out.rows[0]
    assert (row.conversions, row.revenue, row.effective_rows) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (with_rows(campaign(channel="MSN - USA")), "'brand' names the channel 'MSN - USA'. Did you mean 'MSN - US'?"),
        (
            with_rows(campaign(clicks=10_900)),
            r"parts of the channel 'MSN - US' \('brand'\) have 10900 clicks, more than its 10808: correct the sums",
        ),
        (with_rows(campaign("a"), campaign("b"), campaign("c")), r"\('a', 'b', 'c'\) have 12000 clicks, more than"),
        (with_rows(campaign(revenue=2e5)), "have 200000 revenue, more than its 181550"),
        (
            with_rows(campaign(clicks=10_700, conversions=10)),
            "'brand' would leave its channel 'MSN - US' 120120 impressions, 108 clicks and 130 conversions, .* funnel",
        ),
        (with_rows(campaign(impressions=3_999)), r"held_out\.rows\.0: .*impressions >= clicks >= conversions"),
        (with_rows(campaign(conversions=4_001)), r"held_out\.rows\.0: .*impressions >= clicks >= conversions"),
        (with_rows(campaign(conversions=None)), r"held_out\.rows\.0: .*revenue without conversions"),
        (with_rows(campaign(cost=0)), r"held_out\.rows\.0\.cost: .* greater than 0"),
        (with_rows(campaign(effective_rows=0.5)), r"held_out\.rows\.0\.effective_rows: .* greater than or equal to 1"),
        (with_rows(campaign(), source="airfrnce"), "held_out names the source 'airfrnce'. Did you mean 'airfrance'"),
        (with_rows(campaign(), kind="half"), r"held_out\.kind: .*'parts' or 'later'"),
        (with_rows(), r"held_out\.rows is empty: give at least one campaign, or leave the block out"),
    ],
)
def test_impossible_blocks_are_refused_in_one_line(data, complaint):
    with pytest.raises(MarketError, match=complaint) as refused:
        market_from(data, "m")
    assert len(str(refused.value).splitlines()) == 1


def test_later_campaigns_may_be_larger_than_their_channel():
    market = market_from(with_rows(campaign(impressions=1e7, clicks=1e6), kind="later"), "m")
    assert market.held_out.rows[0].clicks == 1e6


def test_sums_rounded_in_the_source_may_exceed_their_channel_by_a_hair():
    assert market_from(with_rows(campaign(cost=16_098.9)), "m").held_out.rows[0].cost == 16_098.9
    with pytest.raises(MarketError, match=r"have 16110 cost, more than its 16098\.5"):
        market_from(with_rows(campaign(cost=16_110)), "m")
