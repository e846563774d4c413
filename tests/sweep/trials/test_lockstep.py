"""All seeds of a configuration as one: what is reported, what a checkpoint holds, and the best agents so far."""

from __future__ import annotations

import json
import math

import pytest

from gaelp_ray.errors import ModelError
from gaelp_ray.sweep.trials.lockstep import Lockstep, seed_folder


@pytest.fixture
def team(worker):
    """Makes trainings of a configuration on these seeds."""

    def make(*seeds, **sweep):
        return Lockstep({**worker.plan, "seeds": list(seeds)}, worker.sweep | sweep)

    return make


def test_seeds_are_reported_as_one(team):
    together, alone = team(3, 8), [team(3), team(8)]
    for _ in range(5):
        report, rows = together.step()
        parts, each = zip(*(one.step() for one in alone), strict=True)
        for name in ("cost", "revenue", "flights", "env_steps"):
            assert report[name] == pytest.approx(sum(part[name] for part in parts)), name
        assert json.dumps(rows) == json.dumps([row for (row,) in each])
        low, high = sorted(part["score"] for part in parts)
        assert low <= report["score"] <= high
    assert report["done"] and [seed["seed"] for seed in report["seeds"]] == [3, 8]
    judged = [[seed["validation"] for seed in part["seeds"]] for part in (report, *parts)]
    assert json.dumps(judged[0]) == json.dumps(judged[1] + judged[2])
    assert report["validation"]["flights"] == 8 and report["final_score"] == report["validation"]["roas"]


def test_a_score_is_that_of_the_last_four_batches(team):
    alone = team(0)
    reports = [alone.step()[0] for _ in range(5)]
    last = reports[1:]
    assert reports[4]["score"] == pytest.approx(sum(r["revenue"] for r in last) / sum(r["cost"] for r in last))
    assert reports[0]["score"] == pytest.approx(reports[0]["roas"])


@pytest.mark.parametrize(("most", "iterations"), [(None, 5), (2, 2), (9, 5)])
def test_a_training_is_as_long_as_planned_and_never_longer_than_the_sweep_allows(team, most, iterations):
    assert team(0, max_iterations=most).iterations == iterations


def states(run):
    return {name: array.tobytes() for name, array in run.state().items()}


@pytest.mark.parametrize(
    ("goal", "scores"), [("maximize", [2.0, 3.0, math.nan, 1.0]), ("minimize", [3.0, 1.0, 2.0, 0.5])]
)
def test_a_checkpoint_holds_the_best_agents_so_far(team, worker, monkeypatch, goal, scores):
    going = team(0, 1, goal=goal)
    report, seen = Lockstep._report, []
    monkeypatch.setattr(Lockstep, "_report", lambda self, flown: report(self, flown) | {"score": scores[len(seen)]})
    for number in range(1, 5):
        going.step()
        seen.append([states(run) for run in going.runs])
        folder = worker.folder / str(number)
        going.save(folder)
        so_far = [score for score in scores[:number] if not math.isnan(score)]
        best = scores.index((max if goal == "maximize" else min)(so_far))
        told = json.loads((folder / "progress.json").read_text())
        assert told["iterations"] == number and len(told["env_steps"]) == 2
        if best == number - 1:
            assert "best" not in told and not (folder / "best").exists()
            continue
        assert told["best"]["iteration"] == best + 1
        again = team(0, 1, goal=goal)
        again.load(folder)
        again.save(worker.folder / f"{number} again")
        for place in (folder, worker.folder / f"{number} again"):
            found = [worker.weights(place / "best", seed) for seed in range(2)]
            assert found == seen[best]


def test_seconds_of_a_worker_before_count(team, tmp_path):
    going = team(0)
    first = going.step()[0]
    going.save(tmp_path / "one")
    told = json.loads((tmp_path / "one" / "progress.json").read_text())
    (tmp_path / "one" / "progress.json").write_text(json.dumps(told | {"seconds": 1000.0, "cpu_seconds": 500.0}))
    again = team(0)
    again.load(tmp_path / "one")
    report = again.step()[0]
    assert first["seconds"] < 60 and 1000 < report["seconds"] < 1060 and 500 < report["cpu_seconds"] < 560
    assert report["iterations"] == 2 and report["memory"] > 2**20


def test_another_seed_s_folder_is_missed(team, tmp_path):
    going = team(0, 1)
    going.step()
    going.save(tmp_path)
    (seed_folder(tmp_path, 1) / "model.json").unlink()
    with pytest.raises(ModelError, match="seed-1"):
        team(0, 1).load(tmp_path)


def test_what_was_not_measured_is_no_failure(team):
    report, _ = team(0).step()
    assert math.isnan(report["optimality"]) and math.isnan(
        report["oracle_revenue"]
    )  # an own environment has no optimum
