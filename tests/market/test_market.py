"""Market files: every number is there, has a source, and is part of the market's hash."""

import copy
from pathlib import Path

import numpy as np
import pytest
import yaml

from gaelp_ray.errors import MarketError
from gaelp_ray.market import load_market, market_names
from gaelp_ray.market.market import PRESETS, market_from, parse_market

MARKET = load_market("airfrance-search")
DATA = MARKET.model_dump(mode="json", exclude={"held_out"})


def node_at(data, path):
    for step in path:
        data = data[step]
    return data


def changed(path, value):
    """The shipped market's data with one value replaced."""
    data = copy.deepcopy(DATA)
    node_at(data, path[:-1])[path[-1]] = value
    return data


def numbers(node, path=()):
    """Paths of all numbers in the market's data."""
    if isinstance(node, float):
        yield path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from numbers(child, (*path, key))


@pytest.mark.parametrize("name", market_names())
def test_every_shipped_market_loads_and_makes_a_finite_landscape(name):
    market = load_market(name)
    assert market.name == name
    for array in (v for v in vars(market.landscape).values() if isinstance(v, np.ndarray)):
        assert np.isfinite(array).all()


def test_total_roas_is_that_of_the_sums():
    rows = MARKET.channels.rows
    total = sum(row.revenue for row in rows) / sum(row.cost for row in rows)
    assert total == pytest.approx(6.17, abs=0.005)
    market = MARKET.landscape
    clicks = np.array([row.clicks for row in rows])
    assert (clicks @ market.value) / (clicks @ market.cpc) == pytest.approx(total)


def test_channel_means_are_ratios_of_the_sums():
    market = MARKET.landscape
    for number, row in enumerate(MARKET.channels.rows):
        assert market.ctr[number] == pytest.approx(row.clicks / row.impressions)
        assert market.cpc[number] == pytest.approx(row.cost / row.clicks)
        assert market.conversion_rate[number] == pytest.approx(row.conversions / row.clicks)
        assert market.order_value[number] == pytest.approx(row.revenue / row.conversions)


def test_provenance_names_every_number_or_block_of_numbers():
    where = dict(MARKET.provenance())
    single = {
        f"{block}.{name}"
        for block in ("prices", "flight", "departures", "safety")
        for name in DATA[block]
        if name != "kind"
    }
    assert set(where) == single | {"channels", "hour_of_week", "period_days", "held_out"}
    assert set(where.values()) <= {"assumed", *MARKET.sources}


@pytest.mark.parametrize(
    "path", [("flight", "budget"), ("period_days",), ("channels",), ("hour_of_week",), ("departures", "ctr_log_sd")]
)
def test_number_with_an_unknown_source_is_refused(path):
    with pytest.raises(MarketError, match=rf"{'.'.join(path)} names the source 'airfrnce'.*mean 'airfrance'"):
        market_from(changed((*path, "source"), "airfrnce"), "test")


def test_number_without_a_source_is_refused():
    with pytest.raises(MarketError, match=r"flight\.budget\.source: Field required"):
        market_from(changed(("flight", "budget"), {"value": 12000}), "test")


def test_every_number_changes_the_hash():
    paths = list(numbers(DATA))
    hashes = {market_from(changed(path, node_at(DATA, path) * (1 + 1e-6) + 1e-12), "t").hash for path in paths}
    single = len(list(MARKET.provenance())) - len(("channels", "hour_of_week", "held_out"))
    assert len(paths) == 168 + 5 * len(MARKET.channels.rows) + single
    assert len(hashes | {MARKET.hash}) == len(paths) + 1


def test_source_of_a_number_changes_the_hash():
    assert market_from(changed(("period_days", "source"), "avito"), "test").hash != MARKET.hash


def test_same_numbers_in_another_file_have_the_same_hash(tmp_path):
    path = tmp_path / "copy.yml"
    path.write_text(yaml.safe_dump(DATA, sort_keys=True), encoding="utf-8")
    assert load_market(str(path)).hash == MARKET.hash


def test_nominal_variant_has_no_traffic_noise_and_no_drift():
    nominal = load_market("airfrance-search").variant("nominal").landscape
    assert (nominal.hour_log_sd, nominal.day_log_sd, nominal.conversion_rate_drift) == (0.0, 0.0, 0.0)
    assert nominal.conversion_rate_log_sd == MARKET.landscape.conversion_rate_log_sd
    assert nominal.price_log_sd == MARKET.landscape.price_log_sd


def test_heterogeneity_replaces_the_spread_of_conversion_rates():
    harder = load_market("airfrance-search").variant("realistic", 1.0).landscape
    assert harder.conversion_rate_log_sd == 1.0
    assert harder.day_log_sd == MARKET.landscape.day_log_sd


def test_variant_without_a_change_is_the_same_market():
    assert MARKET.variant("realistic", None) is MARKET


def test_variants_have_hashes_of_their_own():
    fresh = load_market("airfrance-search")
    variants = [fresh.variant("nominal"), fresh.variant("nominal", 1.0), fresh.variant("realistic", 1.0), fresh]
    assert len({market.hash for market in variants}) == 4


def test_unknown_market_comes_with_the_closest_name():
    with pytest.raises(MarketError, match=r"unknown market 'airfrnce-search'. Did you mean 'airfrance-search'"):
        load_market("airfrnce-search")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(MarketError, match=r"cannot read the market file .*nowhere\.yaml"):
        load_market(str(tmp_path / "nowhere.yaml"))


def test_binary_file_is_refused(tmp_path):
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(MarketError, match="cannot read"):
        load_market(str(path))


