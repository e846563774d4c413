"""Real sweeps on real Ray with the real wandb client, as small as they can be."""

from __future__ import annotations

import csv
import json
import math
import re

import pytest

from gaelp_ray.checkpoint import load_model
from gaelp_ray.cli.main import main
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.results import TrialStatus
from gaelp_ray.sweep.store import SweepFolder, load_best
from gaelp_ray.tracking.offline import offline_runs
from gaelp_ray.training import Stream, evaluate, make_untrained, train

METRIC = {"name": "delivered_roas", "goal": "maximize"}
BIDDERS = {
    "method": "grid",
    "metric": METRIC,
    "trial": {"agent_type": "constant", "num_episodes": 16, "batch_size": 16},
    "select": {"episodes": 256, "include_default": False},
}


def leaderboard(result):
    """The numbers of a sweep, without what depends on the clock."""
    rows = json.loads((result.folder.path / "selection.json").read_text())["leaderboard"]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_concurrency_changes_no_number(run):
    keys = {
        "method": "random",
        "metric": METRIC,
        "run_cap": 3,
        "parameters": {"agent_type": {"values": ["PPO", "BayesDual"]}, "dual.shade": {"min": 0.0, "max": 0.3}},
        "trial": {"num_episodes": 32, "batch_size": 16},
        "select": {"top_k": 2, "episodes": 300},
    }
    one_by_one = run("serial", **keys, max_concurrent=1)
    for name, concurrency in {"serial2": {}, "serial4": {"resources": {"cpu": 0.5}, "max_concurrent": 4}}.items():
        together = run(name, **keys, **concurrency)
        renamed = json.loads(json.dumps(leaderboard(together)).replace(f"{name}-", "serial-"))
        assert leaderboard(one_by_one) == renamed


def test_the_near_zero_bidder_has_the_best_roas_and_does_not_win(run):
    result = run(parameters={"constant.bid_multiplier": {"values": [0.02, 1.5]}}, **BIDDERS)
    miser = next(c for c in result.selection.ranking if c.label == "small-00")
    winner = result.selection.winner
    assert winner is not None and winner.label == "small-01"
    assert miser.evaluation.metrics.roas > 5 * winner.evaluation.metrics.roas
    assert "below min_delivery" in result.selection.ineligible["small-00"]
    record = result.folder.read_selection()
    assert "below min_delivery" in record["ineligible"]["small-00"]


def test_a_bidder_that_breaks_a_constraint_is_not_re_flown_first_and_does_not_win(run):
    bounds = {"max_roas": 8.5, "min_cpa": 140}  # lower bids earn more, and buy conversions at 105 and at 132
    rules = {**BIDDERS["select"], "min_delivery": 0.5, "top_k": 2, "constraints": bounds}
    bids = {"constant.bid_multiplier": {"values": [0.35, 0.5, 0.7]}}
    result = run(**BIDDERS | {"parameters": bids, "select": rules})
    assert result.selection.winner is not None and result.selection.winner.label == "small-02"
    record = result.folder.read_selection()
    assert record["constraints"] == bounds
    reason = record["ineligible"]["small-00"]
    assert re.fullmatch(r"roas 11\.\d\d is above max_roas 8\.5 and cpa 10\d\.\d\d is below min_cpa 140", reason)
    with (result.folder.path / "leaderboard.csv").open() as file:
        board = {row["trial"]: row for row in csv.DictReader(file)}
    assert board["small-00"]["ineligible"] == reason and board["small-02"]["ineligible"] == ""
    assert float(board["small-00"]["roas"]) > float(board["small-02"]["roas"])
    assert float(board["small-01"]["search_score"]) > float(board["small-02"]["search_score"])
    assert board["small-01"]["role"] == "not re-flown"
    assert board["small-01"]["ineligible"].startswith("in validation, roas ")


