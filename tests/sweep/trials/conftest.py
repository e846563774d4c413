"""A planned trial that is flown without Ray, in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ray.tune import Trainable

from gaelp_ray.checkpoint import load_model
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.simulator.own import OwnEnv
from gaelp_ray.sweep.store.trial_files import TrialFiles
from gaelp_ray.sweep.trials import seed_run, trial

CLOCKS = ("seconds", "cpu_seconds", "memory")


class OneWorker:
    """What Tune does with one worker process after another, in the folder of one sweep."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sweep: dict[str, Any] = {
            **{"sweep_id": "abc", "session": "first", "folder": str(folder), "seed": 0},
            **{"market": OwnEnv(env="shop:Shop", folder=str(folder.parent)).model_dump(mode="json"), "metric": "roas"},
            **{"goal": "maximize", "max_iterations": None, "population": 0, "cluster": False},
            **{"replays": False, "mode": "disabled", "project": "p", "entity": None, "group": "g", "tags": ()},
        }
        self.plan = planned()
        self._open: list[trial.GAELPTrial] = []

    def files(self, name: str = "trip-00") -> TrialFiles:
        """The folder of a trial."""
        return TrialFiles(self.folder, name)

    def start(self, **plan: Any) -> trial.GAELPTrial:
        """A new process, after the one before was killed."""
        while self._open:
            self._open.pop().kill()
        self._open.append(Worker(config={"trial": {**self.plan, **plan}, "sweep": dict(self.sweep)}))
        return self._open[-1]

    def fly(self, iterations: int | None = None) -> list[dict[str, Any]]:
        """Reports of a new worker: so many, or all that are left."""
        worker, reports = self.start(), []
        while len(reports) != iterations and not (reports and reports[-1]["done"]):
            reports.append(worker.train())
        return reports

    def recorded(self, name: str = "trip-00") -> str:
        """The record without what depends on the clock, to be compared bit for bit."""
        rows = [dict(row) for row in self.files(name).read().rows]
        for row in rows:
            row["report"] = {key: value for key, value in row["report"].items() if key not in CLOCKS}
            del row["time"], row["session"]
        return json.dumps(rows, indent=1)

    def planned(self, name: str, **params: Any) -> dict[str, Any]:
        """Another trial."""
        return planned(name, **params)

    @staticmethod
    def numbers(report: Mapping[str, Any]) -> str:
        """What was flown and learned, to be compared bit for bit."""
        names = ("score", "iterations", "env_steps", "cost", "revenue", "roas", "done", "validation", "seeds")
        return json.dumps({name: report[name] for name in names})

    @staticmethod
    def weights(checkpoint: Path, seed: int = 0) -> dict[str, bytes]:
        """The agent of a seed in a checkpoint."""
        state = load_model(checkpoint / f"seed-{seed}").agent.state_dict()
        return {name: array.tobytes() for name, array in state.items()}


class Worker(trial.GAELPTrial):
    """GAELPTrial that leaves nothing behind elsewhere, and can die."""

    def _setup_logdir(self) -> None:
        self._logdir = "/nowhere"

    def kill(self) -> None:
        """Without any goodbye; the system gives back the lock of its file."""
        if self._lines:
            self._lines.close()


def planned(name: str = "trip-00", seeds: tuple[int, ...] = (0,), **params: Any) -> dict[str, Any]:
    """A trial of 5 iterations as search.as_tune_config() makes it, with flights of a few steps."""
    small = {"env": "shop:Shop", "ppo.reference": "none", "ppo.minibatches": 2, "batch_size": 4, "num_episodes": 20}
    config = GAELPExperimentConfig().replace({"agent_type": "PPO"} | small | params).to_dict()
    about = {"name": name, "first": name, "config_id": "abcdefgh", "is_default": False, "seeds": list(seeds)}
    return {**about, "params": params, "config": config}


@pytest.fixture
def worker(shop, tmp_path, monkeypatch):
    """Workers of a sweep below tmp_path, in which every iteration has a checkpoint."""
    shop()
    assert hasattr(Trainable, "_setup_logdir")
    monkeypatch.setattr(seed_run, "VALIDATION_EPISODES", 4)
    monkeypatch.setattr(trial, "CHECKPOINT_SECONDS", -1.0)
    made = OneWorker(tmp_path / "sweep")
    yield made
    for left in made._open:
        left.kill()
