"""Rows and curves are arithmetic on what was handed over."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gaelp_ray import GAELPExperimentConfig
from gaelp_ray.tracking.curve import POINTS, lines
from gaelp_ray.tracking.picture import learning_picture
from gaelp_ray.tracking.rows import batch_row, paired_row, summary
from gaelp_ray.tracking.values import number, readable, sift

ROAS = "performance/roas"


def test_one_episode_has_no_trend():
    row = batch_row([{"total_reward": 3.0}], 10, {}).good
    assert row["batch/avg_reward_10ep"] == 3.0
    assert "batch/reward_trend" not in row


def test_a_gap_in_a_batch_shortens_the_mean():
    row = batch_row([{"total_reward": 1.0}, {"total_reward": math.nan}, {}, {"total_reward": 5.0}], 4, {}).good
    assert (row["batch/avg_reward_4ep"], row["batch/episodes"]) == (3.0, 4.0)


def flights(roas, cost):
    return [{"total_revenue": r * c, "total_cost": c} for r, c in zip(roas, cost, strict=True)]


def test_paired_row_is_the_difference_of_pooled_roas():
    ours, theirs = flights([4.0, 2.0], [100.0, 300.0]), flights([3.0, 1.0], [200.0, 200.0])
    row = paired_row(ours, theirs).good
    assert row["batch/roas_vs_bayesdual"] == 2.5 - 2.0
    assert paired_row(ours, ours).good == {"batch/roas_vs_bayesdual": 0.0, "batch/roas_vs_bayesdual_se": 0.0}


def test_paired_row_has_the_standard_error_of_paired_flights():
    dice = np.random.default_rng(0)
    found = []
    for _ in range(1000):
        market, cost = dice.gamma(4.0, 1.0, 40), dice.uniform(50.0, 150.0, 40)
        ours, theirs = (flights(market + dice.normal(gain, 0.5, 40), cost) for gain in (0.3, 0.0))
        found.append(list(paired_row(ours, theirs).good.values()))
    difference, error = np.array(found).T
    assert difference.mean() == pytest.approx(0.3, abs=0.02)
    assert error.mean() == pytest.approx(difference.std(), rel=0.1)  # of each alone, it would be 0.3


def test_paired_row_without_spend_or_of_other_flights_is_not_logged():
    nothing = flights([0.0, 0.0], [0.0, 0.0])
    assert paired_row(nothing, nothing).good == {}
    short = paired_row(nothing, nothing[:1])
    assert (short.good, short.wrong) == ({}, {"batch/roas_vs_bayesdual": "1 episodes of BayesDual for 2 of the agent"})


def test_summary_of_nothing_counts_nothing():
    assert summary([]) == {"total_episodes": 0.0}


def test_pooled_roas_is_of_the_money_not_of_the_episodes():
    episodes = [{"total_cost": 1.0, "total_revenue": 10.0}, {"total_cost": 99.0, "total_revenue": 90.0}]
    assert summary(episodes)["pooled_roas"] == 1.0


def test_curve_has_the_episodes_their_moving_average_and_the_reference():
    rows = [{"episode/number": n, ROAS: float(n * n)} for n in range(1, 41)]
    found = lines(rows, ROAS, {"BayesDual": 7.0})
    assert list(found) == ["episodes", "mean of 10", "BayesDual"]
    assert found["episodes"] == (list(range(1, 41)), [float(n * n) for n in range(1, 41)])
    xs, ys = found["mean of 10"]
    assert (xs[0], xs[-1], len(xs)) == (10.0, 40.0, 31)
    assert ys[0] == pytest.approx(sum(n * n for n in range(1, 11)) / 10)
    assert found["BayesDual"] == ([1.0, 40.0], [7.0, 7.0])
    assert "BayesDual" not in lines([{**row, "x": 1.0} for row in rows], "x", {"BayesDual": 7.0})  # it is a ROAS


def test_reference_that_flew_the_same_episodes_is_averaged_over_the_same_stretch():
    rows = [{"episode/number": n, ROAS: 1.0} for n in range(1, 41)]
    theirs = [{"episode/number": n, ROAS: float(n)} for n in range(1, 41)]
    found = lines(rows, ROAS, {"all": theirs, "every second": theirs[1::2], "other": [{"episode/number": 1}]})
    assert list(found) == ["episodes", "mean of 10", "all", "every second"]
    assert found["all"][0] == [float(n) for n in range(10, 41)]
    assert found["all"][1] == pytest.approx([n - 4.5 for n in range(10, 41)])
    assert found["every second"][0] == [float(n) for n in range(10, 41, 2)]
    assert found["every second"][1] == pytest.approx([n - 4.0 for n in range(10, 41, 2)])


def test_long_curve_has_a_wider_moving_average():
    rows = [{"episode/number": n, "x": 1.0} for n in range(5000)]
    assert list(lines(rows, "x", {})) == ["episodes", "mean of 100"]


def test_picture_is_a_png_with_a_panel_for_each_metric_that_was_measured():
    rows = [{"episode/number": n, "episode/total_reward": 1.0, ROAS: float(n)} for n in range(1, 21)]
    one = Image.open(io.BytesIO(learning_picture(rows[:1], {}, "t")))
    two = Image.open(io.BytesIO(learning_picture(rows, {"BayesDual": rows}, "t")))
    three = Image.open(io.BytesIO(learning_picture([row | {"custom/optimality": 0.5} for row in rows], {}, "t")))
    assert one.format == two.format == three.format == "PNG"
    assert one.height == two.height < three.height


def test_long_curve_is_thinned_and_keeps_its_ends():
    rows = [{"episode/number": n, "x": 1.0} for n in range(10_000)]
    xs, _ = lines(rows, "x", {})["episodes"]
    assert (len(xs), xs[0], xs[-1]) == (POINTS, 0.0, 9999.0)


def test_curve_of_what_no_episode_has_is_empty():
    assert lines([{"episode/number": 1}, {"x": 2.0}], "x", {}) == {}


@pytest.mark.parametrize(
    ("value", "as_float"), [(2, 2.0), (np.int64(3), 3.0), (True, 1.0), (np.bool_(True), 1.0), (np.float32(0.5), 0.5)]
)
def test_numbers_of_every_kind_are_numbers(value, as_float):
    assert number(value) == as_float
    assert sift({"x": value}, "custom").good == {"custom/x": as_float}


@pytest.mark.parametrize("value", ["1", None, [1], 2j, np.complex64(1), 10**400])
def test_everything_else_is_none(value):
    assert math.isnan(number(value))


def test_a_long_wrong_value_is_said_in_short():
    assert len(sift({"x": "a" * 500}, "custom").wrong["custom/x"]) < 60


def test_texts_are_taken_only_where_they_are_facts():
    assert sift({"x": "a"}, "calibration", texts=True).good == {"calibration/x": "a"}
    assert sift({"x": "a"}, "custom").good == {}


def test_readable_is_strict_json_of_anything():
    content = {"a": np.array([1.0, math.nan]), 2: Path("x/y"), "s": {"b", "a"}, "c": GAELPExperimentConfig(seed=5)}
    found = readable(content)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["a"], found["2"], found["s"], found["c"]["seed"]) == ([1.0, None], "x/y", ["a", "b"], 5)
