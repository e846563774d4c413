"""Trials that a rule has ended are validated by the weights that they left."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from synthetic_arms import Field, Truth

from gaelp_ray.results import TrialResult, TrialStatus
from gaelp_ray.sweep.listener import Silence
from gaelp_ray.sweep.outcome import late
from gaelp_ray.sweep.outcome.late import validated
from gaelp_ray.sweep.planning.plan import plan_sweep


@pytest.fixture
def plan(sweep_file):
    keys = {"method": "random", "run_cap": 1, "parameters": {"dual.shade": {"min": 0.0, "max": 0.1}}}
    return plan_sweep(sweep_file(**keys, seeds=3, metric={"name": "roas", "goal": "maximize"}))


@pytest.fixture
def judged(plan, tmp_path, monkeypatch):
    """The result of a trial of three seeds, of which those with a truth can be flown."""
    checkpoint = tmp_path / "checkpoints/000004"
    for number in range(3):
        (checkpoint / f"seed-{number}").mkdir(parents=True)

    def judge(truths: dict[int, float], reason: str) -> TrialResult:
        field = Field({str(checkpoint / f"seed-{number}"): Truth(roas) for number, roas in truths.items()}, 0)
        monkeypatch.setattr(late.Arm, "from_checkpoint", lambda label, path, market: SimpleNamespace(label=label))
        monkeypatch.setattr(late, "fly_arms", lambda arms, *_: (field.fly(list(field.truths), 0, 64), {}))
        trial = TrialResult("small-00", TrialStatus.STOPPED, {}, {}, checkpoint=str(checkpoint), error=reason)
        (found,) = validated(plan, [trial], Silence())
        return found

    return judge


def test_every_seed_has_its_own_score_and_the_best_ones_weights_go_on(judged, plan):
    found = judged({0: 4.0, 1: 8.0, 2: 6.0}, "stop.time: 1h are over")
    assert [seed.seed for seed in found.seeds] == list(plan.seeds)
    roas = [seed.metrics["roas"] for seed in found.seeds]
    assert roas[1] > roas[2] > roas[0] and roas[0] < found.metrics["roas"] < roas[1]
    assert found.checkpoint == found.seeds[1].checkpoint and found.checkpoint.endswith("seed-1")


def test_a_model_that_cannot_be_flown_leaves_the_others_their_seeds(judged, plan):
    found = judged({1: 8.0, 2: 6.0}, "stop.time: 1h are over")
    assert [(seed.seed, seed.checkpoint[-6:]) for seed in found.seeds] == [
        (plan.seeds[1], "seed-1"), (plan.seeds[2], "seed-2")
    ]  # fmt: skip


def test_a_scheduler_has_judged_its_trials_already(judged):
    found = judged({0: 4.0, 1: 8.0, 2: 6.0}, "by the scheduler at iteration 4")
    assert found.metrics is None and not found.seeds
