"""A sweep on a cluster of no CPUs whose autoscaler starts nodes for the trials that wait, and ends them after.

Ray's AutoscalingCluster lacks a file in the wheel and runs `ray stop --force`; this starts the same nodes without it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import ray
import yaml
from own_ray import free_ports, kill_all

from gaelp_ray.errors import InputError
from gaelp_ray.sweep.planning.cluster import Cluster, cluster_at
from gaelp_ray.sweep.store.journal import read_history

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

EMPTY_MAPS = ("auth", "docker", "file_mounts", "head_node", "worker_nodes")
EMPTY_LISTS = (
    *("cluster_synced_files", "rsync_exclude", "rsync_filter", "initialization_commands", "setup_commands"),
    *("head_setup_commands", "worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands"),
)
SWEEP = {
    "method": "random",
    "run_cap": 2,
    "metric": {"name": "delivered_roas", "goal": "maximize"},
    "trial": {"num_episodes": 400, "batch_size": 40},
    "select": {"top_k": 1, "episodes": 256},
    "parameters": {"learning_rate": {"min": 0.001, "max": 0.01}},
    "tracking": {"mode": "disabled"},
}


def launcher(address: str) -> dict[str, object]:
    """What Ray's fake provider needs to start raylets of this machine as nodes: none to two of one CPU."""
    fake = {"type": "fake_multinode", "use_node_id_as_ip": True, "launch_multiple": True, "gcs_address": address}
    types = {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {
            "resources": {"CPU": 1, "object_store_memory": 80 * 2**20},
            **{"node_config": {}, "min_workers": 0, "max_workers": 2},
        },
    }
    return {
        **{"cluster_name": "fake", "max_workers": 2, "idle_timeout_minutes": 0.25, "upscaling_speed": 1.0},
        **{"provider": fake | {"disable_node_updaters": True, "disable_launch_config_check": True}},
        **{"available_node_types": types, "head_node_type": "ray.head.default"},
        **{"file_mounts_sync_continuously": False},
        **{key: {} for key in EMPTY_MAPS},
        **{key: [] for key in EMPTY_LISTS},
    }


@pytest.fixture
def address(tmp_path, monkeypatch) -> Iterator[str]:
    """The head of such a cluster."""
    for name, value in {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    port, client = free_ports(2)
    address = f"{ray.util.get_node_ip_address()}:{port}"
    (tmp_path / "launcher.json").write_text(json.dumps(launcher(address)), encoding="utf-8")
    words = [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--head",
        f"--port={port}",
        "--num-cpus=0",
        "--block",
    ]
    words += ["--include-dashboard=false", f"--ray-client-server-port={client}", "--object-store-memory=83886080"]
    words += [f"--autoscaling-config={tmp_path / 'launcher.json'}"]
    fake = {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1", "RAY_enable_autoscaler_v2": "0"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, env={**os.environ, **fake}, **quiet) as head:
        yield address
        kill_all(head)


def until(address: str, is_so: Callable[[Cluster], bool]) -> None:
    """Until a cluster is there, and as it should be; its head listens before it is a node."""
    deadline = time.monotonic() + 300
    while True:
        with suppress(InputError):
            if is_so(cluster_at(address)):
                return
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_nodes_come_for_trials_that_wait_and_go_after_them(address, tmp_path):
    until(address, lambda cluster: cluster.grows)
    path: Path = tmp_path / "trip.yaml"
    path.write_text(yaml.safe_dump(SWEEP), encoding="utf-8")
    command = [sys.executable, "-c", "from gaelp_ray.cli.main import main; main()", "sweep", str(path), "--json"]
    words = [*command, "--storage", str(tmp_path / "results"), "--address", address]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "The cluster may grow: trials wait until it has a node that is large enough" in done.stderr
    assert json.loads(done.stdout)["leaderboard"]
    history = read_history(tmp_path / "results" / "trip")
    assert [end.status for end in history.ends.values()] == ["completed"] * 3
    # The autoscaler may take a node for idle that was given a trial since its last report: a loss, and no failure.
    assert {attempt.cause for attempt in history.attempts} <= {"node lost"}
    until(address, lambda cluster: len(cluster.nodes) == 1)
