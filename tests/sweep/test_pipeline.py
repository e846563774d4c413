"""Real sweeps on real Ray with the real wandb client, as small as they can be."""

from __future__ import annotations

import csv
import json
import math
import re
from contextlib import redirect_stdout
from io import StringIO

import pytest
from small_sweep import written

from gaelp_ray.checkpoint import load_model, plain
from gaelp_ray.cli.main import main
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.retrieval import load_best
from gaelp_ray.sweep.store.folder import SweepFolder
from gaelp_ray.tracking.offline import offline_runs
from gaelp_ray.training import Stream, evaluate, make_untrained, train
from gaelp_ray.worlds import market_named, reference_for

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


@pytest.mark.slow
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
    together = run("four", **keys, resources={"cpu": 0.5}, max_concurrent=4)
    assert leaderboard(one_by_one) == json.loads(json.dumps(leaderboard(together)).replace("four-", "serial-"))


BOUNDS = {"max_roas": 9.0, "min_cpa": 140}


@pytest.fixture(scope="module")
def bids(run_once):
    """Four bids that are scored by ROAS alone: lower ones earn more, and buy conversions at 105 and at 132."""
    rules = {**BIDDERS["select"], "min_delivery": 0.5, "top_k": 3, "constraints": BOUNDS}
    keys = {"metric": {"name": "roas", "goal": "maximize"}, "select": rules, "max_concurrent": 1}
    return run_once(**BIDDERS | keys, parameters={"constant.bid_multiplier": {"values": [0.35, 0.5, 0.7, 0.02]}})


def test_repr_of_a_sweeps_result_is_one_short_line(bids):
    winner = bids.selection.winner
    interval, score = winner.evaluation.score_interval, winner.evaluation.metrics.expected_delivered_roas
    shown = f"small-02: expected delivered ROAS {score:.3f} [{interval.low:.3f}, {interval.high:.3f}], ROAS "
    assert repr(bids).startswith(f"<SweepResult small: {bids.selection.decision}, {shown}")
    assert repr(bids).endswith("%; trials: 4 completed>")
    assert len(repr(bids)) < 200
    for part in (*bids.trials, *bids.selection.ranking, bids.selection):
        assert len(repr(part)) < 200


def test_the_near_zero_bidder_has_the_best_roas_and_does_not_win(bids):
    miser = next(c for c in bids.selection.ranking if c.label == "small-03")
    winner = bids.selection.winner
    assert winner is not None and winner.label == "small-02"
    assert miser.evaluation.metrics.roas > 5 * winner.evaluation.metrics.roas
    assert "below min_delivery" in bids.selection.ineligible["small-03"]
    record = bids.folder.read_selection()
    assert "below min_delivery" in record["ineligible"]["small-03"]


def test_a_bidder_that_breaks_a_constraint_is_not_re_flown_first_and_does_not_win(bids):
    assert bids.selection.winner is not None and bids.selection.winner.label == "small-02"
    record = bids.folder.read_selection()
    assert record["constraints"] == BOUNDS
    reason = record["ineligible"]["small-00"]
    assert re.fullmatch(r"roas 11\.\d\d is above max_roas 9(\.0)? and cpa 10\d\.\d\d is below min_cpa 140", reason)
    with (bids.folder.path / "leaderboard.csv").open() as file:
        board = {row["trial"]: row for row in csv.DictReader(file)}
    assert board["small-00"]["ineligible"] == reason and board["small-02"]["ineligible"] == ""
    assert float(board["small-00"]["roas"]) > float(board["small-02"]["roas"])
    assert float(board["small-01"]["search_score"]) > float(board["small-02"]["search_score"])
    assert board["small-01"]["role"] == "not re-flown"
    assert board["small-01"]["ineligible"].startswith("in validation, cpa ")


@pytest.fixture(scope="module")
def nobody(tmp_path_factory):
    """(folder, exit code, what was printed) of a command: bayes proposes bids near zero, and no arm may win."""
    bound = {"select": {"top_k": 1, "episodes": 256, "constraints": {"max_cpa": 0.01}}}
    bids = {"distribution": "log_uniform_values", "min": 0.01, "max": 0.02}
    keys = {"method": "bayes", "run_cap": 3, "parameters": {"constant.bid_multiplier": bids}}
    path = written(tmp_path_factory.mktemp("nobody"), **BIDDERS | keys | bound)
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(StringIO()) as printed:
        patched.setattr("sys.argv", ["gaelp-ray", "sweep", str(path)])
        with pytest.raises(SystemExit) as ended:
            main()
    return SweepFolder.open(path.parent / "results", "small"), ended.value.code, printed.getvalue()


