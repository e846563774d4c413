"""A trial as Tune drives it, without Ray: wherever its worker is killed, the next one comes to the same numbers."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from gaelp_ray.errors import NodeError, TrainingError
from gaelp_ray.sweep.store.lines import LineWriter
from gaelp_ray.sweep.trials import trial
from gaelp_ray.training import Iteration

ITERATIONS = 5


@pytest.fixture(params=[(0,), (0, 1)], ids=["one seed", "two seeds"])
def uninterrupted(worker, request):
    """(record, last weights of every seed) of a trial that nothing has happened to; what it left is gone."""
    worker.plan = {**worker.plan, "seeds": list(request.param)}
    reports = worker.fly()
    assert [report["training_iteration"] for report in reports] == list(range(1, ITERATIONS + 1))
    assert [report["replayed"] for report in reports] == [False] * ITERATIONS
    last = worker.files().checkpoint(ITERATIONS)
    found = worker.recorded(), [worker.weights(last, seed) for seed in range(len(request.param))]
    shutil.rmtree(worker.files().folder)
    return found


def assert_same(worker, uninterrupted):
    record, expected = uninterrupted
    assert worker.recorded() == record
    last = worker.files().checkpoint(ITERATIONS)
    assert [worker.weights(last, seed) for seed in range(len(expected))] == expected


@pytest.mark.parametrize("cut", range(1, ITERATIONS + 1))
def test_a_trial_that_is_cut_after_any_iteration_comes_to_the_same_numbers(worker, uninterrupted, cut):
    worker.fly(cut)
    reports = worker.fly()
    assert reports[0]["training_iteration"] == cut and reports[0]["replayed"]  # Tune hears again where it is
    assert [report["training_iteration"] for report in reports[1:]] == list(range(cut + 1, ITERATIONS + 1))
    assert not any(report["replayed"] for report in reports[1:])
    assert_same(worker, uninterrupted)


def test_a_trial_that_is_cut_each_time_comes_to_the_same_numbers(worker, uninterrupted):
    for _ in range(ITERATIONS):
        worker.fly(2)
    assert_same(worker, uninterrupted)


@pytest.mark.parametrize("length", [1, 40, -1])
def test_a_record_that_is_torn_in_its_last_line_loses_that_iteration_only(worker, uninterrupted, length):
    worker.fly(3)
    record = worker.files().record
    *whole, last = record.read_bytes().splitlines(keepends=True)
    record.write_bytes(b"".join(whole) + last[:length])
    # The checkpoint after the lost line is of no use: nobody knows what was reported with it.
    shutil.rmtree(worker.files().checkpoint(2), ignore_errors=True)
    worker.fly()
    assert_same(worker, uninterrupted)


def test_a_record_without_any_checkpoint_begins_again(worker, uninterrupted, monkeypatch):
    monkeypatch.setattr(trial, "CHECKPOINT_SECONDS", math.inf)
    worker.fly(3)
    assert worker.files().checkpoints() == [] and len(worker.files().read().rows) == 3
    assert [report["training_iteration"] for report in worker.fly()] == list(range(1, ITERATIONS + 1))
    assert_same(worker, uninterrupted)


def test_iterations_after_the_last_checkpoint_are_flown_again(worker, uninterrupted, monkeypatch):
    worker.fly(2)
    monkeypatch.setattr(trial, "CHECKPOINT_SECONDS", math.inf)
    worker.fly(3)
    assert worker.files().checkpoints() == [2] and len(worker.files().read().rows) == 4
    reports = worker.fly()
    assert [(report["training_iteration"], report["replayed"]) for report in reports] == [
        (2, True), (3, False), (4, False), (5, False)
    ]  # fmt: skip
    assert worker.files().record.read_bytes().count(b"\n") == 1 + ITERATIONS  # the plan, and every iteration once
    assert_same(worker, uninterrupted)


def damaged(path: Path, how: str) -> None:
    """As a power cut leaves it: files that are there, and empty or half."""
    if how == "removed":
        shutil.rmtree(path)
    elif how == "progress":
        (path / "progress.json").write_bytes(b"")
    elif how == "recent":
        (path / "seed-0" / "recent.npz").write_bytes(b"")
    else:
        model = path / "seed-0" / how
        model.write_bytes(model.read_bytes()[:100])


@pytest.mark.parametrize("how", ["removed", "progress", "model.npz", "model.json", "recent"])
@pytest.mark.parametrize("before", [False, True], ids=["alone", "after a whole one"])
def test_a_damaged_checkpoint_is_none(worker, how, before, monkeypatch):
    worker.plan = {**worker.plan, "seeds": [0, 1]}
    worker.fly()
    record, last = worker.recorded(), [worker.weights(worker.files().checkpoint(ITERATIONS), seed) for seed in range(2)]
    shutil.rmtree(worker.files().folder)
    worker.fly(2)
    kept = worker.folder / "kept"
    worker.files().checkpoint(2).rename(kept)
    shutil.rmtree(worker.files().folder)
    worker.fly(3)
    if before:
        kept.rename(worker.files().checkpoint(2))
    damaged(worker.files().checkpoint(3), how)
    reports = worker.fly()
    assert reports[0]["training_iteration"] == (2 if before else 1)
    assert_same(worker, (record, last))


def test_only_the_last_checkpoint_stays_and_of_a_population_the_last_two(worker):
    worker.fly(3)
    assert worker.files().checkpoints() == [3]
    worker.sweep["population"] = True
    worker.fly()
    assert worker.files().checkpoints() == [4, 5]


def test_what_an_earlier_session_recorded_is_reported_again_where_a_scheduler_must_hear_it(worker):
    worker.sweep["replays"] = True
    first = worker.fly(3)
    lines = worker.files().record.read_bytes()
    worker.sweep["session"] = "second"
    reports = worker.fly()
    assert [report["replayed"] for report in reports] == [True, True, True, False, False]
    assert [report["score"] for report in reports[:3]] == [report["score"] for report in first]
    assert worker.files().record.read_bytes().startswith(lines)  # nothing was written twice
    assert [row["session"] for row in worker.files().read().rows] == ["first"] * 3 + ["second"] * 2


def test_a_worker_that_is_lost_in_a_session_repeats_only_the_last_report(worker):
    worker.sweep["replays"] = True
    worker.fly(3)
    assert [report["training_iteration"] for report in worker.fly()] == [3, 4, 5]


def test_a_trial_that_came_to_its_end_reports_it_again_and_flies_nothing(worker, monkeypatch):
    worker.fly()
    worker.files().write_end("completed", "")
    worker.files().keep(())  # its weights are not needed any more
    worker.sweep |= {"replays": True, "session": "second"}
    monkeypatch.setattr(trial, "Lockstep", lambda *_: pytest.fail("a training was made"))
    reports = worker.fly()
    assert [report["training_iteration"] for report in reports] == [1, 2, 3, 4, 5] and reports[-1]["done"]


def test_stop_iterations_are_a_trials_end(worker):
    worker.sweep["max_iterations"] = 2
    reports = worker.fly()
    assert [report["done"] for report in reports] == [False, True]
    assert reports[-1]["validation"]["flights"] == 4 and math.isfinite(reports[-1]["final_score"])
    assert reports[0]["validation"] is None and "final_score" not in reports[0]


def test_what_a_worker_says_to_tune_is_where_its_checkpoint_lies(worker, tmp_path):
    going = worker.start()
    going.train()
    going.save_checkpoint(str(tmp_path))
    told = json.loads((tmp_path / "reference.json").read_text())
    assert told == {"iteration": 1, "folder": "trials/trip-00/checkpoints/000001"}  # wherever the sweep lies
    again = worker.start()
    again.load_checkpoint(str(tmp_path))
    assert (again.train()["training_iteration"], again._recorded is not None) == (2, True)


def test_another_trial_in_the_same_worker_has_a_folder_of_its_own(worker):
    going = worker.start()
    going.train()
    assert going.reset_config({"trial": {**worker.plan, "name": "trip-01"}, "sweep": worker.sweep})
    assert going.train()["training_iteration"] == 1
    assert [len(worker.files(name).read().rows) for name in ("trip-00", "trip-01")] == [1, 1]
    assert worker.recorded("trip-00") == worker.recorded("trip-01")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_flights_that_are_no_numbers_end_the_training(worker, monkeypatch, value):
    going = worker.start()
    going.train()
    original = Iteration.__init__

    def spoil(self, number, totals, *rest):
        totals.cost[1] = value
        original(self, number, totals, *rest)

    monkeypatch.setattr(Iteration, "__init__", spoil)
    with pytest.raises(TrainingError, match="cost of the flights in iteration 2 is not a finite number"):
        going.train()
    assert len(worker.files().read().rows) == 1


def test_a_record_that_a_lost_node_still_holds_is_no_failure(worker, monkeypatch):
    monkeypatch.setattr(trial, "WAIT_SECONDS", 0.1)
    with LineWriter(worker.files().record), pytest.raises(NodeError, match="written by another process"):
        worker.fly(1)
    assert [report["training_iteration"] for report in worker.fly(1)] == [1]
