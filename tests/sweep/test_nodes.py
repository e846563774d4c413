"""Sweeps on a cluster that runs already: the same numbers as on one machine, whichever node flies what or is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from s3_server.server import BUCKET, StandIn
from three_nodes import TRIALS, Three, numbers

from gaelp_ray.sweep.store.journal import read_history

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

FLIGHTS = ("--set", "select.episodes=1024")
"""So many that a batch of the final stage can be met on its node."""


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


@pytest.fixture(scope="module")
def three(server) -> Iterator[Three]:
    with Three(server.env) as three:
        yield three


def can_hide() -> bool:
    """Whether a process may have mounts of its own, as root has them on a machine, and not in every container."""
    if shutil.which("unshare") is None:
        return False
    words = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def causes(folder: Path) -> list[str]:
    """Of all that broke off, once it is certain that every trial has ended well, and once."""
    history = read_history(folder)
    assert [end.status for end in history.ends.values()] == ["completed"] * TRIALS
    ended = [name for what, name in history.asked if what == "ended"]
    assert sorted(ended) == sorted(history.plans) and len(ended) == TRIALS
    return sorted({attempt.cause for attempt in history.attempts})


def decided(folder: Path) -> dict[str, object]:
    """The decision beside the leaderboard."""
    record = json.loads((folder / "selection.json").read_text(encoding="utf-8"))
    return {key: record[key] for key in ("decision", "winner", "race", "play_off", "versus_default", "ineligible")}


@dataclass(frozen=True)
class Swept:
    """What a sweep left in its folder, and beside it, and the leaderboard that it printed."""

    folder: Path
    beside: list[str]
    numbers: str


def swept(process: subprocess.Popen[str], folder: Path) -> Swept:
    """A sweep that ends well."""
    printed = numbers(process)
    return Swept(folder, sorted(path.name for path in folder.parent.iterdir()), printed)


@pytest.fixture(scope="module")
def alone(three) -> Swept:
    """On one machine, without a loss."""
    storage = three.base / "alone"
    return swept(three.sweep("random", str(storage), *FLIGHTS), storage / "random")


@pytest.fixture(scope="module")
def together(three) -> Swept:
    """The same on three nodes and a folder that all see, where one node dies with a batch of the final stage."""
    process = three.sweep("random", str(three.storage), *FLIGHTS, "--address", three.address)
    three.tell("kill flying")
    assert process.poll() is None
    found = swept(process, three.storage / "random")
    three.tell("add")
    return found


def test_random_on_a_folder_that_all_nodes_see(together, alone):
    assert together.numbers == alone.numbers
    folder = together.folder
    assert causes(folder) == []
    assert len(list((folder / "wandb").glob("offline-run-*"))) == TRIALS + 1
    assert len(json.loads((folder / "provenance.json").read_text())["nodes"]) == 3
    assert together.beside == ["random"]


def test_a_batch_of_the_final_stage_that_is_lost_with_its_node_is_flown_again(together, alone):
    assert together.numbers == alone.numbers
    assert decided(together.folder) == decided(alone.folder)
    assert causes(together.folder) == []  # it was not the search that lost it


def test_grid_in_s3_while_a_node_dies(three, server):
    alone = numbers(three.sweep("grid", str(three.base / "alone")))
    process = three.sweep("grid", f"s3://{BUCKET}/ours", "--address", three.address)
    deadline = time.monotonic() + 900
    while not list(three.last.glob("gaelp_ray/nodes/*/trials/*/record.jsonl")):  # it flies one
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    three.tell("kill")
    assert numbers(process) == alone
    (driver,) = (three.base / "cache/gaelp_ray/storage").glob("*/ours/grid")
    assert causes(driver) == ["node lost"]
    names = server.keys("ours/grid/")
    assert len([name for name in names if name.startswith("wandb/offline-run-") and name.endswith(".wandb")]) == 6
    assert {name for name in names if name.startswith("best/")} == {"best/card.md", "best/model.json", "best/model.npz"}
    assert not list((three.base / "cache-0/gaelp_ray/nodes").iterdir())  # nothing is left on a node
    three.tell("add")
    again = three.start("resume", "grid", "--storage", f"s3://{BUCKET}/ours", "--address", three.address)
    out, _ = again.communicate(timeout=900)
    assert again.returncode == 0 and "grid has finished: nothing is left to do" in out


@pytest.mark.skipif(not can_hide(), reason="nobody may give a process another view of the disk here")
def test_a_node_without_the_folder_is_named_before_the_sweep_and_avoided_in_it(three, together):
    assert together.folder.is_dir()
    before = {path: path.stat().st_mtime_ns for path in three.storage.rglob("*")}
    three.tell("blind")
    try:
        refused = three.sweep("random", str(three.storage), "--overwrite", "--address", three.address)
        told = refused.communicate(timeout=900)[1]
        assert refused.returncode == 2
        (line,) = told.splitlines()
        assert line.startswith("error: node ") and f"the storage folder {three.storage}: put it where" in line
        assert {path: path.stat().st_mtime_ns for path in three.storage.rglob("*")} == before
    finally:
        three.tell("close")
    longer = ("--name", "late", "--set", "trial.num_episodes=3200")
    process = three.sweep("random", str(three.storage), *longer, "--address", three.address)
    try:
        while not (three.storage / "late" / "provenance.json").is_file():
            assert process.poll() is None
            time.sleep(0.05)
        three.tell("blind")
        out, err = process.communicate(timeout=900)
    finally:
        three.tell("close")
    assert process.returncode == 0, err
    assert "joined the cluster and gets no trials: it does not see the storage folder" in err
    assert len(json.loads(out)["leaderboard"]) >= TRIALS
    assert set(causes(three.storage / "late")) <= {"node unfit", "node lost"}
