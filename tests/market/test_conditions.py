"""Optional blocks of a market file: what they do to the arrays, what they refuse, and the page that explains them."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from gaelp_ray.errors import MarketError
from gaelp_ray.market import Market, load_market, market_names
from gaelp_ray.market.conditions import ConversionDelay, Fatigue, spend_caps
from gaelp_ray.market.landscape import DAYS, LOWEST_LOG_FATIGUE
from gaelp_ray.market.market import market_from

MARKET = load_market("airfrance-search")
LAND = MARKET.landscape
PAGE = (Path(__file__).parents[2] / "docs/markets.md").read_text(encoding="utf-8")
BLOCKS = ("conversion_delay", "fatigue", "spend_caps", "safety")


def given(value: float) -> dict[str, object]:
    return {"value": value, "source": "assumed"}


def with_blocks(**blocks: object) -> Market:
    return market_from(MARKET.model_dump(mode="json", exclude_none=True) | blocks, "mine.yaml")


@pytest.mark.parametrize("name", market_names())
def test_shipped_markets_have_no_delay_no_fatigue_and_no_caps(name):
    land = load_market(name).landscape
    assert (land.report_rate, land.fatigue_rate) == (1.0, 0.0)
    np.testing.assert_array_equal(land.spend_cap, np.ones(land.channels))
    np.testing.assert_array_equal(land.log_fatigue(np.full(land.channels, 1e9)), np.zeros(land.channels))


@pytest.mark.parametrize(("hours", "rate"), [(0.0, 1.0), (1.0, 0.5), (3.0, 0.25), (24.0, 0.04), (168.0, 1 / 169)])
def test_report_rate_is_that_of_a_geometric_delay_with_this_mean(hours, rate):
    delay = ConversionDelay.model_validate({"mean_hours": given(hours)})
    assert delay.report_rate == pytest.approx(rate)
    # Mean of a geometric number of failures before the first success.
    assert (1.0 - rate) / rate == pytest.approx(hours)
    assert with_blocks(conversion_delay={"mean_hours": given(hours)}).landscape.report_rate == delay.report_rate


@pytest.mark.parametrize("half_life", [0.5, 1.0, 2.5])
@pytest.mark.parametrize("name", market_names())
def test_click_rate_halves_exactly_after_the_half_life(name, half_life):
    land = load_market(name).variant(fatigue_half_life=half_life).landscape
    week = DAYS * land.volume
    np.testing.assert_allclose(np.exp(land.log_fatigue(half_life * week)), 0.5)
    np.testing.assert_allclose(np.exp(land.log_fatigue(3.0 * half_life * week)), 0.125)
    np.testing.assert_allclose(land.log_fatigue(np.stack([0.0 * week, week])), [0 * week, 0 * week - land.fatigue_rate])


def test_half_life_is_that_of_the_rate():
    assert Fatigue.model_validate({"half_life": given(2.0)}).rate == pytest.approx(np.log(2.0) / 2.0)


def test_fatigue_has_an_end():
    land = MARKET.variant(fatigue_half_life=0.5).landscape
    np.testing.assert_array_equal(land.log_fatigue(1e6 * land.volume), np.full(land.channels, LOWEST_LOG_FATIGUE))


def test_channels_that_are_not_named_have_no_cap():
    caps = with_blocks(spend_caps={"source": "assumed", "shares": {"MSN - US": 0.1, "Yahoo - US": 0.3}}).landscape
    np.testing.assert_array_equal(caps.spend_cap, [1.0, 1.0, 1.0, 0.1, 1.0, 1.0, 0.3])
    np.testing.assert_array_equal(spend_caps(None, ["a", "b"]), [1.0, 1.0])


@pytest.mark.parametrize(
    ("name", "help_"), [("MSN - UK", r"Did you mean 'MSN - US'\?"), ("zzz", "Known: Google - Global")]
)
def test_cap_on_an_unknown_channel_is_refused_in_one_line(name, help_):
    with pytest.raises(
        MarketError, match=rf"^mine\.yaml: market: .*spend_caps: no channel '{name}'\. {help_}"
    ) as error:
        with_blocks(spend_caps={"source": "assumed", "shares": {name: 0.5}})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("blocks", "complaint"),
    [
        ({"conversion_delay": {"mean_hours": given(-1.0)}}, r"conversion_delay\.mean_hours: .*-1\.0 is below 0"),
        ({"conversion_delay": {}}, r"conversion_delay\.mean_hours: Field required"),
        ({"conversion_delay": {"mean_hours": {"value": 3.0}}}, r"conversion_delay\.mean_hours\.source"),
        ({"conversion_delay": {"mean_hours": given(1.0), "sd": given(1.0)}}, r"conversion_delay\.sd: Extra"),
        ({"fatigue": {"half_life": given(0.49)}}, r"fatigue\.half_life: .*0\.49 is not between"),
        ({"fatigue": {"half_life": given(float("inf"))}}, r"fatigue\.half_life\.value"),
        ({"spend_caps": {"source": "assumed", "shares": {"MSN - US": 0.0}}}, r"spend_caps\.shares\.MSN - US: .*than 0"),
        ({"spend_caps": {"source": "assumed", "shares": {"MSN - US": 1.1}}}, r"spend_caps\.shares\.MSN - US: .* 1"),
        ({"spend_caps": {"shares": {"MSN - US": 0.5}}}, r"spend_caps\.source: Field required"),
        ({"spend_caps": {"source": "nobody", "shares": {}}}, "spend_caps names the source 'nobody'"),
        ({"safety": {"max_bid_multiplier": given(0.0)}}, r"safety\.max_bid_multiplier: .*0\.0 is not between"),
        ({"safety": {"max_spend_share": given(1.2)}}, r"safety\.max_spend_share: .*1\.2 is not between"),
        ({"safety": {"max_cpa": given(1.2)}}, r"safety\.max_cpa: Extra"),
    ],
)
def test_wrong_conditions_are_refused_with_their_place(blocks, complaint):
    with pytest.raises(MarketError, match=complaint) as error:
        with_blocks(**blocks)
    assert len(str(error.value).splitlines()) == 1


def test_the_limits_of_what_a_condition_may_be_are_allowed():
    land = with_blocks(
        conversion_delay={"mean_hours": given(0.0)},
        fatigue={"half_life": given(0.5)},
        spend_caps={"source": "assumed", "shares": {"MSN - US": 1.0}},
        safety={"max_spend_share": given(1.0)},
    ).landscape
    assert (land.report_rate, land.safety.max_spend_share) == (1.0, 1.0)


def test_safety_has_defaults_and_a_block_replaces_what_it_names():
    usual = LAND.safety
    np.testing.assert_allclose(usual.max_bid, 10.0 * LAND.bid)
    assert (usual.max_spend_share, usual.min_delivery, usual.max_pacing_error) == (0.8, 0.9, 0.25)
    own = with_blocks(safety={"max_bid_multiplier": given(3.0), "min_delivery": given(0.5)}).landscape.safety
    np.testing.assert_allclose(own.max_bid, 3.0 * LAND.bid)
    assert (own.max_spend_share, own.min_delivery, own.max_pacing_error) == (0.8, 0.5, 0.25)


def test_every_condition_is_part_of_the_hash():
    blocks = (
        {},
        {"conversion_delay": {"mean_hours": given(5.0)}},
        {"conversion_delay": {"mean_hours": given(6.0)}},
        {"fatigue": {"half_life": given(5.0)}},
        {"spend_caps": {"source": "assumed", "shares": {"MSN - US": 0.5}}},
        {"spend_caps": {"source": "assumed", "shares": {"MSN - US": 0.6}}},
        {"safety": {"min_delivery": given(0.5)}},
    )
    hashes = {with_blocks(**block).hash for block in blocks}
    assert len(hashes) == len(blocks)
    assert MARKET.hash in hashes


def test_a_variant_sets_the_conditions_and_keeps_the_others_of_the_file():
    shares = {"source": "assumed", "shares": {"MSN - US": 0.5}}
    market = with_blocks(spend_caps=shares, fatigue={"half_life": given(3.0)}, safety={"min_delivery": given(0.5)})
    varied = market.variant(conversion_delay=4.0)
    assert varied.landscape.report_rate == pytest.approx(0.2)
    assert varied.landscape.fatigue_rate == market.landscape.fatigue_rate > 0.0
    assert varied.landscape.spend_cap[3] == 0.5
    assert varied.landscape.safety.min_delivery == 0.5
    assert market.variant(fatigue_half_life=1.0).landscape.fatigue_rate == pytest.approx(np.log(2.0))
    assert varied.variant(conversion_delay=0.0).landscape.report_rate == 1.0
    assert len({market.hash, varied.hash, market.variant(fatigue_half_life=1.0).hash}) == 3


def examples() -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_the_whole_market_of_the_page_loads_and_flies():
    market = market_from(yaml.safe_load(examples()[0]), "docs/markets.md")
    assert set(market.model_dump(exclude_none=True)) >= {"channels", "prices", *BLOCKS}
    land = market.landscape
    assert all(np.isfinite(a).all() for a in vars(land).values() if isinstance(a, np.ndarray))
    assert land.report_rate < 1.0 and land.fatigue_rate > 0.0 and land.spend_cap.min() < 1.0


@pytest.mark.parametrize("example", examples()[1:], ids=lambda text: text.partition(":")[0])
def test_every_other_block_on_the_page_fits_into_its_market(example):
    whole, block = yaml.safe_load(examples()[0]), yaml.safe_load(example)
    changed = market_from(whole | block, "docs/markets.md")
    assert changed.hash != market_from(whole, "docs/markets.md").hash


def test_the_page_shows_every_block_of_a_market_file():
    shown = {key for example in examples() for key in yaml.safe_load(example)}
    assert shown | {"validation", "held_out"} == set(Market.model_fields)
    assert "`validation`" in PAGE and "`held_out`" in PAGE


@pytest.mark.parametrize("block", ["flight", "departures", "safety"])
def test_the_page_shows_every_number_of_a_block(block):
    assert set(yaml.safe_load(examples()[0])[block]) == set(MARKET.model_dump()[block])
