"""Recorded trials as one result per configuration, seeds pooled, whichever trial flew them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from statistics import stdev

import pytest

from gaelp_ray.records import EpisodeMetrics
from gaelp_ray.results import TrialStatus
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.sweep.search.strategies import as_tune_config
from gaelp_ray.sweep.store.journal import End, History
from gaelp_ray.sweep.store.lines import LineWriter
from gaelp_ray.sweep.store.trial_files import TrialFiles
from gaelp_ray.sweep.trials.gathering import gathered

FILE = """\
name: trip-s1
method: grid
metric: {name: delivered_roas, goal: maximize}
parameters: {dual.shade: {values: [0.0, 0.1]}}
seeds: {min: 2, max: 3}
"""

COMPLETED = End("completed")


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "trip.yaml"
    path.write_text(FILE, encoding="utf-8")
    return plan_sweep(path)


def flown(revenue: float, cost: float = 95.0) -> dict[str, float]:
    """256 validation flights."""
    return EpisodeMetrics(256, 256 * 168, 1e4, 100.0, cost, 10.0, revenue, 100.0, revenue, 2000.0).as_dict()


@pytest.fixture
def sweep(plan, tmp_path):
    """A sweep's history and folder, into which trials are written as they ended."""
    history = History()

    def ended(trial, revenues=(), end=COMPLETED, checkpoint=4, moved=None, **report):
        """What each of its seeds earned; no revenues: it did not come to its end. moved: its plan in a population."""
        proposed = json.loads(json.dumps(as_tune_config(trial)))
        history.plans[trial.name] = proposed
        if end:
            history.ends[trial.name] = end
        files = TrialFiles(tmp_path, trial.name)
        seeds = [{"seed": s, "validation": flown(r)} for s, r in zip(trial.seeds, revenues, strict=False)] or None
        last = {"iterations": 4, "env_steps": 100, "seconds": 2.0, "cpu_seconds": 1.5, "seeds": seeds} | report
        with LineWriter(files.record) as lines:
            lines.append({"plan": proposed})
            for iteration in range(1, 5):
                lines.append({"iteration": iteration, "report": last if iteration == 4 else {"iterations": iteration}})
            if moved:
                lines.append({"plan": proposed | moved})
        if checkpoint:
            files.save(checkpoint, lambda folder: None)

    ended.results = lambda: gathered(plan, history, tmp_path)
    ended.checkpoint = lambda name, seed: str(TrialFiles(tmp_path, name).checkpoint(4) / f"seed-{seed}")
    ended.history = history
    return ended


def further(trial, seed):
    """The configuration's next seed, in a trial of its own."""
    return replace(trial, name=f"{trial.name}-s2", seeds=(seed,), further_of=trial.name)


def test_seeds_are_pooled_by_their_sums_and_the_best_one_is_kept(plan, sweep):
    trial = plan.trials[1]
    sweep(further(trial, plan.seeds[2]), [700.0])
    sweep(trial, [500.0, 900.0])
    result = next(r for r in sweep.results() if r.trial == trial.name)
    assert (result.status, result.config_id, result.error) == (TrialStatus.COMPLETED, trial.config_id, None)
    assert [seed.seed for seed in result.seeds] == list(plan.seeds)
    assert result.metrics["flights"] == 3 * 256 and result.metrics["revenue"] == 2100.0
    assert result.score("roas") == pytest.approx(2100 / 285)
    each = [revenue / 95 for revenue in (500, 900, 700)]
    assert result.standard_error("roas") == pytest.approx(stdev(each) / math.sqrt(3))
    assert result.checkpoint == sweep.checkpoint(trial.name, 1)
    assert (result.env_steps, result.seconds, result.cpu_seconds, result.iterations) == (200, 4.0, 3.0, 4)


def test_one_seed_has_no_standard_error(plan, sweep):
    sweep(plan.trials[1], [500.0])
    (result,) = [r for r in sweep.results() if r.seeds]
    assert math.isnan(result.standard_error("roas"))


def test_results_are_in_the_order_of_the_plan_and_tell_how_trials_ended(plan, sweep):
    default, first, second = plan.trials
    sweep(second, end=End("failed", "KeyError: 'x'", "exception"))
    sweep(first, end=End("stopped", "asha at iteration 4"))
    results = sweep.results()
    assert [r.trial for r in results] == [default.name, first.name, second.name]
    assert [r.status for r in results] == [TrialStatus.NOT_STARTED, TrialStatus.STOPPED, TrialStatus.FAILED]
    assert [r.error for r in results] == [None, "asha at iteration 4", "KeyError: 'x'"]
    assert results[0].is_default and results[0].params == {} and results[0].metrics is None
    assert results[0].checkpoint is None and results[1].metrics is None and results[1].iterations == 4
    assert results[1].checkpoint == str(sweep.checkpoint(first.name, 0)).removesuffix("/seed-0")  # all of its seeds


def test_a_trial_without_an_end_was_interrupted_where_its_record_ends(plan, sweep):
    sweep(plan.trials[1], end=None, checkpoint=None, iterations=3)
    result = sweep.results()[1]
    assert (result.status, result.iterations, result.checkpoint) == (TrialStatus.INTERRUPTED, 3, None)


def test_a_trial_that_was_only_proposed_has_not_started(plan, sweep):
    sweep.history.plans["trip-s1-00"] = json.loads(json.dumps(as_tune_config(plan.trials[1])))
    result = sweep.results()[1]
    assert (result.status, result.iterations, result.env_steps, result.seeds) == (TrialStatus.NOT_STARTED, 0, 0, ())


def test_a_further_seed_that_failed_undoes_nothing(plan, sweep):
    trial = plan.trials[2]
    sweep(further(trial, plan.seeds[2]), end=End("failed", "gone"))
    sweep(trial, [500.0, 600.0])
    result = sweep.results()[2]
    assert (result.status, result.error, len(result.seeds)) == (TrialStatus.COMPLETED, None, 2)


def test_a_population_ends_with_the_values_that_it_has_moved_to(plan, sweep):
    trial = plan.trials[1]
    sweep(trial, [500.0, 500.0], moved={"params": {"dual.shade": 0.07}, "config_id": "abcdefgh"})
    result = sweep.results()[1]
    assert (result.params, result.config_id) == ({"dual.shade": 0.07}, "abcdefgh")


def test_ratios_that_an_older_record_lacks_follow_from_its_sums(plan, sweep):
    trial = plan.trials[1]
    older = {name: value for name, value in flown(500.0).items() if not name.startswith("expected_")}
    older["expected_revenue"] = flown(500.0)["expected_revenue"]
    sweep(trial, seeds=[{"seed": trial.seeds[0], "validation": older}])
    result = sweep.results()[1]
    assert result.seeds[0].metrics == flown(500.0)
    assert result.score("delivered_roas") == flown(500.0)["expected_delivered_roas"]


def test_a_score_that_was_not_measured_is_never_the_best_seed(plan, sweep):
    trial = plan.trials[1]
    worst = {"seed": trial.seeds[1], "validation": flown(600.0) | {"expected_revenue": math.nan}}
    sweep(trial, seeds=[{"seed": trial.seeds[0], "validation": flown(500.0)}, worst])
    assert sweep.results()[1].checkpoint == sweep.checkpoint(trial.name, 0)
