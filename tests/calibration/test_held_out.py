"""The comparison with held-out campaigns: right where the market is right, loud where it is not, and told by hand."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from gaelp_ray.calibration import ColumnChoice, compare_held_out, read_table, replays
from gaelp_ray.calibration.halves import random_halves
from gaelp_ray.calibration.held_out import HeldOutComparison
from gaelp_ray.calibration.validation import METRICS
from gaelp_ray.errors import ConfigError, MarketError
from gaelp_ray.market import load_market, market_names
from gaelp_ray.market.held_out import NUMBERS
from gaelp_ray.market.keyed_auction import draw_keyed
from gaelp_ray.market.market import market_from
from gaelp_ray.market.validation import Validation

MARKETS = {name: load_market(name) for name in market_names()}
SEARCH, SOCIAL, DISPLAY = (MARKETS[name] for name in ("airfrance-search", "kag-social", "ipinyou-display"))


def held(market, rows, kind="parts"):
    """The market with other held-out campaigns."""
    data = copy.deepcopy(market.model_dump(mode="json", exclude_none=True))
    source = market.held_out.source
    return market_from(data | {"held_out": {"kind": kind, "source": source, "rows": rows}}, "test")


def shares(market, share, factors=None):
    """Of every channel, a part with this share of each sum, times a factor."""
    factors = factors or {}
    rows = []
    for channel in market.channels.rows:
        sums = {name: getattr(channel, name) for name in NUMBERS if getattr(channel, name) is not None}
        part = {name: number * share * factors.get(name, 1.0) for name, number in sums.items()}
        rows.append({"name": f"part of {channel.name}", "channel": channel.name} | part)
    return rows


def column(found: HeldOutComparison, name: str) -> np.ndarray:
    return np.array([row[name] for row in found.rows])


# Four campaigns of two channels; cost and revenue are round so that everything can be worked out by hand.
SMALL = [
    ("a1", "Google - US", 100_000, 5_000, 10_000.0, 50, 60_000.0),
    ("a2", "Google - US", 200_000, 8_000, 12_000.0, 40, 90_000.0),
    ("b1", "Yahoo - US", 50_000, 3_000, 2_000.0, 60, 50_000.0),
    ("b2", "Yahoo - US", 80_000, 30, 50.0, 0, 0.0),
]
SMALL_ROWS = [dict(zip(("name", "channel", *NUMBERS), row, strict=True)) for row in SMALL]


def by_hand(impressions, clicks, cost, conversions, revenue):
    return {"ctr": clicks / impressions, "cpc": cost / clicks, "conversion_rate": conversions / clicks} | {
        "roas": revenue / cost
    }


def small_by_hand():
    """(real, rest) rates of SMALL, worked out without the package's arithmetic."""
    channels = {row.name: [getattr(row, name) for name in NUMBERS] for row in SEARCH.channels.rows}
    real = [by_hand(*row[2:]) for row in SMALL]
    rest = [by_hand(*(c - p for c, p in zip(channels[row[1]], row[2:], strict=True))) for row in SMALL]
    return real, rest


@pytest.mark.parametrize("metric", METRICS)
def test_noise_floors_are_those_worked_out_by_hand(metric):
    found = compare_held_out(held(SEARCH, SMALL_ROWS), samples=20).as_dict()
    real, rest = ([row[metric] for row in side] for side in small_by_hand())
    gaps = [abs(a - b) for a, b in zip(real, rest, strict=True)]
    assert found[f"{metric}_mae_noise_floor"] == pytest.approx(sum(gaps) / 4)
    assert found[f"{metric}_rmse_noise_floor"] == pytest.approx((sum(gap**2 for gap in gaps) / 4) ** 0.5)
    centred = [[x - sum(side) / 4 for x in side] for side in (real, rest)]
    together = sum(a * b for a, b in zip(*centred, strict=True))
    spreads = [sum(x * x for x in side) ** 0.5 for side in centred]
    assert found[f"{metric}_correlation_noise_floor"] == pytest.approx(together / spreads[0] / spreads[1])
    if metric == "roas":
        assert found["roas_accuracy_within_1x_noise_floor"] == sum(gap <= 1.0 for gap in gaps) / 4


