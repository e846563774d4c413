"""W&B's hyperband by hand. Every history below is of a metric that is minimised, unless it says otherwise."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from gaelp_ray.sweep.format.blocks import EarlyTerminate
from gaelp_ray.sweep.search.early_terminate import EarlyTermination, is_stopped, threshold


def rule(**keys):
    return EarlyTerminate(type="hyperband", **keys)


TWO_BANDS = {"max_iter": 18, "eta": 3, "s": 2}  # 2 and 6; of two trials at a band, the better one passes


@pytest.mark.parametrize(
    ("keys", "bands"),
    [
        ({"max_iter": 81, "eta": 3, "s": 3}, (3, 9, 27)),
        (TWO_BANDS, (2, 6)),
        ({"max_iter": 8, "eta": 2, "s": 2}, (2, 4)),
        ({"min_iter": 3}, (3, 9, 27, 81)),
        ({"min_iter": 2, "eta": 1.5}, (2, 3, 4, 6)),  # 2, 3, 4.5, 6.75
    ],
)
def test_bands(keys, bands):
    assert rule(**keys).bands[: len(bands)] == bands


def test_nobody_is_judged_below_the_first_band():
    assert not is_stopped(rule(min_iter=3), [9.0, 9.0], [[9.0, 9.0], [1.0, 1.0, 1.0]])


@pytest.mark.parametrize("strict", [False, True])
def test_the_first_at_a_band_is_not_stopped(strict):
    ahead = [1.0, 9.0]
    others = [[0.0], [0.0]]  # better, but not there yet
    assert not is_stopped(rule(**TWO_BANDS, strict=strict), ahead, [ahead, *others])


@pytest.mark.parametrize(
    ("values", "worst_that_passes"),
    [([5], 5), ([5, 4], 4), ([5, 4, 3], 4), ([5, 4, 3, 2, 1], 2), ([5, 4, 3, 2, 1, 0], 2)],  # int(n / 3) from the best
)
def test_the_threshold_is_that_of_the_best_third(values, worst_that_passes):
    assert threshold(rule(min_iter=1), 1, [[value] for value in values]) == worst_that_passes


def test_the_threshold_rounds_as_in_wandb():
    everyone = [[float(value)] for value in range(49)]
    assert threshold(rule(min_iter=1, eta=49), 1, everyone) == 0.0  # 1/49 * 49 is just below 1


def test_values_are_compared_at_the_band_and_a_tie_passes():
    one, two, three = [3.0, 2.0], [3.0, 2.0, 0.0], [3.0, 1.0]
    everyone = [one, two, three]  # at band 2: 1, 2, 2, of which number int(3 / 3)
    assert threshold(rule(**TWO_BANDS), 2, everyone) == 2.0
    assert not is_stopped(rule(**TWO_BANDS), one, everyone)
    worse = [3.0, 2.1]
    assert is_stopped(rule(**TWO_BANDS), worse, [worse, *everyone])


def test_strict_looks_at_the_band_and_otherwise_the_best_value_counts():
    rival = [5.0, 1.0]
    early_luck = [0.5, 7.0]
    late_bloomer = [5.0, 7.0, 0.5]
    for history in (early_luck, late_bloomer):
        assert not is_stopped(rule(**TWO_BANDS), history, [history, rival])
        assert is_stopped(rule(**TWO_BANDS, strict=True), history, [history, rival])
    never_good = [5.0, 7.0]
    assert is_stopped(rule(**TWO_BANDS), never_good, [never_good, rival])


def test_the_highest_band_that_was_reached_decides():
    late, steady = [9.0, 9.0, 9.0, 9.0, 9.0, 1.0], [2.0] * 6
    strict = rule(**TWO_BANDS, strict=True)
    assert not is_stopped(strict, late, [late, steady])
    assert is_stopped(strict, late[:5], [late[:5], steady])
    assert is_stopped(strict, steady, [late, steady])


def test_the_first_may_be_stopped_once_better_ones_have_come():
    first, second = [5.0, 5.0, 5.0], [4.0, 4.0]
    assert is_stopped(rule(**TWO_BANDS), first, [first, second])


def test_nothing_measured_is_the_worst_value():
    blind, seeing = [math.inf, math.inf], [9.0, 9.0]
    assert is_stopped(rule(**TWO_BANDS), blind, [blind, seeing])
    assert not is_stopped(rule(**TWO_BANDS), blind, [blind])


def reports(scheduler, trial, **values):
    """Decisions at iterations 1, 2, ..., or at those that a name like `at3` says."""
    return [
        scheduler.on_trial_result(
            None, SimpleNamespace(trial_id=trial), {"score": value, "training_iteration": int(name[2:])}
        )
        for name, value in values.items()
    ]


def test_the_scheduler_keeps_histories_and_knows_the_goal():
    better, worse = {"at1": 1.0, "at2": 2.0}, {"at1": 1.0, "at2": 1.5}
    maximise = EarlyTermination(rule(**TWO_BANDS), "score", "max")
    assert reports(maximise, "a", **better) == ["CONTINUE", "CONTINUE"]
    assert reports(maximise, "b", **worse) == ["CONTINUE", "STOP"]
    minimise = EarlyTermination(rule(**TWO_BANDS), "score", "min")
    assert reports(minimise, "a", **worse) == reports(minimise, "b", **worse) == ["CONTINUE", "CONTINUE"]
    assert reports(minimise, "c", at1=2.0, at2=2.0) == ["CONTINUE", "STOP"]


def test_a_restored_trial_reports_iterations_again():
    scheduler = EarlyTermination(rule(**TWO_BANDS), "score", "max")
    reports(scheduler, "a", at1=1.0, at2=9.0)
    assert reports(scheduler, "b", at1=1.0, at2=1.0)[-1] == "STOP"
    assert reports(scheduler, "b", at2=9.0) == ["CONTINUE"]  # as good as a, and no value of before is left
    assert reports(scheduler, "c", at2=1.0) == ["STOP"]  # the first report was lost
