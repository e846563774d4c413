"""The test of the price response on rows of other bids: quiet where the fit is right, loud where it is not."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logit
from synthetic_exports import HEADER, Export

from gaelp_ray.calibration import ColumnChoice, read_table, response
from gaelp_ray.calibration.prices import fit_prices

SPLITS = 6


def response_of(tmp_path, seed=0, columns=HEADER, **truth):
    table = read_table(Export(**truth).write(tmp_path / f"{seed}.csv", seed, columns), ColumnChoice())
    return validated(table)


def validated(table):
    rng = np.random.default_rng(0)
    halves = [rng.random(len(table.clicks)) < 0.5 for _ in range(30)]
    return response.validate_response(table, halves, SPLITS)


def test_a_right_fit_errs_less_than_its_noise_floor(tmp_path):
    found = [response_of(tmp_path, seed) for seed in range(3)]
    assert np.median([one.clicks.mae.ratio for one in found]) < 1.0
    assert np.median([one.cpc.mae.ratio for one in found]) < 1.0
    assert np.mean([one.clicks.coverage_90 for one in found]) > 0.75
    assert np.mean([one.cpc.coverage_90 for one in found]) > 0.75
    assert [row.channel for row in found[0].channels] == list(Export().names)
    for row in found[0].channels:
        assert row.predicted_cpc == pytest.approx(row.cpc, rel=0.08)
        assert row.predicted_clicks == pytest.approx(row.clicks, rel=0.3)


def test_channels_are_compared_with_what_their_rows_did(tmp_path):
    row = response_of(tmp_path).channels[0]
    # High bids are on average exp(2 x 0.8 x 0.3) times the low ones, and win more of a competition that pays 0.72.
    assert row.bids == pytest.approx(np.exp(1.6 * 0.3), rel=0.1)
    export = Export()
    rng = np.random.default_rng(5)
    bids = export.usual_bid * np.exp(0.3 * rng.standard_normal(4000))
    high = bids > export.usual_bid
    won = export.won(0, bids)
    assert row.predicted_clicks == pytest.approx(won[high].mean() / won[~high].mean(), rel=0.15)


def test_one_number_for_all_channels_is_caught(tmp_path, monkeypatch):
    def pooled(table):
        prices = fit_prices(table)
        channels = len(prices.logit_paid)
        return replace(prices, logit_paid=np.full(channels, logit(0.466)), log_log_sd=np.full(channels, np.log(1.25)))

    monkeypatch.setattr(response, "fit_prices", pooled)
    found = response_of(tmp_path)
    assert found.clicks.mae.ratio > 1.5
    assert found.cpc.mae.ratio > 2.0
    assert found.cpc.coverage_90 < 0.5


def test_demand_that_moves_with_the_bid_is_caught_by_clicks_alone(tmp_path):
    found = response_of(tmp_path, demand_follows_bid=1.0)
    assert found.clicks.mae.ratio > 2.0
    assert found.clicks.coverage_90 < 0.3
    assert found.cpc.mae.ratio < 1.0


def test_bids_that_answer_the_competition_are_caught_by_clicks_alone(tmp_path):
    found = response_of(tmp_path, prices_follow_bid=0.5)
    assert found.clicks.mae.ratio > 1.5
    assert found.clicks.coverage_90 < 0.6
    assert found.cpc.mae.ratio < 1.0


@pytest.mark.parametrize(
    ("truth", "columns", "reason"),
    [
        ({}, HEADER[:-1], "no column of bids"),
        ({"bid_log_sd": 0.0}, HEADER, "the bids of a channel do not vary"),
        ({"days": 12}, HEADER, "no channel has 5 rows and 10 clicks at high and at low bids in both halves"),
    ],
)
def test_no_test_says_why(tmp_path, truth, columns, reason):
    found = response_of(tmp_path, columns=columns, **truth)
    assert found.not_tested == reason
    assert (found.clicks, found.cpc, found.channels) == (None, None, ())


def test_rows_without_a_bid_and_channels_without_variation_are_left_out(tmp_path):
    table = read_table(Export().write(tmp_path / "t.csv"), ColumnChoice())
    bid = np.where(table.segment == 1, np.nan, np.where(table.segment == 2, 2.0, table.bid))
    found = validated(replace(table, bid=bid))
    assert [row.channel for row in found.channels] == ["channel 0", "channel 3"]