def test_figures_of_the_simulation_are_those_of_its_rows():
    found = compare_held_out(held(SEARCH, SMALL_ROWS), samples=20)
    flat = found.as_dict()
    real, rest = small_by_hand()
    for metric in METRICS:
        np.testing.assert_allclose(column(found, f"{metric}_real"), [row[metric] for row in real])
        np.testing.assert_allclose(column(found, f"{metric}_rest"), [row[metric] for row in rest])
        gaps = np.abs(column(found, f"{metric}_simulated") - column(found, f"{metric}_real"))
        assert flat[f"{metric}_mae"] == pytest.approx(gaps.mean())
        assert flat[f"{metric}_rmse"] == pytest.approx(np.sqrt((gaps**2).mean()))
        for error in ("mae", "rmse"):
            floor = flat[f"{metric}_{error}_noise_floor"]
            assert flat[f"{metric}_{error}_ratio"] == pytest.approx(flat[f"{metric}_{error}"] / floor)
    gaps = np.abs(column(found, "roas_simulated") - column(found, "roas_real"))
    assert flat["roas_accuracy_within_1x"] == (gaps <= 1.0).mean()


def test_the_dictionary_is_flat_and_plain():
    flat = compare_held_out(SOCIAL, samples=3).as_dict()
    names = {"market", "campaigns", "samples", "roas_accuracy_within_1x", "roas_accuracy_within_1x_noise_floor"}
    for metric in METRICS:
        names |= {f"{metric}_{error}{end}" for error, end in product(("mae", "rmse"), ("", "_noise_floor", "_ratio"))}
        names |= {f"{metric}_correlation", f"{metric}_correlation_noise_floor", f"{metric}_coverage_90"}
    assert set(flat) == names
    assert (flat.pop("market"), flat.pop("campaigns"), flat.pop("samples")) == ("kag-social", 16, 3)
    assert {type(value) for value in flat.values()} == {float}


def test_a_recorded_floor_replaces_that_of_the_rest():
    recorded = SEARCH.held_out.noise_floor
    found = compare_held_out(SEARCH, 20)
    plain = compare_held_out(held(SEARCH, SEARCH.held_out.model_dump(mode="json")["rows"]), 20)
    for metric in METRICS:
        one, other, floor = (getattr(x, metric) for x in (found, plain, recorded))
        assert (one.mae.value, one.coverage_90) == (other.mae.value, other.coverage_90)
        assert (one.mae.floor, one.correlation.floor) == (floor.mae, floor.correlation)
        assert one.mae.ratio == one.mae.value / floor.mae
        assert one.rmse.value == other.rmse.value and one.rmse.floor is one.rmse.ratio is None
        assert other.mae.floor != floor.mae
    assert found.roas.within_1x.floor == 0.3571


@pytest.mark.parametrize("market", [SEARCH, SOCIAL], ids=lambda market: market.name)
def test_a_part_like_its_channel_is_simulated_as_it_was_up_to_monte_carlo_error(market):
    samples = 2_000
    found = compare_held_out(held(market, shares(market, 0.4)), samples=samples, min_clicks=1)
    # Replicates and the fits that they are drawn at, each with the relative variance 1 / events.
    events = 1 / 0.4 + 1 / 0.6
    clicks = events * np.array([row.clicks for row in market.channels.rows]) ** -1.0
    sold = events * np.array([row.conversions for row in market.channels.rows]) ** -1.0
    price = np.exp(market.prices.log_sd.value**2) - 1.0  # an upper bound: bids cut the dearest prices off
    order = 0.0 if market.outcomes else sold / market.departures.order_value_shape.value
    variances = {"ctr": clicks, "cpc": clicks * price, "conversion_rate": sold, "roas": sold + order + clicks * price}
    for metric, variance in variances.items():
        off = np.log(column(found, f"{metric}_simulated") / column(found, f"{metric}_real"))
        z = off / np.sqrt(variance / samples)
        assert np.abs(z).max() < 4.0, metric
        # Above chance would be a bias, far below it a simulation that draws nothing.
        assert (0.15 if metric in ("cpc", "roas") else 0.4) < np.sqrt((z**2).mean()) < 1.6, metric
        assert getattr(found, metric).coverage_90 == 1.0


def test_a_price_table_is_its_channels_own():
    found = compare_held_out(held(DISPLAY, list(reversed(shares(DISPLAY, 0.4)))), samples=500)
    names = DISPLAY.channel_names[::-1]
    assert list(column(found, "channel")) == names
    # Tables are quantiles: their mean price is not exactly what the channel paid.
    land = DISPLAY.landscape
    won, paid = land.pricing.clearing(np.log(land.bid), land.log_price)
    assert won == pytest.approx(np.array([row.win_rate for row in DISPLAY.prices.rows]))
    np.testing.assert_allclose(column(found, "cpc_simulated"), paid[::-1], rtol=0.02)
    np.testing.assert_allclose(column(found, "ctr_simulated"), column(found, "ctr_real"), rtol=0.02)


