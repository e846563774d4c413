"""The W&B runs of a trial's seeds, as they follow from its plan and its record."""

from __future__ import annotations

import pytest

from gaelp_ray.sweep.store.journal import End, History
from gaelp_ray.sweep.store.lines import LineWriter
from gaelp_ray.sweep.trials.mirrored import Outcome, identity_of, run_config, run_records, scores_of, seed_config


@pytest.fixture
def plan(worker):
    return {**worker.plan, "seeds": [3, 8]}


def test_a_seed_has_the_configuration_with_its_own_seed(plan):
    assert [seed_config(plan, number).seed for number in range(2)] == [3, 8]
    config = run_config(plan, 1)
    assert (config["seed"], config["trial"], config["config_id"]) == (8, "trip-00", "abcdefgh")
    assert config["env"] == "shop:Shop"


def test_the_run_of_the_only_seed_is_called_as_the_trial(plan, worker):
    names = [identity_of({**plan, "seeds": seeds}, worker.sweep, 0) for seeds in ([3], [3, 8])]
    assert [(one.name, one.id) for one in names] == [("trip-00", "trip-00-abc"), ("trip-00-s0", "trip-00-s0-abc")]
    assert identity_of(plan, worker.sweep, 1).name == "trip-00-s1"


@pytest.mark.parametrize(("is_default", "role"), [(True, "default"), (False, "sampled")])
def test_a_run_is_found_by_its_tags(plan, worker, is_default, role):
    found = identity_of({**plan, "is_default": is_default}, worker.sweep | {"tags": ("mine",)}, 0)
    assert found.tags == ("mine", role, "PPO", "config-abcdefgh")
    assert (found.project, found.group, found.job_type, found.mode) == ("p", "g", "trial", "disabled")


@pytest.mark.parametrize(
    ("told", "status", "exit_code"),
    [
        (None, "interrupted", 130),
        (("completed", ""), "completed", 0),
        (("stopped", "by the scheduler"), "stopped", 0),
        (("failed", "KeyError"), "failed", 1),
    ],
)
def test_an_outcome_as_the_worker_finds_it(told, status, exit_code):
    outcome = Outcome.of(told)
    assert (outcome.status, outcome.exit_code, outcome.reason) == (status, exit_code, told[1] if told else "")


def test_only_a_training_that_came_to_its_end_has_scores():
    assert scores_of(Outcome("stopped", "why", {"seeds": None, "cpu_seconds": 9.0}), 0, "roas") == {}
    assert scores_of(Outcome("failed"), 0, "roas") == {}
    found = [{"roas": 2.0, "expected_roas": 2.5}, {"roas": 4.0, "expected_roas": 3.5}]
    seeds = [{"seed": seed, "validation": validation} for seed, validation in zip((3, 8), found, strict=True)]
    report = {"seeds": seeds, "final_score": 3.0, "cpu_seconds": 9.0}
    assert scores_of(Outcome("completed", report=report), 1, "roas") == {
        "roas": 4.0, "expected_roas": 3.5, "config/expected_roas": 3.0, "cpu_seconds": 4.5
    }  # fmt: skip


def test_runs_of_a_sweep_follow_from_its_records(plan, worker):
    worker.plan = plan
    worker.fly()
    waiting, begun, gone = ({**plan, "name": name} for name in ("trip-01", "trip-02", "trip-03"))
    with LineWriter(worker.files("trip-02").record) as lines:
        lines.append({"plan": begun})
    failed = End("failed", "ModuleNotFoundError: shop", "exception")  # before its first iteration
    plans = {one["name"]: one for one in (plan, waiting, begun, gone)}
    history = History(plans=plans, ends={"trip-00": End("completed"), "trip-03": failed})
    found = {record.identity.name: record for record in run_records(history, worker.sweep)}
    assert set(found) == {f"trip-0{trial}-s{seed}" for trial in (0, 2, 3) for seed in (0, 1)}
    rows = worker.files().read().rows
    one = found["trip-00-s1"]
    assert [row.step for row in one.rows] == [1, 2, 3, 4, 5]
    assert [dict(row.values) for row in one.rows] == [row["runs"][1] for row in rows]
    assert one.summary["roas"] == rows[-1]["report"]["seeds"][1]["validation"]["roas"]
    assert (one.summary["status"], one.exit_code, one.config["seed"]) == ("completed", 0, 8)
    assert (found["trip-02-s0"].summary["status"], found["trip-02-s0"].exit_code) == ("interrupted", 130)
    assert found["trip-03-s0"].summary["reason"] == failed.reason and found["trip-03-s0"].rows == []
