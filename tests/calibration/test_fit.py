"""What a fit recovers from tables of known markets, and what it does with segments that say too little."""

from dataclasses import replace

import numpy as np
import pytest

from gaelp_ray.calibration import spread
from gaelp_ray.calibration.columns import ColumnChoice
from gaelp_ray.calibration.fit import MIN_CLICKS, SOURCE, estimate, pool
from gaelp_ray.calibration.table import read_table
from gaelp_ray.errors import TableError

HEADER = "Campaign,Impr.,Clicks,Cost,Conversions,Conv. value\n"
BIG = "a,10000,500,600,30,2400\nb,20000,800,700,40,3100\n"


@pytest.fixture(scope="module")
def known(truth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("known")
    return [read_table(truth().write(folder / f"{seed}.csv", seed), ColumnChoice()) for seed in range(3)]


def fitted(known, number):
    return np.mean([number(estimate(table)) for table in known])


def test_rates_of_a_known_market_are_recovered(truth, known):
    table = known[0]
    np.testing.assert_allclose(table.sums(table.clicks) / table.sums(table.impressions), truth().ctr, rtol=0.1)
    rate = table.sums(table.conversions) / table.sums(table.clicks)
    np.testing.assert_allclose(rate, truth().conversion_rate, rtol=0.2)
    value = table.sums(table.revenue) / table.sums(table.conversions)
    np.testing.assert_allclose(value, truth().order_value, rtol=0.1)


def test_prices_of_a_known_market_are_recovered(truth, known):
    # Of a lognormal of this spread, what lies below the bid costs this share of it.
    rng = np.random.default_rng(0)
    prices = np.exp(truth().log_sd * rng.standard_normal(1_000_000))
    paid = prices[prices < truth().bid_over_price].mean() / truth().bid_over_price
    assert fitted(known, lambda found: found.prices.paid_over_bid.value) == pytest.approx(paid, rel=0.03)
    assert fitted(known, lambda found: found.prices.log_sd.value) == pytest.approx(truth().log_sd, rel=0.2)
    assert all(estimate(table).prices.log_sd.source == SOURCE for table in known)


def test_spreads_between_rows_of_a_known_market_are_recovered(truth, known):
    assert fitted(known, lambda found: found.ctr_variation) == pytest.approx(truth().ctr_variation, rel=0.25)
    assert fitted(known, lambda found: found.cpc_variation) == pytest.approx(truth().cpc_variation, rel=0.35)
    rate = fitted(known, lambda found: found.conversion_rate_variation)
    assert rate == pytest.approx(truth().conversion_rate_variation, rel=0.25)
    assert fitted(known, lambda found: found.order_value_shape.value) == pytest.approx(2.0, rel=0.15)


def test_rows_that_differ_by_chance_alone_have_no_spread(truth, tmp_path):
    alike = truth(ctr_variation=0.0, cpc_variation=0.0, conversion_rate_variation=0.0, log_sd=0.4)
    found = estimate(read_table(alike.write(tmp_path / "t.csv"), ColumnChoice()))
    assert found.ctr_variation < 0.06
    assert found.cpc_variation < 0.06
    assert found.conversion_rate_variation < 0.15
    assert found.prices.log_sd.value == pytest.approx(0.4, rel=0.2)


def test_price_spread_inverts_the_variation_of_paid_prices():
    paid, weights = np.array([0.4, 0.1]), np.array([0.3, 0.7])
    variation = float(np.sqrt(weights @ spread.price_variation(np.full(2, 0.7), paid) ** 2))
    assert spread.price_log_sd(spread.PriceVariation(0.0, variation, weights), paid) == pytest.approx(0.7, rel=1e-3)
    together = spread.price_log_sd(spread.PriceVariation(0.2, variation, weights), paid)
    assert together == pytest.approx(np.hypot(0.7, np.sqrt(np.log1p(0.04))), rel=1e-3)


def test_what_a_table_cannot_tell_is_assumed_and_says_so(known):
    table = known[0]
    busy = table.rows(table.clicks > spread.FEW)
    found = estimate(replace(busy, bid=None, revenue=None))
    assert (found.prices.paid_over_bid.source, found.prices.paid_over_bid.value) == ("assumed", 0.35)
    assert (found.prices.log_sd.source, found.prices.log_sd.value) == ("assumed", 0.8)
    assert (found.order_value_shape.source, found.order_value_shape.value) == ("assumed", 2.11486)


def pooled(write, text):
    return pool(read_table(write(HEADER + text), ColumnChoice()))


def test_large_segments_are_channels_as_they_are(write):
    found = pooled(write, BIG)
    assert found.table.segments == ("a", "b")
    assert found.sentences() == []


def test_small_and_unsold_segments_are_pooled(write):
    found = pooled(write, BIG + f"c,900,{MIN_CLICKS - 1},50,3,200\nd,5000,200,150,0,0\ne,10,1,1,1,50\n")
    assert found.table.segments == ("a", "b", "other")
    assert found.table.sums(found.table.clicks)[2] == MIN_CLICKS - 1 + 200 + 1
    assert found.table.clicks.sum() == 500 + 800 + MIN_CLICKS + 200
    assert found.sentences() == [f"pooled into 'other' (fewer than {MIN_CLICKS} clicks, or nothing sold): c, d, e"]


def test_what_does_not_suffice_together_is_left_out_and_named(write):
    found = pooled(write, "c,900,3,2,1,20\n" + BIG + "d,100,2,1,0,0\n")
    assert found.table.segments == ("a", "b")
    assert found.table.clicks.sum() == 1300
    assert found.table.segment.tolist() == [0, 1]
    assert found.sentences() == [f"left out (fewer than {MIN_CLICKS} clicks, or nothing sold, even together): c, d"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,100,0,0,0,0\nb,100,0,0,0,0\n", "no row has a click (Clicks): there is nothing to calibrate"),
        ("a,10000,500,600,30,2400\n", "only one segment, 'a' in Campaign: a market needs two channels or more"),
        ("a,10000,500,600,30,2400\nb,100,5,6,0,0\n", "1 of 2 segments have 50 clicks and a sale"),
        (BIG + "c,900,60,50,61,200\n", "segment 'c' has 61 conversions (Conversions) of 60 clicks"),
    ],
)
def test_tables_that_make_no_market_are_one_line(write, text, said):
    with pytest.raises(TableError) as caught:
        pooled(write, text)
    assert str(caught.value).startswith(f"ads.csv: {said}")


def test_view_through_conversions_of_single_rows_are_welcome(write):
    found = pooled(write, BIG + "a,100,0,0,2,160\n")
    assert found.table.sums(found.table.conversions)[0] == 32


def test_segments_of_three_rows_do_not_hide_how_rows_differ(write):
    rng = np.random.default_rng(0)
    beta = rng.beta(0.05 * 75, 0.95 * 75, 1200)  # coefficient of variation 0.5
    rows = "".join(
        f"s{i // 3},20000,{rng.binomial(20000, ctr)},10,1,80\n" for i, ctr in enumerate(np.maximum(beta, 1e-3))
    )
    assert estimate(read_table(write(HEADER + rows), ColumnChoice())).ctr_variation == pytest.approx(0.5, rel=0.1)
