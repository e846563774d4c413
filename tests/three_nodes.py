"""Three nodes of Ray on this machine, and people who drive sweeps on them: commands in processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from reliability.stage import short_folder

CLOCKS = ("time", "seconds", "cpu_seconds", "memory")
TRIALS = 5

NODES = """
import os, subprocess, sys, time
from contextlib import suppress
import psutil
from ray.cluster_utils import Cluster

base, storage = sys.argv[1:3]
small = {"include_dashboard": False, "object_store_memory": 80 * 2**20, "wait": False}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "memory": 10**9, **small})
nodes, blind = [], []

def joined(node):
    cluster._wait_for_node(node, 300)  # Ray itself would wait for 30 s only
    return node

def add():
    home = os.path.join(base, f"cache-{len(nodes)}")
    nodes.append(joined(cluster.add_node(num_cpus=1, memory=10**9, env_vars={"XDG_CACHE_HOME": home}, **small)))

def kill():
    cluster.remove_node(nodes[-1], allow_graceful=False)

def kill_flying():  # with a batch of the final stage on it, which is held fast until the node is gone
    raylet = psutil.Process(nodes[-1].all_processes["raylet"][0].process.pid)
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        for worker in filter(flies, raylet.children(recursive=True)):
            worker.suspend()
            if flies(worker):
                kill()
                return worker.kill()
            worker.resume()
        time.sleep(0.01)
    sys.exit("nothing flies there")

def flies(process):
    try:
        return " ".join(process.cmdline()).startswith("ray::_fly")
    except psutil.Error:
        return False

def add_blind():  # a node with another folder in the storage's place
    start = f"{sys.executable} -m ray.scripts.scripts start --address={cluster.address} --num-cpus=2"
    script = f"mount -t tmpfs none {storage} && exec {start} --object-store-memory=83886080 --block"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    before, starts = len(cluster.global_state.node_table()), 0
    while len(cluster.global_state.node_table()) == before:
        if starts == 0 or blind[-1].poll() is not None:  # `ray start` may end at once
            assert starts < 5, "ray start ended five times"
            blind.append(subprocess.Popen(["unshare", "-m", "sh", "-c", script], start_new_session=True, **quiet))
            starts += 1
        time.sleep(0.1)

def close():
    for process in blind:
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
        process.kill()
        process.wait()
    blind.clear()

joined(cluster.head_node)
add(), add()
print(cluster.address, flush=True)
for line in sys.stdin:
    {"add": add, "blind": add_blind, "close": close, "kill": kill, "kill flying": kill_flying}[line.strip()]()
    print("done", flush=True)
close()
cluster.shutdown()
"""


class Three:
    """Nodes of one CPU, of which two have caches of their own; use it as a context.

    env: what the nodes and the drivers' machines know of S3.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self.base = short_folder("gr-nodes-")
        self.storage = self.base / "results"
        self.storage.mkdir()
        self._nodes = 2
        away = ("RAY_ADDRESS", "WANDB_API_KEY")
        self.env = {name: value for name, value in os.environ.items() if name not in away} | dict(env)
        self.env |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
        self.env |= {"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"} | self.machine("cache")
        words = [sys.executable, "-c", NODES, str(self.base), str(self.storage)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            words, env=self.env, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )
        self.address = self.process.stdout.readline().strip()

    def machine(self, name: str) -> dict[str, str]:
        """The environment of a machine with working copies of its own."""
        return {"XDG_CACHE_HOME": str(self.base / name)}

    @property
    def last(self) -> Path:
        """The caches of the node that came last, which is the one that is killed."""
        return self.base / f"cache-{self._nodes - 1}"

    def tell(self, word: str) -> None:
        """Have a node come or go."""
        self._nodes += word == "add"
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def start(self, *words: str, machine: str = "cache") -> subprocess.Popen[str]:
        """A command."""
        command = [sys.executable, "-c", "from gaelp_ray.cli.main import main; main()", *words]
        told = {"cwd": self.base, "env": self.env | self.machine(machine), "text": True}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **told)

    def sweep(self, method: str, storage: str, *words: str) -> subprocess.Popen[str]:
        """A sweep of TRIALS trials."""
        return self.start("sweep", self.file(method), "--storage", storage, "--json", *words)

    def file(self, method: str) -> str:
        """Its file."""
        keys: dict[str, Any] = {"method": method, "metric": {"name": "delivered_roas", "goal": "maximize"}}
        keys |= {"trial": {"num_episodes": 400, "batch_size": 40}, "select": {"top_k": 2, "episodes": 256}}
        if method == "grid":
            keys["parameters"] = {"learning_rate": {"values": [0.001, 0.01]}, "ppo.minibatches": {"values": [2, 4]}}
        else:
            keys |= {"parameters": {"learning_rate": {"min": 0.001, "max": 0.01}}, "run_cap": TRIALS - 1}
        (self.base / f"{method}.yaml").write_text(yaml.safe_dump(keys), encoding="utf-8")
        return f"{method}.yaml"

    def __enter__(self) -> Three:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.stdin.close()
        self.process.wait(300)
        shutil.rmtree(self.base)


def numbers(process: subprocess.Popen[str]) -> str:
    """The leaderboard that a command prints at its end, and nothing else, without what depends on clocks."""
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    rows = json.loads(out)["leaderboard"]
    return json.dumps([{k: v for k, v in row.items() if k not in CLOCKS} for row in rows])