def test_no_eligible_trial_is_said_and_nothing_is_published(nobody):
    folder, code, printed = nobody
    assert code == 1
    breaks = r"cpa \d+\.\d\d is above max_cpa 0\.01"
    near_zero, default = (
        rf"delivers {share}% of the budget, below min_delivery 95%" for share in (r"0\.0\d", r"6\d\.\d\d")
    )
    arms = rf"small-default \({default}; {breaks}\), small-0\d \({near_zero}; {breaks}\)"
    assert re.search(
        rf"no winner: no eligible trial: all 2 evaluated arms are ineligible: {arms}\. The largest delivery", printed
    )
    assert printed.count("batch_size does not apply to constant, which learns nothing\n") == 1
    assert printed.index("batch_size does not") < printed.index("[1/4] small-")
    assert folder.read_selection()["decision"] == "none" and not folder.best.exists()
    assert "recording the decision: 1/1\n" in printed and "publishing the model" not in printed
    (select,) = [r for r in offline_runs(folder.wandb) if r.job_type == "select"]
    assert select.exit_code == 1
    assert all(artifact["type"] != "model" for artifact in select.artifacts)


def test_sweep_says_first_that_wandb_is_offline_and_how_to_upload(nobody):
    folder, _, printed = nobody
    upload = f"Upload later with `gaelp-ray sync {folder.shown}`"
    assert printed.splitlines()[0] == f"W&B is offline: WANDB_MODE says so. {upload}"


def test_bayes_runs_as_many_configurations_as_asked_for(nobody):
    rows = sorted(nobody[0].read_selection()["leaderboard"], key=lambda row: row["trial"])
    board = {row["trial"]: row for row in rows if row["role"] != "reference"}
    plans = nobody[0].history().plans
    assert list(board) == ["small-00", "small-01", "small-02", "small-default"] and plans.keys() == board.keys()
    values = {name: row["params"].get("constant.bid_multiplier") for name, row in board.items()}
    assert values["small-default"] is None and len(set(values.values())) == 4
    assert all(row["status"] == "completed" for row in board.values())
    flown = {name: plan["config"]["constant"]["bid_multiplier"] for name, plan in plans.items()}
    assert flown == values | {"small-default": flown["small-default"]}


@pytest.fixture(scope="module")
def finished(run_once):
    return run_once(
        method="random",
        run_cap=2,
        metric=METRIC,
        parameters={"dual.shade": {"min": 0.0, "max": 0.1}},
        trial={"agent_type": "PPO", "num_episodes": 48, "batch_size": 16},
        select={"episodes": 512, "markets": ["airfrance-search@nominal"]},
        tracking={"group": "my-group", "tags": ["first"]},
        max_concurrent=1,
    )


def test_what_a_sweep_leaves_behind(finished):
    folder = finished.folder.path
    present = {path.name for path in folder.iterdir()}
    expected = {"sweep.yaml", "provenance.json", "selection.json", "leaderboard.csv", "best", "trials", "wandb"}
    assert present == expected | {"journal.jsonl", ".lock"}
    record = finished.folder.read_selection()
    with (folder / "leaderboard.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [row["trial"] for row in written] == [row["trial"] for row in record["leaderboard"]]
    assert json.loads(written[0]["params"]) == record["leaderboard"][0]["params"]
    model = load_model(finished.folder.best)
    assert model.about["trial"] == record["winner"]["trial"] == finished.selection.winner.label
    # The published weights are the ones that earned the number: flown again, they repeat it.
    again = evaluate(model.agent, model.market, 512, [0, Stream.CONFIRMATION, 0])
    assert again.metrics.roas == record["winner"]["evaluation"]["roas"]
    elsewhere = record["winner"]["markets"]["airfrance-search@nominal"]
    market = market_named("airfrance-search@nominal")
    nominal = evaluate(model.agent, market, 512, [0, Stream.MARKETS])
    assert elsewhere == plain(nominal.as_dict())
    arms = {row["role"]: row for row in record["markets"]["airfrance-search@nominal"]["arms"]}
    assert arms.keys() >= {"default", "reference"} and arms[record["winner"]["role"]]["roas"] == elsewhere["roas"]
    assert arms["reference"]["roas"] == evaluate(reference_for(market), market, 512, [0, Stream.MARKETS]).metrics.roas
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
        assert mirrored.summary["delivered_roas"] == pytest.approx(trial.metrics["delivered_roas"])
        assert mirrored.summary["expected_delivered_roas"] == pytest.approx(trial.score("delivered_roas"))
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
    # The server decides which version is the best.
    assert {"candidate", "small"} <= set(model_artifact["aliases"]) and "best" not in model_artifact["aliases"]
    assert set(model_artifact["files"]) == {"model.npz", "model.json", "card.md", "sweep.yaml"}
    assert runs["small-select"].summary["winner"] == finished.selection.winner.label
    assert runs["small-select"].summary["markets/airfrance-search@nominal/roas"] == elsewhere["roas"]


def test_seeds_of_a_configuration_are_one_trial_and_a_race_adds_more(run):
    keys = {
        "method": "grid",
        "metric": METRIC,
        "seeds": {"min": 2, "max": 3},
        "parameters": {"constant.bid_multiplier": {"values": [0.5, 1.5]}},
        "trial": {"agent_type": "constant", "num_episodes": 32, "batch_size": 16},
        "select": {"top_k": 1, "episodes": 256, "include_default": False, "min_delivery": 0.5},
        "max_concurrent": 1,
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
    best = max(raced.seeds, key=lambda seed: seed.metrics["expected_delivered_roas"])
    assert raced.checkpoint == best.checkpoint and load_model(result.folder.best).config.seed == best.seed