def test_no_eligible_trial_is_said_and_nothing_is_published(sweep_file, tmp_path, capsys, monkeypatch):
    bound = {"select": {**BIDDERS["select"], "constraints": {"max_cpa": 0.01}}}
    path = sweep_file(parameters={"constant.bid_multiplier": {"values": [0.02]}}, **BIDDERS | bound)
    monkeypatch.setattr("sys.argv", ["gaelp-ray", "sweep", str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    printed = capsys.readouterr().out
    delivers, breaks = (
        r"delivers 0\.0\d% of the budget, below min_delivery 90%",
        r"cpa \d+\.\d\d is above max_cpa 0\.01",
    )
    assert re.search(rf"no winner: no eligible trial: small-00 \({delivers}; {breaks}\)\n", printed)
    assert printed.count("batch_size does not apply to constant, which learns nothing\n") == 1
    assert printed.index("batch_size does not") < printed.index("[1/1] small-00")
    folder = SweepFolder.open(tmp_path / "results", "small")
    assert folder.read_selection()["decision"] == "none" and not folder.best.exists()
    (select,) = [r for r in offline_runs(folder.wandb) if r.job_type == "select"]
    assert select.exit_code == 1
    assert all(artifact["type"] != "model" for artifact in select.artifacts)


def test_a_trial_that_raises_is_failed_with_its_reason_and_the_sweep_goes_on(run):
    result = run(
        method="grid",
        metric=METRIC,
        # A batch of one flight has 168 hours, too few for 256 minibatches: PPO refuses in its first update.
        parameters={"ppo.minibatches": {"values": [8, 256]}},
        trial={"num_episodes": 2, "batch_size": 1},
        select={"episodes": 256, "min_delivery": 0.5},
    )
    states = {t.trial: t.status for t in result.trials}
    assert states == {
        "small-default": TrialStatus.COMPLETED,
        "small-00": TrialStatus.COMPLETED,
        "small-01": TrialStatus.FAILED,
    }
    failed = result.trials[-1]
    assert failed.error is not None and failed.error.startswith("TrainingError: a batch of 168 flight hours")
    row = next(r for r in leaderboard(result) if r["trial"] == "small-01")
    assert row["status"] == "failed" and "168 flight hours" in row["error"]
    run_of_it = next(r for r in offline_runs(result.folder.wandb) if r.name == "small-01")
    assert run_of_it.exit_code == 1 and "168 flight hours" in run_of_it.summary["error"]
    assert result.selection.winner is not None


@pytest.fixture
def finished(run):
    return run(
        method="random",
        run_cap=2,
        metric=METRIC,
        parameters={"dual.shade": {"min": 0.0, "max": 0.1}},
        trial={"agent_type": "PPO", "num_episodes": 48, "batch_size": 16},
        select={"episodes": 512},
        tracking={"group": "my-group", "tags": ["first"]},
    )


def test_what_a_sweep_leaves_behind(finished):
    folder = finished.folder.path
    present = {path.name for path in folder.iterdir()}
    expected = {"sweep.yaml", "provenance.json", "selection.json", "leaderboard.csv", "best", "trials", "wandb"}
    assert present == expected
    record = finished.folder.read_selection()
    with (folder / "leaderboard.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [row["trial"] for row in written] == [row["trial"] for row in record["leaderboard"]]
    assert json.loads(written[0]["params"]) == record["leaderboard"][0]["params"]
    model = load_model(finished.folder.best)
    assert model.about["trial"] == record["winner"]["trial"] == finished.selection.winner.label
    # The published weights are the ones that earned the number: flown again, they repeat it.
    again = evaluate(model.agent, model.market, 512, [0, Stream.SELECTION])
    assert again.metrics.roas == record["winner"]["evaluation"]["roas"]
    assert load_best("small", folder.parent).state_dict().keys() == model.agent.state_dict().keys()

    runs = {run.name: run for run in offline_runs(finished.folder.wandb)}
    assert set(runs) == {"small-default", "small-00", "small-01", "small-select"}
    for trial in finished.trials:
        mirrored = runs[trial.trial]
        assert [row["_step"] for row in mirrored.history] == [1, 2, 3]
        assert mirrored.exit_code == 0 and mirrored.job_type == "trial" and mirrored.group == "my-group"
        assert "first" in mirrored.tags
        assert mirrored.config == dict(trial.config) | {"config_id": trial.config_id, "trial": trial.trial}
        assert f"config-{trial.config_id}" in mirrored.tags
        assert mirrored.summary["delivered_roas"] == pytest.approx(trial.score("delivered_roas"))
        assert mirrored.summary["validation/roas"] == pytest.approx(trial.metrics["roas"])
        assert all(math.isfinite(row["performance/roas"]) for row in mirrored.history)
        assert [(row["episode/number"], row["episode/steps"]) for row in mirrored.history] == [
            (16, 168),
            (32, 168),
            (48, 168),
        ]
    # Flown without Ray, the same episodes: their names and numbers are those of the one loop.
    config = GAELPExperimentConfig(**runs["small-00"].config)
    for iteration, row in zip(train(*make_untrained(config), config), runs["small-00"].history, strict=True):
        logged = {name: value for name, value in row.items() if name.startswith("episode/")}
        assert logged == pytest.approx(iteration.as_logged())
    (model_artifact,) = [a for a in runs["small-select"].artifacts if a["type"] == "model"]
    assert model_artifact["name"] == "small-best"
    assert {"best", "small"} <= set(model_artifact["aliases"])
    assert set(model_artifact["files"]) == {"model.npz", "model.json", "card.md"}
    assert runs["small-select"].summary["winner"] == finished.selection.winner.label


def test_seeds_of_a_configuration_are_one_trial_and_a_race_adds_more(run):
    keys = {
        "method": "grid",
        "metric": METRIC,
        "seeds": {"min": 2, "max": 3},
        "parameters": {"constant.bid_multiplier": {"values": [0.5, 1.5]}},
        "trial": {"agent_type": "constant", "num_episodes": 32, "batch_size": 16},
        "select": {"top_k": 1, "episodes": 256, "include_default": False, "min_delivery": 0.5},
    }
    result = run(**keys)
    one, other = result.trials
    assert (len(one.seeds), len(other.seeds)) == (2, 3) if len(one.seeds) == 2 else (3, 2)
    assert one.config_id != other.config_id
    for trial in (one, other):
        assert trial.metrics["flights"] == 256 * len(trial.seeds)
        assert trial.env_steps == 32 * 168 * len(trial.seeds)
        assert len({seed.seed for seed in trial.seeds}) == len(trial.seeds)
    mirrored = {r.name: r for r in offline_runs(result.folder.wandb) if r.job_type == "trial"}
    raced = max((one, other), key=lambda trial: len(trial.seeds))
    assert {"small-00-s0", "small-00-s1", "small-01-s0", "small-01-s1", f"{raced.trial}-s2"} == set(mirrored)
    for name, found in mirrored.items():
        trial = one if name.startswith("small-00") else other
        assert found.config["config_id"] == trial.config_id and f"config-{trial.config_id}" in found.tags
        assert found.config["seed"] in [seed.seed for seed in trial.seeds] and found.exit_code == 0
        assert [row["episode/number"] for row in found.history] == [16, 32]
    row = next(r for r in leaderboard(result) if r["trial"] == raced.trial)
    assert (row["seeds"], row["search_se"]) == (3, pytest.approx(raced.standard_error("delivered_roas")))
    best = max(raced.seeds, key=lambda seed: seed.metrics["delivered_roas"])
    assert raced.checkpoint == best.checkpoint and load_model(result.folder.best).config.seed == best.seed


def test_bayes_runs_as_many_configurations_as_asked_for(run):
    result = run(
        method="bayes",
        run_cap=3,
        metric=METRIC,
        parameters={"constant.bid_multiplier": {"distribution": "log_uniform_values", "min": 0.3, "max": 3.0}},
        trial={"agent_type": "constant", "num_episodes": 16, "batch_size": 16},
        select={"top_k": 1, "episodes": 256},
    )
    values = [t.params.get("constant.bid_multiplier") for t in result.trials]
    assert values[0] is None and len(set(values)) == 4
    assert all(trial.status is TrialStatus.COMPLETED for trial in result.trials)
    assert all(
        t.config["constant"]["bid_multiplier"] == value for t, value in zip(result.trials[1:], values[1:], strict=True)
    )


PPO_TRIALS = {
    "method": "random",
    "run_cap": 4,
    "metric": METRIC,
    "trial": {"agent_type": "PPO", "num_episodes": 96, "batch_size": 16},
    "select": {"top_k": 1, "episodes": 256},
}


def test_trials_that_a_scheduler_stops_are_told_and_not_re_flown(run):
    # One after the other: the first at a rung is never stopped, and a bid that is mostly noise is worse.
    noisy = {"ppo.initial_std": {"values": [0.1, 2.0]}, "ppo.residual_scale": {"value": 5.0}}
    rungs = {"type": "asha", "grace_period": 2, "reduction_factor": 2}
    keys = PPO_TRIALS | {"method": "grid", "scheduler": rungs, "max_concurrent": 1}
    result = run(**keys, parameters=noisy)
    default, good, bad = result.trials
    assert default.status is good.status is TrialStatus.COMPLETED
    assert (bad.status, bad.iterations, bad.error) == (TrialStatus.STOPPED, 2, "by the scheduler at iteration 2")
    assert math.isnan(bad.score("delivered_roas"))
    assert bad.trial not in {c.label for c in result.selection.ranking}
    names = {r.name for r in offline_runs(result.folder.wandb) if r.job_type == "trial"}
    assert names == {trial.trial for trial in result.trials}


def test_a_trial_that_reaches_the_target_ends_the_sweep_and_may_win(run):
    target = {"name": "delivered_roas", "goal": "maximize", "target": 0.5}
    result = run(
        **PPO_TRIALS | {"metric": target, "max_concurrent": 1}, parameters={"ppo.initial_std": {"min": 0.1, "max": 0.2}}
    )
    first = next(t for t in result.trials if t.trial == "small-00")
    assert first.status is TrialStatus.STOPPED and first.error.startswith("metric.target: small-00 reached ")
    assert first.iterations == 1 and first.metrics["flights"] == 256
    assert [t.status for t in result.trials[2:]] == [TrialStatus.INTERRUPTED] * 3
    assert {c.label for c in result.selection.ranking} >= {"small-00", "small-default"}


def test_iterations_are_cut_for_every_trial_which_are_then_complete(run):
    result = run(
        **PPO_TRIALS | {"run_cap": 1, "stop": {"iterations": 2}},
        parameters={"ppo.initial_std": {"min": 0.1, "max": 0.2}},
    )
    assert [(t.status, t.iterations) for t in result.trials] == [(TrialStatus.COMPLETED, 2)] * 2


def test_a_population_tells_who_went_on_from_whom(run, capsys, monkeypatch, tmp_path):
    keys = PPO_TRIALS | {"scheduler": {"type": "pbt", "perturbation_interval": 2, "quantile_fraction": 0.25}}
    result = run(
        **keys, parameters={"learning_rate": {"distribution": "log_uniform_values", "min": 1.0e-4, "max": 1.0e-1}}
    )
    assert all(trial.status is TrialStatus.COMPLETED and trial.iterations == 6 for trial in result.trials)
    lineage = result.folder.read_lineage()
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
