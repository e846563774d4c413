"""A gate in a pipeline, as it is typed: real sweeps on real Ray, the real client, and a server of our own."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import yaml

from gaelp_ray.checkpoint import load_model
from gaelp_ray.cli import tables
from gaelp_ray.tracking.artifacts import Publication

FILE = {
    "name": "nightly",
    "project": "demo",
    "method": "grid",
    "metric": {"name": "delivered_roas", "goal": "maximize"},
    "parameters": {"batch_size": {"values": [8]}},
    "trial": {"agent_type": "BayesDual", "num_episodes": 8},
    "select": {"episodes": 64, "top_k": 1, "include_default": False, "min_delivery": 0.5},
    "tracking": {"mode": "online"},
    "publish": {"gate": {}},
}


@pytest.fixture
def typed(wandb_server, tmp_path):
    """Runs a command line in a process of its own: a Ray in this one would remember the home of this test."""

    def run(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "gaelp_ray", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
        return done.returncode, done.stdout

    return run


@pytest.mark.slow
def test_a_worse_model_of_the_next_night_ends_with_1_and_the_best_is_still_the_first(
    wandb_server, typed, gaelp_ray, tmp_path, monkeypatch
):
    (tmp_path / "nightly.yaml").write_text(yaml.safe_dump(FILE), encoding="utf-8")
    code, out = typed("sweep", "nightly.yaml")
    assert code == 0 and "gate: passed, and it is the best now: no other version is the best\n" in out
    worse = ("--set", "trial.agent_type=constant", "--set", "trial.constant.bid_multiplier=1.5")
    code, out = typed("sweep", "nightly.yaml", "--overwrite", *worse)
    assert code == 1 and re.search(r"^gate: refused: below team/demo/nightly-best:v0 \(-", out, re.MULTILINE)
    record = json.loads((tmp_path / "results/nightly/selection.json").read_text(encoding="utf-8"))
    assert record["artifact"]["version"] == "v1" and record["artifact"]["gate"]["verdict"] == "below"
    monkeypatch.chdir(tmp_path)  # what starts no Ray may run here
    code, out, _ = gaelp_ray("resume", "nightly")
    assert code == 1 and "gate: refused: below" in out and "nothing is left to do" in out
    code, out, _ = gaelp_ray("sync", "nightly")
    assert code == 1 and "gate: refused: below" in out
    code, out, _ = gaelp_ray("best", "team/demo/nightly-best:best", "-o", "mine")
    assert code == 0 and load_model(tmp_path / "mine").config.agent_type == "BayesDual"
    code, out, _ = gaelp_ray("best", "team/demo/nightly-best:candidate", "--json")
    assert code == 0 and json.loads(out)["config"]["agent_type"] == "constant"
    code, out = typed("resume", "nightly", "--set", "publish.gate.regression=false")
    assert code == 0 and "gate: passed, it stays a candidate: below" in out
    runs = wandb_server.state().runs.values()
    assert all(run.state == "finished" for run in runs) and wandb_server.state().unknown == []


@pytest.mark.parametrize(
    ("gate", "refused", "line"),
    [
        (None, False, []),
        ({"promoted": True, "passed": True, "reason": "R"}, False, ["gate: passed, and it is the best now: R"]),
        ({"promoted": False, "passed": True, "reason": "R"}, False, ["gate: passed, it stays a candidate: R"]),
        ({"promoted": False, "passed": False, "reason": "R"}, True, ["gate: refused: R"]),
    ],
)
def test_what_the_gate_said_is_a_line(gate, refused, line):
    record = {"artifact": {"gate": gate}}
    assert (tables.is_refused(record), list(tables.gate_line(record))) == (refused, line)


def test_a_failed_publication_names_the_command_that_goes_on():
    assert list(tables.unpublished(Publication("online", "trip-best", version="v0"), "results/trip")) == []
    (nothing,) = tables.unpublished(Publication("online", None, "no answer"), "results/trip")
    assert nothing == "W&B did not take the model: no answer; `gaelp-ray sync results/trip` brings what is missing"
    (half,) = tables.unpublished(Publication("online", "trip-best", "no registry", "v0"), "results/trip")
    assert half == (
        "W&B has the model, but not all is done: no registry; `gaelp-ray sync results/trip` brings what is missing"
    )


@pytest.mark.parametrize("record", [{}, {"artifact": None}, {"artifact": {"name": "trip-best"}}])
def test_sweeps_of_earlier_versions_had_no_gate(record):
    assert not tables.is_refused(record) and list(tables.gate_line(record)) == []