def test_prices_per_mille_make_clicks_cheaper_where_more_people_click():
    half = shares(DISPLAY, 0.4, {"clicks": 0.5})
    found = compare_held_out(held(DISPLAY, half), samples=500)
    # 0.4 of the impressions and 0.2 of the clicks are held out: the rest clicks 0.8 / 0.6 times as often.
    land = DISPLAY.landscape
    _, paid = land.pricing.clearing(np.log(land.bid), land.log_price)
    np.testing.assert_allclose(column(found, "ctr_simulated"), land.ctr * 0.8 / 0.6, rtol=0.02)
    np.testing.assert_allclose(column(found, "cpc_simulated"), paid * 0.6 / 0.8, rtol=0.02)


def test_later_campaigns_are_predicted_from_the_whole_channel():
    rows = shares(SEARCH, 2.0)
    found = compare_held_out(held(SEARCH, rows, "later"), samples=50)
    np.testing.assert_allclose(column(found, "roas_rest"), column(found, "roas_real"))
    np.testing.assert_allclose(column(found, "ctr_rest"), SEARCH.landscape.ctr)
    assert found.roas.mae.floor == pytest.approx(0.0, abs=1e-12)


def test_a_rest_that_clicks_half_as_often_is_seen_and_no_fault_of_the_market():
    # A quarter of the impressions with 0.4 of the clicks: the part clicks (0.4 / 0.25) / (0.6 / 0.75) = twice as often.
    found = compare_held_out(held(SEARCH, shares(SEARCH, 0.25, {"clicks": 1.6})), samples=400)
    ratio = column(found, "ctr_simulated") / column(found, "ctr_real")
    np.testing.assert_allclose(ratio, 0.5, rtol=0.01)
    flat = found.as_dict()
    assert flat["ctr_mae"] == pytest.approx(column(found, "ctr_real").mean() / 2, rel=0.01)
    assert flat["ctr_mae_ratio"] == pytest.approx(flat["ctr_mae"] / flat["ctr_mae_noise_floor"])
    assert flat["ctr_mae_ratio"] == pytest.approx(1.0, abs=0.02)
    assert flat["ctr_coverage_90"] == 0.0


def test_a_market_that_charges_too_much_is_seen_and_is_its_fault(monkeypatch):
    calm = held(SOCIAL, SOCIAL.model_dump(mode="json", exclude_none=True)["held_out"]["rows"])
    right = compare_held_out(calm, samples=300).as_dict()

    def dear(*given):
        outcome = draw_keyed(*given)
        return replace(outcome, cost=1.4 * outcome.cost)

    monkeypatch.setattr(replays, "draw_keyed", dear)
    wrong = compare_held_out(calm, samples=300).as_dict()
    assert wrong["cpc_mae_ratio"] > 3.0 * right["cpc_mae_ratio"]
    assert wrong["cpc_mae_noise_floor"] == right["cpc_mae_noise_floor"]
    assert wrong["cpc_coverage_90"] < 0.5 < right["cpc_coverage_90"]
    assert wrong["ctr_mae"] == right["ctr_mae"]


def test_more_samples_leave_less_noise_of_the_simulation():
    market = held(SEARCH, shares(SEARCH, 0.4))

    def noise(samples):
        roas = [column(compare_held_out(market, samples, seed), "roas_simulated") for seed in range(20)]
        return np.std(roas, axis=0).mean()

    assert noise(10) / noise(160) == pytest.approx(4.0, rel=0.3)


def test_a_seed_decides_everything():
    assert compare_held_out(SEARCH, 10, seed=3) == compare_held_out(SEARCH, 10, seed=3)
    assert compare_held_out(SEARCH, 10, seed=3) != compare_held_out(SEARCH, 10, seed=4)


@pytest.mark.parametrize("market", MARKETS.values(), ids=list(MARKETS))
def test_history_was_made_under_second_prices_whatever_is_asked_now(market):
    asked = market.variant("nominal", 1.0, "first_price", conversion_delay=24.0, fatigue_half_life=0.5)
    assert compare_held_out(asked, 10).rows == compare_held_out(market, 10).rows


