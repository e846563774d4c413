"""How trials end in real sweeps: at the cut, by a scheduler, by an error, by the target; and who went on from whom."""

from __future__ import annotations

import json
import math
from functools import partial

import pytest
from begun_sweeps import begun

from gaelp_ray.cli.main import main
from gaelp_ray.errors import InputError
from gaelp_ray.results import TrialStatus
from gaelp_ray.sweep.pipeline import resume_sweep, run_sweep
from gaelp_ray.tracking.offline import offline_runs

METRIC = {"name": "delivered_roas", "goal": "maximize"}
PPO_TRIALS = {
    "method": "random",
    "run_cap": 4,
    "metric": METRIC,
    "trial": {"agent_type": "PPO", "num_episodes": 96, "batch_size": 16},
    "select": {"top_k": 1, "episodes": 256},
}


def test_a_process_that_uses_ray_already_is_told_so_and_an_earlier_sweep_stays(sweep_file, monkeypatch):
    path = sweep_file(**PPO_TRIALS, parameters={"dual.shade": {"min": 0.0, "max": 0.1}})
    folder = begun(path, 1)
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    for start in (partial(run_sweep, path, overwrite=True), partial(resume_sweep, folder.path)):
        with pytest.raises(InputError, match=r"Ray runs in this process already: call ray\.shutdown\(\) first"):
            start()
    assert (folder.path / "sweep.yaml").is_file() and list(folder.history().plans) == ["small-default"]


@pytest.fixture(scope="module")
def ends(run_once):
    """Five trials, one after the other: at a rung the first is never stopped.

    A bid that is mostly noise is worse than the others. And a batch of one flight has 168 hours, too few for 256
    minibatches: PPO refuses in its first update.
    """
    swept = {"ppo.initial_std": {"values": [0.1, 2.0]}, "batch_size": {"values": [16, 1]}}
    rungs = {"type": "asha", "grace_period": 2, "reduction_factor": 2}
    rules = {"scheduler": rungs, "stop": {"iterations": 4}, "max_concurrent": 1}
    select = {**PPO_TRIALS["select"], "min_delivery": 0.5}
    keys = {name: value for name, value in PPO_TRIALS.items() if name != "run_cap"}
    return run_once(
        **keys | rules | {"method": "grid", "select": select},
        parameters=swept | {"ppo.residual_scale": {"value": 5.0}, "ppo.minibatches": {"value": 256}},
    )


def trial_of(result, std, batch_size):
    (found,) = (
        trial
        for trial in result.trials
        if (trial.params.get("ppo.initial_std"), trial.params.get("batch_size")) == (std, batch_size)
    )
    return found


def mirrored(result):
    return {run.name: run for run in offline_runs(result.folder.wandb) if run.job_type == "trial"}


def test_a_trial_that_raises_is_failed_with_its_reason_and_the_sweep_goes_on(ends):
    assert len(ends.trials) == 5 and ends.selection.winner is not None
    board = json.loads((ends.folder.path / "selection.json").read_text())["leaderboard"]
    runs = mirrored(ends)
    for std in (0.1, 2.0):
        failed = trial_of(ends, std, 1)
        assert failed.status is TrialStatus.FAILED
        assert failed.error is not None and failed.error.startswith("TrainingError: a batch of 168 flight hours")
        row = next(row for row in board if row["trial"] == failed.trial)
        assert row["status"] == "failed" and "168 flight hours" in row["error"]
        assert runs[failed.trial].exit_code == 1 and "168 flight hours" in runs[failed.trial].summary["reason"]
        assert runs[failed.trial].summary["status"] == "failed"
    assert sum(trial.status is TrialStatus.FAILED for trial in ends.trials) == 2


def test_trials_that_a_scheduler_stops_are_told_and_not_re_flown(ends):
    bad = trial_of(ends, 2.0, 16)
    assert (bad.status, bad.iterations, bad.error) == (TrialStatus.STOPPED, 2, "by the scheduler at iteration 2")
    assert math.isnan(bad.score("delivered_roas"))
    assert bad.trial not in {c.label for c in ends.selection.ranking}
    assert mirrored(ends).keys() == {trial.trial for trial in ends.trials}


def test_iterations_are_cut_for_every_trial_which_are_then_complete(ends):
    default, good = ends.trials[0], trial_of(ends, 0.1, 16)
    assert default.is_default
    assert [(trial.status, trial.iterations) for trial in (default, good)] == [(TrialStatus.COMPLETED, 4)] * 2


def test_a_trial_that_reaches_the_target_ends_the_sweep_and_may_win(run):
    target = {"name": "delivered_roas", "goal": "maximize", "target": 0.5}
    result = run(
        **PPO_TRIALS | {"metric": target, "max_concurrent": 1}, parameters={"ppo.initial_std": {"min": 0.1, "max": 0.2}}
    )
    first = next(t for t in result.trials if t.trial == "small-00")
    assert first.status is TrialStatus.STOPPED and first.error.startswith("metric.target: small-00 reached ")
    assert first.iterations == 1 and first.metrics["flights"] == 256
    assert [t.status for t in result.trials[2:]] == [TrialStatus.NOT_STARTED] * 3
    assert {c.label for c in result.selection.ranking} >= {"small-00", "small-default"}


@pytest.mark.slow
def test_a_population_tells_who_went_on_from_whom(run, capsys, monkeypatch, tmp_path):
    keys = PPO_TRIALS | {"scheduler": {"type": "pbt", "perturbation_interval": 2, "quantile_fraction": 0.25}}
    result = run(
        **keys, parameters={"learning_rate": {"distribution": "log_uniform_values", "min": 1.0e-4, "max": 1.0e-1}}
    )
    assert all(trial.status is TrialStatus.COMPLETED and trial.iterations == 6 for trial in result.trials)
    lineage = result.folder.history().lineage
    assert len(lineage) == 2  # after 2 and 4 of 6 batches, one of four
    last = {exploit.trial: exploit for exploit in lineage}
    for name, exploit in last.items():
        trial = next(t for t in result.trials if t.trial == name)
        assert exploit.source != name and exploit.changed["learning_rate"][1] == trial.params["learning_rate"]
        assert trial.config["learning_rate"] == trial.params["learning_rate"]
    monkeypatch.setattr("sys.argv", ["gaelp-ray", "show", "small", "--storage", str(tmp_path / "results")])
    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr().out
    for exploit in lineage:
        assert f"iteration {exploit.iteration}: {exploit.trial} went on from {exploit.source}; learning_rate " in told
