"""The validation: honest about good calibrations, and loud about bad ones."""

from dataclasses import replace

import numpy as np
import pytest

from gaelp_ray.calibration import simulation, validation
from gaelp_ray.calibration.columns import ColumnChoice
from gaelp_ray.calibration.table import read_table
from gaelp_ray.calibration.validation import METRICS, rates, sums, validate
from gaelp_ray.market.keyed_auction import draw_keyed

ERRORS = ("mae", "rmse")


@pytest.fixture(scope="module")
def table(truth, tmp_path_factory):
    """800 rows of eight segments."""
    twice = truth(
        ctr=(0.02, 0.04, 0.03, 0.06) * 2,
        log_price=(0.0, 0.4, -0.3, 0.2) * 2,
        conversion_rate=(0.05, 0.1, 0.2, 0.08) * 2,
        order_value=(80.0, 120.0, 60.0, 100.0) * 2,
        rows=100,
    )
    return read_table(twice.write(tmp_path_factory.mktemp("known") / "t.csv"), ColumnChoice())


@pytest.fixture(scope="module")
def found(table):
    return validate(table, seed=1)


def test_a_right_model_is_as_good_as_more_data(found):
    for metric in METRICS:
        for error in ERRORS:
            figure = getattr(getattr(found, metric), error)
            assert figure.ratio == pytest.approx(figure.value / figure.floor)
            assert 0.75 < figure.ratio < 1.3
    assert (found.rows, found.segments, found.splits, found.replicates) == (800, 8, 20, 200)


def test_intervals_of_a_right_model_cover_what_they_should(found):
    covered = [getattr(found, metric).coverage_90 for metric in METRICS]
    assert min(covered) > 0.78
    assert 0.83 < np.mean(covered) < 0.96


def test_the_share_within_1x_is_of_roas_alone(found):
    assert 0.0 < found.roas.within_1x.value <= 1.0
    assert 0.0 < found.roas.within_1x.floor <= 1.0
    assert [getattr(found, metric).within_1x for metric in METRICS[:3]] == [None] * 3


def test_a_seed_decides_everything(table):
    small = table.rows(np.arange(len(table.clicks)) % 4 == 0)
    assert validate(small, seed=3) == validate(small, seed=3)
    assert validate(small, seed=3) != validate(small, seed=4)


def test_a_model_that_charges_too_much_is_caught(table, monkeypatch):
    def dear(*given):
        outcome = draw_keyed(*given)
        return replace(outcome, cost=1.15 * outcome.cost)

    monkeypatch.setattr(simulation, "draw_keyed", dear)
    found = validate(table, seed=1)
    assert found.cpc.mae.ratio > 2.0
    assert found.cpc.coverage_90 < 0.7
    assert found.ctr.mae.ratio < 1.3


def test_a_model_whose_rows_are_all_alike_is_caught(table, monkeypatch):
    real = simulation.estimate
    alike = {"ctr_variation": 0.0, "cpc_variation": 0.0, "conversion_rate_variation": 0.0}
    monkeypatch.setattr(simulation, "estimate", lambda seen: replace(real(seen), **alike))
    assert validate(table, seed=1).ctr.coverage_90 < 0.8


def test_an_order_value_stands_in_for_revenue_and_brings_no_noise(table):
    some = replace(table.rows(np.arange(len(table.clicks)) % 3 == 0), revenue=None)
    found = validate(some, order_value=50.0)
    assert 0.7 < found.roas.mae.ratio < 1.4
    np.testing.assert_allclose(sums(some, 50.0)[4], 50.0 * some.sums(some.conversions))


def test_replicates_scatter_around_the_unseen_rows_own_exposure(table):
    half = np.arange(len(table.clicks)) % 2 == 0
    drawn = simulation.replicates_of(np.random.default_rng(0), table.rows(half), table.rows(~half), None, 60)
    assert drawn.shape == (60, 5, 8)
    unseen = table.rows(~half)
    np.testing.assert_allclose(drawn[:, 0].mean(axis=0), unseen.sums(unseen.impressions), rtol=0.01)
    told, seen = rates(drawn.sum(axis=0)), rates(sums(table.rows(half), None))
    np.testing.assert_allclose(told, seen, rtol=0.15)


def test_chunks_change_nothing_but_memory(table, monkeypatch):
    monkeypatch.setattr(simulation, "CHUNK", 1)
    drawn = simulation.replicates_of(np.random.default_rng(0), table, table, None, 5)
    assert drawn.shape == (5, 5, 8)


def test_segments_with_few_clicks_in_a_half_are_not_compared(table, monkeypatch):
    monkeypatch.setattr(validation, "SPLITS", 2)
    found = validate(table.rows(table.segment < 3), min_clicks=25)
    assert found.segments == 3
    nothing = validate(table.rows(table.segment < 3), min_clicks=10**9)
    assert nothing.segments == 0
    assert nothing.roas.mae.value is None
    assert nothing.roas.mae.ratio is None
    assert nothing.roas.coverage_90 is None


def test_rates_of_nothing_are_nan():
    assert np.isnan(rates(np.zeros((5, 2)))).all()