def test_campaigns_or_rests_of_few_clicks_are_not_compared():
    assert len(compare_held_out(SOCIAL, 5).rows) == 16  # 22 and 16 clicks are left of two channels
    few = compare_held_out(SOCIAL, 5, min_clicks=1)
    assert len(few.rows) == 18
    assert {row["campaign"] for row in few.rows} >= {"half of 916 F", "half of 936 35-39 M"}
    many = compare_held_out(held(SEARCH, SMALL_ROWS), 5, min_clicks=5_000)
    assert list(column(many, "campaign")) == ["a1", "a2"]
    assert many.roas.correlation.value is None


def test_what_cannot_be_measured_is_none():
    shown = compare_held_out(DISPLAY, 20)
    flat = shown.as_dict()
    unknown = {name for name, value in flat.items() if value is None}
    assert unknown == {name for name in flat if name.startswith(("roas", "conversion_rate"))}
    assert {row["roas_simulated"] for row in shown.rows} == {None}
    nothing = compare_held_out(SOCIAL, 20, min_clicks=10**9).as_dict()
    assert (nothing.pop("market"), nothing.pop("campaigns"), nothing.pop("samples")) == (SOCIAL.name, 0, 20)
    assert set(nothing.values()) == {None}


def test_campaigns_whose_conversions_nobody_counted_count_for_ctr_and_cpc_only():
    rows = copy.deepcopy(SMALL_ROWS)
    del rows[0]["conversions"], rows[0]["revenue"]
    found = compare_held_out(held(SEARCH, rows), 20)
    assert found.rows[0]["roas_real"] is None and found.rows[0]["ctr_real"] is not None
    real, rest = small_by_hand()
    gaps = [abs(a["roas"] - b["roas"]) for a, b in zip(real[1:], rest[1:], strict=True)]
    assert found.roas.mae.floor == pytest.approx(np.mean(gaps))


def test_an_assumed_order_value_stands_in_for_revenue_on_both_sides():
    found = compare_held_out(SOCIAL, 50)
    value = SOCIAL.outcomes.order_value.value
    sold, cpc = column(found, "conversion_rate_simulated"), column(found, "cpc_simulated")
    np.testing.assert_allclose(column(found, "roas_simulated"), value * sold / cpc)
    np.testing.assert_allclose(
        column(found, "roas_rest"), value * column(found, "conversion_rate_rest") / column(found, "cpc_rest")
    )


def validated(market, ctr=0.0, cpc=0.0, conversion_rate=0.0):
    """The market with a validation that knows how rows differ."""
    beside = {"value": 1.0, "floor": 1.0}
    metric = {"mae": beside, "rmse": beside, "correlation": beside, "coverage_90": 0.9}
    counts = dict.fromkeys(("rows", "segments", "min_clicks", "splits", "interval_splits", "floor_splits"), 1)
    spread = {"ctr": ctr, "cpc": cpc, "conversion_rate": conversion_rate}
    found = Validation(**counts, replicates=1, seed=0, row_spread=spread, **dict.fromkeys(METRICS, metric))
    return market.model_copy(update={"validation": found})


@pytest.mark.parametrize(("metric", "rows"), [*product(METRICS[:3], (1.0, 16.0))])
def test_campaigns_spread_as_far_as_rows_do_and_less_where_many_average_out(monkeypatch, metric, rows):
    seen = []
    monkeypatch.setattr(replays, "draw_keyed", lambda *given: seen.append(draw_keyed(*given)) or seen[-1])
    parts = [row | {"effective_rows": rows} for row in shares(SEARCH, 0.2)]
    compare_held_out(validated(held(SEARCH, parts), **{metric: 0.4}), samples=2_000)
    campaigns = seen[1]
    pairs = {"ctr": (campaigns.clicks, campaigns.impressions), "cpc": (campaigns.cost, campaigns.clicks)}
    above, below = pairs.get(metric, (campaigns.conversions, campaigns.clicks))
    busy = np.array([row.conversions > 700 for row in SEARCH.channels.rows])
    rate = (above / below)[:, busy]
    # Its own departure and that of the rest it was fitted to, which is four times as many rows; and chance.
    expected = 0.4 * np.sqrt((1 + 1 / 4) / rows)
    chance = np.sqrt((1 / 0.2 + 1 / 0.8) / 797) if metric == "conversion_rate" else 0.02
    found = rate.std(axis=0) / rate.mean(axis=0)
    assert expected * 0.9 < found.min() < found.max() < np.hypot(expected, chance) * 1.1
    own = SEARCH.landscape.conversion_rate if metric == "conversion_rate" else getattr(SEARCH.landscape, metric)
    np.testing.assert_allclose(rate.mean(axis=0), own[busy], rtol=0.05)


