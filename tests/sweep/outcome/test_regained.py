"""Weights that are needed again are trained again, and no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from begun_sweeps import begun, fly

from gaelp_ray.checkpoint import load_model
from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.listener import Silence
from gaelp_ray.sweep.outcome.regained import regained, restored
from gaelp_ray.sweep.planning.resumption import planned
from gaelp_ray.sweep.store.journal import End
from gaelp_ray.sweep.store.trial_files import TrialFiles
from gaelp_ray.sweep.trials.gathering import gathered

KEYS = {
    "method": "random",
    "run_cap": 3,
    "parameters": {"ppo.initial_std": {"min": 0.1, "max": 0.2}},
    "trial": {"num_episodes": 16, "batch_size": 8},
    "select": {"top_k": 1, "include_default": False},
}
ENDS = [End("completed"), End("completed"), End("stopped", "stop.plateau: no better score for 1 iteration")]


class Stages(Silence):
    def __init__(self):
        self.heard = []

    def stage(self, text, done, total, unit=""):
        self.heard.append((done, total))


@pytest.fixture
def finished(sweep_file):
    """A sweep of two trained trials and one that a rule has stopped, of whose weights only the best one's are left."""
    folder = begun(sweep_file(**KEYS), 3, ENDS, "")
    for name, iterations in (("small-00", 2), ("small-01", 2), ("small-02", 1)):
        fly(folder, name, iterations, weights=True)
    last = {name: TrialFiles(folder.path, name).read().last for name in ("small-00", "small-01")}
    best = max(last, key=lambda name: last[name]["final_score"])
    states = {}
    for name in ("small-00", "small-01", "small-02"):
        files = TrialFiles(folder.path, name)
        (checkpoint,) = files.checkpoints()
        states[name] = load_model(files.checkpoint(checkpoint) / "seed-0").agent.state_dict()
        if name != best:
            files.keep(())
    rows = [{"trial": name, "search_score": 1.0} for name in states]
    text = json.dumps({"winner": None, "reason": "", "leaderboard": rows})
    (folder.path / "selection.json").write_text(text, encoding="utf-8")
    return folder, best, states


def asked(folder, plan, listener=None):
    """As resume does it, before the sweep is reopened."""
    return regained(folder, plan, gathered(plan, folder.history(), folder.path), listener or Silence())


def kept(folder):
    names = ("small-00", "small-01", "small-02")
    return {name for name in names if TrialFiles(folder.path, name).checkpoints()}


def test_what_a_rule_has_stopped_is_trained_again_and_losers_are_not(finished):
    folder, best, _ = finished
    stages = Stages()
    asked(folder, planned(folder), stages)
    assert kept(folder) == {best, "small-02"} and stages.heard == [(0, 1), (1, 1)]
    asked(folder, planned(folder), stages)
    assert len(stages.heard) == 2


def test_other_rules_bring_back_others_bit_for_bit(finished):
    folder, _, states = finished
    trials = asked(folder, planned(folder, 0, ["select.top_k=2"]))
    assert all(trial.checkpoint for trial in trials)
    assert kept(folder) == set(states)
    for name, state in states.items():
        again = load_model(TrialFiles(folder.path, name).checkpoint(2 if name < "small-02" else 1) / "seed-0")
        assert state.keys() == again.agent.state_dict().keys()
        assert all((again.agent.state_dict()[key] == value).all() for key, value in state.items())


def test_other_rules_do_so_too_after_a_sweep_that_was_reopened_and_interrupted(finished):
    folder, _, _ = finished
    folder.reopen()
    trials = asked(folder, planned(folder, 0, ["select.top_k=2"]))
    assert kept(folder) == {"small-00", "small-01"}
    assert all(trial.checkpoint for trial in trials[:2])


@pytest.mark.parametrize("damaged", ["sha256.json", "seed-0/model.npz"])
def test_weights_that_a_copy_has_lost_come_back_bit_for_bit(finished, damaged):
    folder, best, states = finished
    torn = TrialFiles(folder.path, best).checkpoint(2)
    (torn / damaged).unlink()
    asked(folder, planned(folder))
    model = load_model(torn / "seed-0")
    assert all((model.agent.state_dict()[key] == value).all() for key, value in states[best].items())


def test_trials_that_race_later_get_their_weights_back_bit_for_bit(finished):
    folder, best, states = finished
    plan = planned(folder)
    loser = next(t for t in gathered(plan, folder.history(), folder.path) if t.trial in states and t.trial != best)
    stages = Stages()
    (trial,) = restored(folder, plan, stages, [loser])
    assert kept(folder) == {best, loser.trial} and stages.heard == [(0, 1), (1, 1)]
    again = load_model(Path(trial.checkpoint)).agent.state_dict()
    assert all((again[key] == value).all() for key, value in states[loser.trial].items())
    assert restored(folder, plan, stages, [trial]) == [trial] and len(stages.heard) == 2


def test_what_does_not_come_to_its_numbers_is_said(finished):
    folder, _, _ = finished
    path = folder.path / "trials" / "small-02" / "record.jsonl"
    row = json.loads(path.read_text(encoding="utf-8"))
    row["report"]["cost"] += 1.0
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(
        StorageError, match=r"^small-02 is needed again, .*\(iteration 1, cost\): see `gaelp-ray rerun "
    ):
        asked(folder, planned(folder))
    assert "small-02" not in kept(folder)
