"""Tune's trials as one result per configuration, seeds pooled, whichever trial flew them."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import stdev

import pytest

from gaelp_ray.records import EpisodeMetrics
from gaelp_ray.results import TrialStatus
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.sweep.search.strategies import as_tune_config
from gaelp_ray.sweep.trials.gathering import Ended, gathered

FILE = """\
name: trip-s1
method: grid
metric: {name: delivered_roas, goal: maximize}
parameters: {dual.shade: {values: [0.0, 0.1]}}
seeds: {min: 2, max: 3}
"""


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "trip.yaml"
    path.write_text(FILE, encoding="utf-8")
    return plan_sweep(path)


def flown(revenue: float, cost: float = 95.0) -> dict[str, float]:
    """256 validation flights."""
    return EpisodeMetrics(256, 256 * 168, 1e4, 100.0, cost, 10.0, revenue, 100.0, revenue, 2000.0).as_dict()


def ended(trial, revenues, error=None, checkpoint="there", **changes):
    """One of Tune's trials, with what each of its seeds earned; no revenues: stopped before its end."""
    config = as_tune_config(trial) | changes
    seeds = [{"seed": s, "validation": flown(r)} for s, r in zip(trial.seeds, revenues, strict=False)]
    metrics = {"iterations": 4, "env_steps": 100, "time_total_s": 2.0, "cpu_seconds": 1.5}
    judged = {"seeds": seeds, "validation": seeds[0]["validation"]} if seeds else {"seeds": None, "validation": None}
    return Ended(config, metrics | judged, Path(checkpoint) if checkpoint else None, error)


class RayError(Exception):
    """What Tune says of a trial that failed: the worker's traceback, or the exception as its cause."""

    cause: BaseException | None = None


def further(trial, seed):
    """The configuration's next seed, in a trial of its own."""
    return type(trial)(f"{trial.name}-s2", trial.params, trial.config, (seed,), trial.is_default, trial.name)


def test_seeds_are_pooled_by_their_sums_and_the_best_one_is_kept(plan):
    trial = plan.trials[1]
    results = gathered(plan, [ended(further(trial, plan.seeds[2]), [700.0]), ended(trial, [500.0, 900.0])], {})
    result = next(r for r in results if r.trial == trial.name)
    assert (result.status, result.config_id, result.error) == (TrialStatus.COMPLETED, trial.config_id, None)
    assert [seed.seed for seed in result.seeds] == list(plan.seeds)
    assert result.metrics["flights"] == 3 * 256 and result.metrics["revenue"] == 2100.0
    assert result.score("roas") == pytest.approx(2100 / 285)
    each = [revenue / 95 for revenue in (500, 900, 700)]
    assert result.standard_error("roas") == pytest.approx(stdev(each) / math.sqrt(3))
    assert result.checkpoint == str(Path("there/seed-1"))
    assert (result.env_steps, result.seconds, result.cpu_seconds, result.iterations) == (200, 4.0, 3.0, 4)


def test_one_seed_has_no_standard_error(plan):
    (result,) = [r for r in gathered(plan, [ended(plan.trials[1], [500.0])], {}) if r.seeds]
    assert math.isnan(result.standard_error("roas"))


def test_results_are_in_the_order_of_the_plan_and_tell_how_trials_ended(plan):
    default, first, second = plan.trials
    found = [
        ended(second, [], error=RayError("a traceback\nKeyError: 'x'")),
        ended(first, []),
    ]
    results = gathered(plan, found, {first.name: "asha at iteration 4"})
    assert [r.trial for r in results] == [default.name, first.name, second.name]
    assert [r.status for r in results] == [TrialStatus.INTERRUPTED, TrialStatus.STOPPED, TrialStatus.FAILED]
    assert [r.error for r in results] == [None, "asha at iteration 4", "KeyError: 'x'"]
    assert results[0].is_default and results[0].params == {} and results[0].metrics is None


def test_the_cause_of_a_failure_is_told_in_one_line(plan):
    error = RayError("a traceback")
    error.cause = ValueError("too much\nand more")
    assert gathered(plan, [ended(plan.trials[1], [], error=error)], {})[1].error == "ValueError: too much"


def test_a_further_seed_that_failed_undoes_nothing(plan):
    trial = plan.trials[2]
    late = ended(further(trial, plan.seeds[2]), [], error=RuntimeError("gone"))
    result = gathered(plan, [late, ended(trial, [500.0, 600.0])], {})[2]
    assert (result.status, result.error, len(result.seeds)) == (TrialStatus.COMPLETED, None, 2)


def test_a_population_ends_with_the_values_that_it_has_moved_to(plan):
    trial = plan.trials[1]
    moved = ended(trial, [500.0, 500.0], params={"dual.shade": 0.07}, config_id="abcdefgh")
    result = gathered(plan, [moved], {})[1]
    assert (result.params, result.config_id) == ({"dual.shade": 0.07}, "abcdefgh")


def test_a_score_that_was_not_measured_is_never_the_best_seed(plan):
    trial = plan.trials[1]
    found = ended(trial, [500.0, 600.0])
    found.metrics["seeds"][1]["validation"] = flown(600.0) | {"delivered_roas": math.nan}
    assert gathered(plan, [found], {})[1].checkpoint == str(Path("there/seed-0"))