def test_a_campaign_is_shown_as_often_as_it_really_was(monkeypatch):
    seen = []
    monkeypatch.setattr(replays, "draw_keyed", lambda *given: seen.append(draw_keyed(*given)) or seen[-1])
    compare_held_out(SEARCH, samples=50)
    real = [row.impressions for row in SEARCH.held_out.rows]
    np.testing.assert_allclose(seen[1].impressions.mean(axis=0), real, rtol=0.01)


def test_where_fewer_people_clicked_in_the_rest_a_click_of_the_campaign_is_dearer(monkeypatch):
    seen = []
    monkeypatch.setattr(replays, "draw_keyed", lambda *given: seen.append(draw_keyed(*given)) or seen[-1])
    compare_held_out(validated(held(DISPLAY, shares(DISPLAY, 0.5)), ctr=0.5), samples=500)
    rest, campaigns = seen
    told = np.log(rest.clicks / rest.impressions)
    paid = np.log(campaigns.cost / campaigns.clicks)
    slopes = [np.polyfit(x, y, 1)[0] for x, y in zip(told.T, paid.T, strict=True)]
    np.testing.assert_allclose(slopes, -1.0, atol=0.1)


@pytest.mark.parametrize("market", [SOCIAL, DISPLAY], ids=lambda market: market.name)
def test_a_rest_of_one_click_is_no_division_by_nothing(market):
    row = market.channels.rows[2]
    part = {"name": "nearly all", "channel": row.name, "impressions": row.impressions / 2, "clicks": row.clicks - 1}
    part |= {"cost": row.cost * 0.99} | ({"conversions": row.conversions} if row.conversions else {})
    found = compare_held_out(held(market, [part]), samples=60, min_clicks=1)
    assert np.isfinite([found.rows[0][f"{name}_simulated"] for name in ("ctr", "cpc")]).all()


def test_without_held_out_campaigns_one_line_says_how_to_get_them():
    with pytest.raises(MarketError) as refused:
        compare_held_out(SEARCH.model_copy(update={"held_out": None}))
    assert str(refused.value).startswith("airfrance-search has no `held_out` campaigns to be compared with: ")
    assert "`gaelp-ray calibrate`" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    with pytest.raises(ConfigError, match="samples: 0: must be at least 1"):
        compare_held_out(SEARCH, samples=0)


@pytest.fixture(scope="module")
def table(truth, tmp_path_factory):
    return read_table(truth(rows=60).write(tmp_path_factory.mktemp("known") / "t.csv"), ColumnChoice())


def test_random_halves_are_sums_of_rows_that_the_note_names(table):
    found = random_halves(table, seed=7)
    half = np.random.default_rng([7, 2]).random(240) < 0.5
    assert "default_rng([7, 2])" in found.note and (found.kind, found.source) == ("parts", "table")
    assert [row.channel for row in found.rows] == list(table.segments)
    for s, row in enumerate(found.rows):
        mine = half & (table.segment == s)
        for name in NUMBERS:
            assert getattr(row, name) == pytest.approx(getattr(table, name)[mine].sum())
        weights = table.clicks[mine] / table.clicks[mine].sum()
        assert row.effective_rows == pytest.approx(1.0 / (weights**2).sum())


def test_halves_that_cannot_be_compared_are_left_out(table):
    assert random_halves(table, seed=0, min_clicks=10**9) is None
    two = table.rows(table.segment < 2)
    assert random_halves(two, seed=0) is None
    # View-through conversions: more sales than clicks in one segment's rows.
    half = np.random.default_rng([0, 2]).random(240) < 0.5
    for rows in (half, ~half):
        many = np.where(rows & (table.segment == 1), 2 * table.clicks, table.conversions)
        found = random_halves(replace(table, conversions=many), seed=0)
        assert [row.channel for row in found.rows] == [name for s, name in enumerate(table.segments) if s != 1]


def test_halves_of_a_table_without_revenue_have_none(table):
    rows = random_halves(replace(table, revenue=None), seed=0).rows
    assert {row.revenue for row in rows} == {None} and min(row.conversions for row in rows) > 0
