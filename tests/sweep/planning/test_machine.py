"""Room on this machine: trials at a time, bytes, and a storage folder that is tried and left as it was."""

import shutil
from collections import namedtuple
from pathlib import Path

import psutil
import pytest

from gaelp_ray.checkpoint import Model, save_model
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.sweep.format.blocks import Resources
from gaelp_ray.sweep.planning import machine as here
from gaelp_ray.sweep.planning.machine import Amount, Machine, checkpoint_bytes, disk, in_bytes, placement, storage
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.sweep.session import OBJECT_STORE_BYTES
from gaelp_ray.worlds import untrained, world_of

Usage = namedtuple("Usage", "total used free")
BIG = Machine(cpus=16, gpus=2, memory=8 * 10**9)


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def plan(**overrides):
        text = "method: grid\nmetric: {name: delivered_roas, goal: maximize}\n"
        text += "parameters: {agent_type: {values: [constant, PPO]}}\n"
        (tmp_path / "trip.yaml").write_text(text, encoding="utf-8")
        return plan_sweep(tmp_path / "trip.yaml", overrides)

    return plan


@pytest.mark.parametrize(
    ("wanted", "max_concurrent", "trials", "at_once", "limit"),
    [
        ({}, None, 100, 16, "resources.cpu"),
        ({"cpu": 3}, None, 100, 5, "resources.cpu"),
        ({"cpu": 0.1}, None, 1000, 160, "resources.cpu"),
        ({"gpu": 0.5}, None, 100, 4, "resources.gpu"),
        ({"memory": "3GB"}, None, 100, 2, "resources.memory"),
        ({}, 3, 100, 3, "max_concurrent"),
        ({}, 99, 7, 7, "trials"),
    ],
)
def test_as_many_trials_run_as_the_scarcest_allows(wanted, max_concurrent, trials, at_once, limit):
    place = placement(Resources(**wanted), max_concurrent, trials, BIG)
    assert (place.at_once, place.limit, place.problem) == (at_once, limit, "")


def test_rounding_costs_no_trial():
    assert placement(Resources(cpu=0.07), None, 1000, Machine(7, 0, 10**9)).at_once == 100


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({"cpu": 17}, "resources.cpu: each trial asks for 17 CPUs, and this machine has 16"),
        ({"gpu": 2.5}, "resources.gpu: each trial asks for 2.5 GPUs, and this machine has 2"),
        ({"memory": "9GB"}, "resources.memory: each trial asks for 9 GB, and 8 GB are free here"),
    ],
)
def test_what_can_never_be_placed_is_named_with_its_key(wanted, problem):
    place = placement(Resources(**wanted), None, 5, BIG)
    assert (place.at_once, place.problem) == (0, problem)


def test_the_machine_is_what_this_process_may_use(monkeypatch, tmp_path):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: namedtuple("Memory", "available")(10**9))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(here, "GPUS", tmp_path)
    (tmp_path / "0000:01:00.0").mkdir()
    assert here.machine() == Machine(3, 1, 10**9 - OBJECT_STORE_BYTES)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert here.machine().gpus == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert here.machine().gpus == 0


def test_a_checkpoint_is_as_large_as_one_that_is_written(tmp_path):
    config = GAELPExperimentConfig(agent_type="PPO")
    world = world_of(config)
    save_model(tmp_path / "model", Model(untrained(world, config), config, world, {}))
    assert checkpoint_bytes(config) == sum(path.stat().st_size for path in (tmp_path / "model").iterdir())


def test_disk_counts_the_largest_checkpoint_of_each_training_and_records(plan):
    planned = plan()
    whole = disk(planned, Amount(trials=3, trainings=6, iterations=100, copied_from=0, at_once=2, tracked=True))
    bare = disk(planned, Amount(trials=3, trainings=6, iterations=100, copied_from=0, at_once=2, tracked=False))
    sizes = [checkpoint_bytes(trial.config) for trial in planned.trials]
    assert whole.checkpoint == max(sizes) > min(sizes)
    assert whole.checkpoints == (6 + 2 + 2) * max(sizes)
    shared = disk(planned, Amount(trials=3, trainings=6, iterations=100, copied_from=9, at_once=2, tracked=True))
    assert shared.checkpoints == (6 + 9 + 2 + 2) * max(sizes)
    assert bare.checkpoints == (6 + 2 + 1) * max(sizes)
    assert whole.records - bare.records == 6 * here.WANDB_BYTES + 100 * here.WANDB_ITERATION_BYTES
    assert whole.needed == whole.checkpoints + whole.records
    assert "W&B" in whole.assumed and "W&B" not in bare.assumed


def test_too_small_a_disk_is_noticed(plan, monkeypatch):
    amount = Amount(trials=3, trainings=3, iterations=30, copied_from=5, at_once=2, tracked=True)
    needed = disk(plan(), amount).needed
    asked = []
    for free in (needed - 1, needed):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: asked.append(path) or Usage(0, 0, free))
        assert disk(plan(storage="deep/er"), amount).enough is (free == needed)
    assert asked == [Path.cwd()] * 2  # the closest folder that exists


def test_a_storage_folder_that_can_be_written_is_left_as_it_was(plan, tmp_path):
    for name, above in (("new/er", tmp_path), (".", tmp_path)):
        found = storage(plan(storage=name))
        assert (found.problem, found.exists) == ("", False)
        assert found.path == str((tmp_path / name).resolve())
        assert [path.name for path in above.iterdir()] == ["trip.yaml"]


def test_a_sweep_of_the_same_name_is_noticed(plan, tmp_path):
    (tmp_path / "results" / "trip").mkdir(parents=True)
    assert not storage(plan()).exists
    (tmp_path / "results" / "trip" / "sweep.yaml").touch()
    assert storage(plan()).exists


def test_a_storage_folder_that_cannot_be_written_says_why(plan, tmp_path, monkeypatch):
    assert storage(plan(storage="trip.yaml/here")).problem == f"{tmp_path / 'trip.yaml'} is no folder"

    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    assert storage(plan()).problem == "Permission denied"


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (246244, "246 kB"), (8.61e9, "8.61 GB")]
)
def test_bytes_are_read_in_three_digits(size, text):
    assert in_bytes(size) == text
