"""The real quickstart, once, as a person types it: real Ray, real wandb, no account."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE

import psutil
import pytest
from reliability.stage import GONE_SECONDS, Missed, until

from gaelp_ray.checkpoint import load_model
from gaelp_ray.tracking.offline import offline_runs
from gaelp_ray.training import Stream, evaluate

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


MARK = {"GAELP_TEST_OF": f"quickstart-{os.getpid()}"}
"""In the environment of the sweep, and so of everything that it starts; other tests may run beside this one."""


def started_by_it():
    """Processes of the sweep that still run."""
    found = {}
    for process in psutil.process_iter(["pid", "environ", "cmdline", "status"]):
        info = process.info
        if MARK.items() <= (info["environ"] or {}).items() and info["status"] != psutil.STATUS_ZOMBIE:
            found[info["pid"]] = info["cmdline"]
    return found


def left_over():
    """Those that stay."""
    with suppress(Missed):
        until(lambda: not started_by_it(), "the end of all processes", GONE_SECONDS)
    return started_by_it()


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """(folder of the sweep, what was printed, our processes that were left)."""
    here = tmp_path_factory.mktemp("person")
    command = [sys.executable, "-m", "gaelp_ray", "sweep", str(ROOT / "sweeps/quickstart.yaml")]
    home = {**os.environ, **MARK, "HOME": str(here / "home")}
    with subprocess.Popen(command, cwd=here, env=home, stdout=PIPE, stderr=PIPE, text=True) as done:
        seen = set()
        while done.poll() is None and not {"raylet", "wandb-core"} <= seen:  # the mark is on what the test is about
            seen |= {Path(words[0]).name for words in started_by_it().values() if words}
            time.sleep(0.5)
        out, err = done.communicate(timeout=1200)
    assert done.returncode == 0, out + err
    assert {"raylet", "wandb-core"} <= seen
    assert sorted(path.name for path in here.iterdir() if path.name != "home") == ["results"]
    return here / "results/quickstart", out, left_over()


@pytest.fixture(scope="module")
def record(quickstart):
    return json.loads((quickstart[0] / "selection.json").read_text())


def test_it_ends_with_all_that_a_person_needs(quickstart, record):
    _, printed, _ = quickstart
    winner = record["winner"]
    kept = rf"(winner|tie, selected) {winner['trial']}"
    assert re.search(
        rf"{kept}: expected delivered ROAS [\d.]+, 95% interval [\d.]+ to [\d.]+, ROAS [\d.]+, delivery", printed
    )
    assert re.search(r"race: 4 arms, \d+ rounds, [\d,]+ of 4,096 flights; among equals it calls a winner", printed)
    assert "optimality" in printed and "BayesDual (reference)" in printed
    assert "model: results/quickstart/best" in printed
    assert "gaelp-ray best quickstart -o my_model" in printed
    assert "trials: 13 completed\n" in printed
    assert re.search(r"time: \d+ CPU s in \d+ s on \d+ cores \(\d+% busy", printed)


def test_twelve_sampled_trials_of_at_least_200_000_steps(record):
    sampled = [row for row in record["leaderboard"] if row["params"]]
    assert len(sampled) == 12
    assert all(row["status"] == "completed" and row["env_steps"] >= 200_000 for row in sampled)


def test_the_winner_is_not_worse_than_the_control_arm_and_its_relation_to_the_reference_is_said(record):
    versus_default, versus_reference = record["versus_default"], record["versus_reference"]
    assert versus_default is None or versus_default["high"] >= 0.0
    assert f"{versus_reference['verdict']} " in record["reason"] and "BayesDual" in record["reason"]


def test_the_winner_repeats_its_number_on_other_flights(quickstart, record):
    model = load_model(quickstart[0] / "best")
    fresh = evaluate(model.agent, model.market, 2048, [1, Stream.EVALUATION])
    earned = record["winner"]["evaluation"]
    # Their intervals meet: which trial wins, and so which number is to be repeated, depends on the processor.
    assert fresh.roas_interval.low <= earned["roas_high"] and earned["roas_low"] <= fresh.roas_interval.high
    assert fresh.metrics.delivery >= record["min_delivery"]


def test_one_complete_wandb_run_per_trial_and_one_for_the_selection(quickstart, record):
    runs = offline_runs(quickstart[0] / "wandb")
    trials = {run.name: run for run in runs if run.job_type == "trial"}
    flown = {row["trial"]: row for row in record["leaderboard"] if row["role"] != "reference"}
    assert trials.keys() == flown.keys()
    for name, run in trials.items():
        assert len(run.history) == flown[name]["iterations"] == 20
        assert run.exit_code == 0 and run.group == "quickstart"
        assert run.config["agent_type"] == flown[name]["agent"]
        assert run.summary["expected_delivered_roas"] == pytest.approx(flown[name]["search_score"])
    (select,) = [run for run in runs if run.job_type == "select"]
    (model,) = [artifact for artifact in select.artifacts if artifact["type"] == "model"]
    assert {"candidate", "quickstart"} <= set(model["aliases"])
    assert select.exit_code == 0


def test_no_process_is_left(quickstart):
    assert quickstart[2] == {}
