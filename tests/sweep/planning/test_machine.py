"""What this machine has: cores, bytes, and a storage folder that is tried and left as it was."""

import shutil
from collections import namedtuple
from pathlib import Path

import psutil
import pytest

from gaelp_ray.checkpoint import Model, save_model
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.sweep.planning import machine as here
from gaelp_ray.sweep.planning.machine import Amount, checkpoint_bytes, disk, in_bytes, storage
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.sweep.session import OBJECT_STORE_BYTES
from gaelp_ray.worlds import untrained, world_of

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def plan(**overrides):
        text = "method: grid\nmetric: {name: delivered_roas, goal: maximize}\n"
        text += "parameters: {agent_type: {values: [constant, PPO]}}\n"
        (tmp_path / "trip.yaml").write_text(text, encoding="utf-8")
        return plan_sweep(tmp_path / "trip.yaml", overrides)

    return plan


@pytest.mark.parametrize(("affinity", "limit", "cpus"), [({0, 3, 5}, 8, 3), ({0, 3, 5}, 2, 2), ({0}, 0, 1)])
def test_cores_are_those_that_this_process_may_use(monkeypatch, affinity, limit, cpus):
    """A container's limit is what Ray says of it."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: affinity, raising=False)
    monkeypatch.setattr("gaelp_ray.sweep.session.get_num_cpus", lambda override_docker_cpu_warning: limit)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: namedtuple("Memory", "available")(10**9))
    found = here.machine()
    assert (found.cpus, found.memory) == (cpus, 10**9 - OBJECT_STORE_BYTES)


@pytest.mark.parametrize(("visible", "gpus"), [(None, 3), ("0,2", 2), ("", 0), ("0,1,2,3", 3)])
def test_cards_are_those_that_ray_finds_and_that_this_process_may_see(monkeypatch, visible, gpus):
    """Cards cannot exist here: Ray's own count of them is told."""
    found = "ray._private.accelerators.nvidia_gpu.NvidiaGPUAcceleratorManager.get_current_node_num_accelerators"
    monkeypatch.setattr(found, lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert here.machine().gpus == gpus


def test_a_checkpoint_is_as_large_as_one_that_is_written(tmp_path):
    config = GAELPExperimentConfig(agent_type="PPO")
    world = world_of(config)
    save_model(tmp_path / "model", Model(untrained(world, config), config, world, {}))
    assert checkpoint_bytes(config) == sum(path.stat().st_size for path in (tmp_path / "model").iterdir())


def test_disk_counts_the_largest_checkpoint_of_each_training_and_records(plan):
    planned = plan()
    whole = disk(planned, Amount(trials=3, trainings=6, iterations=100, kept=1, at_once=2, tracked=True))
    bare = disk(planned, Amount(trials=3, trainings=6, iterations=100, kept=1, at_once=2, tracked=False))
    sizes = [checkpoint_bytes(trial.config) for trial in planned.trials]
    assert whole.checkpoint == max(sizes) > min(sizes)
    assert whole.checkpoints == (2 * (6 + 2) + 2) * max(sizes)
    shared = disk(planned, Amount(trials=3, trainings=6, iterations=100, kept=2, at_once=2, tracked=True))
    assert shared.checkpoints == (2 * (2 * 6 + 2) + 2) * max(sizes)
    assert bare.checkpoints == (2 * (6 + 2) + 1) * max(sizes)
    assert whole.records - bare.records == 6 * here.WANDB_BYTES + 100 * here.WANDB_ITERATION_BYTES
    assert whole.needed == whole.checkpoints + whole.records
    assert "W&B" in whole.assumed and "W&B" not in bare.assumed


def test_too_small_a_disk_is_noticed(plan, monkeypatch):
    amount = Amount(trials=3, trainings=3, iterations=30, kept=1, at_once=2, tracked=True)
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


def test_several_nodes_must_see_a_local_folder(plan, tmp_path):
    assert storage(plan()).warning == storage(plan(), nodes=1).warning == ""
    assert (
        storage(plan(), nodes=3).warning
        == f"all 3 nodes must see this folder as {tmp_path / 'results'}, such as by NFS"
    )
    assert storage(plan(), nodes=3).problem == ""


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (246244, "246 kB"), (8.61e9, "8.61 GB")]
)
def test_bytes_are_read_in_three_digits(size, text):
    assert in_bytes(size) == text
