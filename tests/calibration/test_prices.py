"""The price response of exports whose channels answer the bid in different ways, against the truth of each."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic_exports import HEADER, Export

from gaelp_ray.calibration import ColumnChoice, Wishes, calibrate, read_table, validation
from gaelp_ray.calibration.prices import fit_prices
from gaelp_ray.calibration.spread import FEW
from gaelp_ray.market.landscape import lognormal_competition


def table_of(tmp_path, seed=0, columns=HEADER, **truth):
    return read_table(Export(**truth).write(tmp_path / f"{seed}.csv", seed, columns), ColumnChoice())


def clicks_at_double_bid(table, prices, bids=None):
    """(calibrated, bids at which): clicks at twice the calibrated historical bid in units of those at it."""
    competition = lognormal_competition(
        table.sums(table.cost) / table.sums(table.clicks), prices.paid_over_bids, prices.log_sds
    )
    x = np.log(competition.bid) - competition.log_price
    return competition.shape.win(x + np.log(2.0)) / competition.shape.win(x), competition.bid


def test_calibrated_market_file_answers_doubled_bids_as_each_channel_does(tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "SPLITS", 2)
    monkeypatch.setattr(validation, "FLOOR_SPLITS", 4)
    market = calibrate(Export().write(tmp_path / "ads.csv"), ColumnChoice(), Wishes("m")).market
    land = market.landscape
    x = np.log(land.bid) - land.log_price
    found = land.pricing.shape.win(x + np.log(2.0)) / land.pricing.shape.win(x)
    # Bids of a market file are click-weighted, above the usual bid where high bids buy more.
    np.testing.assert_allclose(found, Export().clicks_at_double_bid(), rtol=0.15)
    np.testing.assert_allclose(land.cpc / land.bid, Export().paid_over_bid, rtol=0.05)


@pytest.mark.parametrize("truth", [{}, {"log_sd": 0.4}, {"log_sd": 1.2}, {"days": 40, "clicks": 200.0}], ids=str)
def test_clicks_at_double_bid_per_channel_are_close_to_the_truth(tmp_path, truth):
    export = Export(**truth)
    for seed in range(2):
        table = table_of(tmp_path, seed, **truth)
        found, bids = clicks_at_double_bid(table, fit_prices(table))
        true = [export.won(s, 2.0 * bid) / export.won(s, bid) for s, bid in enumerate(bids)]
        np.testing.assert_allclose(found, true, rtol=0.12)
    assert true[0] > 1.3 * true[2]


def test_constant_bids_identify_paid_over_bid_of_each_channel(tmp_path):
    prices = fit_prices(table_of(tmp_path, bid_log_sd=0.0))
    np.testing.assert_allclose(prices.paid_over_bids, Export().paid_over_bid, rtol=0.02)
    assert (prices.log_sd.value, prices.log_sd.source) == (0.8, "assumed")
    np.testing.assert_allclose(prices.log_sds, 0.8)


def test_days_of_few_clicks_identify_log_sd_of_channels_that_pay_different_shares(tmp_path):
    table = table_of(tmp_path, bid_log_sd=0.0, clicks=5.0, days=300)
    assert (table.clicks <= FEW).mean() > 0.9
    prices = fit_prices(table)
    assert prices.log_sd.note.startswith("from CPC against clicks per row")
    assert prices.log_sd.value == pytest.approx(Export().log_sd, rel=0.15)


def test_log_sd_at_different_bids_is_not_moved_by_demand_that_follows_the_bid(tmp_path):
    prices = fit_prices(table_of(tmp_path, demand_follows_bid=1.5))
    np.testing.assert_allclose(prices.log_sds[:3], Export().log_sd, rtol=0.12)


def test_bids_of_different_rows_without_days_do_not_identify_log_sd(tmp_path):
    table = table_of(tmp_path)
    assert fit_prices(table).log_sd.note == "from CPC against bids that differ from day to day"
    assert fit_prices(replace(table, day=None)).log_sd.source == "assumed"
    several_a_day = replace(table, day=table.day // 2)
    assert fit_prices(several_a_day).log_sd.source == "assumed"


def test_a_channel_of_few_rows_is_shrunk_towards_the_others(tmp_path):
    table = table_of(tmp_path, days=150, clicks=15.0)
    few = (table.segment != 0) | (np.arange(len(table.clicks)) < 2)
    whole, shrunk = fit_prices(table), fit_prices(table.rows(few))
    common, true = shrunk.paid_over_bid.value, whole.paid_over_bids[0]
    assert common < shrunk.paid_over_bids[0] < true + 0.05
    assert shrunk.logit_paid_variance[0] > 10.0 * whole.logit_paid_variance[0]
    np.testing.assert_allclose(shrunk.paid_over_bids[1:], whole.paid_over_bids[1:], rtol=0.03)


def test_a_channel_without_bids_gets_the_mean_of_the_others(tmp_path):
    table = table_of(tmp_path)
    prices = fit_prices(replace(table, bid=np.where(table.segment == 1, np.nan, table.bid)))
    assert prices.paid_over_bids[1] == pytest.approx(prices.paid_over_bid.value)
    assert prices.paid_over_bids[0] > 0.65 and prices.paid_over_bids[3] < 0.13
    assert 0.6 < prices.log_sds[1] < 0.9


def test_one_row_per_channel_is_trusted_as_far_as_its_clicks_go(tmp_path):
    table = table_of(tmp_path, bid_log_sd=0.0).rows(np.arange(480) % 12 == 0)
    alone = replace(table, segment=np.arange(40), segments=tuple(map(str, range(40))))
    prices = fit_prices(alone)
    np.testing.assert_allclose(prices.paid_over_bids.reshape(4, 10).mean(axis=1), Export().paid_over_bid, rtol=0.15)
    own = alone.cost / alone.clicks / alone.bid
    assert np.std(prices.paid_over_bids[:10]) < np.std(own[:10])


def test_without_bids_prices_are_assumed_and_alike(tmp_path):
    prices = fit_prices(table_of(tmp_path, columns=HEADER[:-1]))
    assert (prices.paid_over_bid.value, prices.paid_over_bid.source) == (0.35, "assumed")
    assert not prices.has_bids
    np.testing.assert_allclose(prices.paid_over_bids, 0.35)