@pytest.mark.parametrize("text", ["name: [", "name: {a: b", "\tname: x"])
def test_broken_yaml_is_refused_in_one_line(text):
    with pytest.raises(MarketError, match="my-file: not valid YAML") as refused:
        parse_market(text, "my-file")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "just text", "- a list"])
def test_yaml_that_is_no_mapping_is_refused(text):
    with pytest.raises(MarketError, match="my-file: market: "):
        parse_market(text, "my-file")


WEEK = DATA["hour_of_week"]["shares"]


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("flight", "bugdet"), {"value": 1, "source": "assumed"}, r"flight\.bugdet: Extra inputs"),
        (("currencies",), "USD", "currencies: Extra inputs"),
        (("channels", "rows", 2, "cliks"), 5, r"channels\.rows\.2\.cliks: Extra inputs"),
        (("channels", "rows"), [], r"channels\.rows: Tuple should have at least 1 item"),
        (("channels", "rows", 0, "clicks"), 2e6, "impressions >= clicks >= conversions does not hold"),
        (("channels", "rows", 3, "conversions"), 2e4, "impressions >= clicks >= conversions does not hold"),
        (("channels", "rows", 1, "cost"), 0, r"channels\.rows\.1\.cost: .* greater than 0"),
        (("period_days", "value"), "soon", r"period_days\.value: .* valid number"),
        (("hour_of_week", "shares"), [*WEEK[:6], WEEK[6][:23]], "needs 7 days of 24 shares"),
        (("hour_of_week", "shares"), WEEK[:6], "needs 7 days of 24 shares"),
        (("hour_of_week", "shares", 0, 0), -0.001, "at least 0 and sum to 1"),
        (("hour_of_week", "shares", 0, 0), 0.5, "at least 0 and sum to 1"),
    ],
)
def test_wrong_data_is_refused_with_its_place(path, value, complaint):
    with pytest.raises(MarketError, match=complaint):
        market_from(changed(path, value), "test")


def test_every_mistake_of_a_file_is_reported():
    data = changed(("channels", "rows", 1, "cost"), 0)
    del data["currency"]
    with pytest.raises(MarketError) as refused:
        market_from(data, "my-file")
    assert len(str(refused.value).splitlines()) == 2


def test_shipped_files_are_named_like_their_markets():
    assert [Path(str(PRESETS)) / f"{name}.yaml" for name in market_names()] == sorted(Path(str(PRESETS)).glob("*.yaml"))


def test_a_variant_is_itself_even_after_the_market_was_used():
    market = load_market("airfrance-search")
    used = market.landscape, market.hash
    nominal = market.variant("nominal")
    assert nominal.landscape.day_log_sd == 0.0 and used[0].day_log_sd > 0.0
    assert nominal.hash != used[1]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("flight", "budget", "value"), -1.0),
        (("flight", "budget", "value"), float("nan")),
        (("flight", "max_bid_multiplier", "value"), 1.0),
        (("prices", "log_sd", "value"), 0.0),
        (("prices", "paid_over_bid", "value"), 1.2),
        (("departures", "price_autocorrelation", "value"), 1.5),
        (("departures", "hour_log_sd", "value"), -0.1),
        (("period_days", "value"), 0.0),
    ],
)
def test_numbers_that_no_market_can_have_are_refused(path, value):
    with pytest.raises(MarketError, match=f"m: {path[0]}"):
        market_from(changed(path, value), "m")


def test_a_date_that_is_none_is_an_error_of_the_file():
    with pytest.raises(MarketError, match="not valid YAML"):
        parse_market("description: 2009-13-45", "x")


def test_a_path_object_is_a_path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(DATA))
    assert load_market(path).hash == MARKET.hash


TABLES = load_market("ipinyou-display").model_dump(mode="json", exclude_none=True)
SOCIAL = load_market("kag-social").model_dump(mode="json", exclude_none=True)


def without(data, *keys):
    """A copy of a market's data without one key."""
    data = copy.deepcopy(data)
    del node_at(data, keys[:-1])[keys[-1]]
    return data


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (without(TABLES, "outcomes"), "channels without revenue need `outcomes.order_value`"),
        (
            without(TABLES, "outcomes", "conversion_rate"),
            "channels without conversions need `outcomes.conversion_rate`",
        ),
        (without(SOCIAL, "outcomes"), "channels without revenue need `outcomes.order_value`"),
        (without(TABLES, "prices", "rows", 3), "prices.rows must name the channels in their order"),
        (without(TABLES, "prices", "shares", 0), "rising numbers above 0"),
        (without(TABLES, "prices", "kind"), "prices"),
    ],
)
def test_a_market_that_lacks_something_says_what(data, complaint):
    with pytest.raises(MarketError, match=complaint):
        market_from(data, "m")


def test_historical_return_of_every_market_is_that_of_its_source():
    for name, roas in {"airfrance-search": 6.172, "kag-social": 2.114, "ipinyou-display": 2.805}.items():
        market = load_market(name)
        clicks = np.array([row.clicks for row in market.channels.rows])
        land = market.landscape
        assert (clicks * land.value).sum() / (clicks * land.cpc).sum() == pytest.approx(roas, abs=2e-3)


def test_the_rule_of_the_auction_is_part_of_a_market():
    market = load_market("airfrance-search")
    first = market.variant(auction="first_price")
    assert first.landscape.pricing.first_price and not market.landscape.pricing.first_price
    assert first.hash != market.hash
    assert market.variant(auction="second_price") is market


def test_repr_is_one_short_line_with_the_market_and_its_hash():
    market = load_market("airfrance-search")
    budget = market.flight.budget.value
    shown = f"name='airfrance-search', channels=7, currency='USD', budget={budget}, hash='{market.hash[:12]}'"
    assert repr(market) == f"Market({shown})"
    assert len(f"{market}") < 200
