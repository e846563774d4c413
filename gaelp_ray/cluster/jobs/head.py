"""Where the head of a running cluster is, and who may log in there. Start at find_head()."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from gaelp_ray.cluster.file import ClusterFile
from gaelp_ray.cluster.preflight.starting import dashboard_port
from gaelp_ray.cluster.ssh import Login, last_line, require_ssh
from gaelp_ray.errors import InputError

ASK_CLOUD = """
import json, sys, yaml
from ray.autoscaler.sdk import bootstrap_config, get_head_node_ip
address = get_head_node_ip(sys.argv[1])  # first: what follows would make keys and groups where no head is
auth = bootstrap_config(yaml.safe_load(open(sys.argv[1], encoding="utf-8")))["auth"]
print("\\n" + json.dumps([address, auth]))
"""
"""Ray writes about its progress to stdout, and fails with whatever the cloud's library raises: not in this process."""

SECONDS = 120.0


@dataclass(frozen=True)
class Head:
    """The machine that takes jobs; `file` is what a person calls its cluster."""

    file: str
    address: str
    login: Login
    port: int  # of Ray's job server, on the head's loopback


def find_head(file: ClusterFile) -> Head:
    """The head that a launcher file speaks of; a cloud is asked. Raises InputError if none can be running."""
    require_ssh()
    if file.provider == "local":
        address = file.string("provider", "external_head_ip") or file.hosts[0]
        if not address:
            raise InputError(f"{file.where}: provider.head_ip is not filled in: write the head's address")
        login = Login.of(file.mapping("auth"))
    else:
        address, login = _from_cloud(file)
    return Head(file.where, address, login, dashboard_port(file))


def _from_cloud(file: ClusterFile) -> tuple[str, Login]:
    words = [sys.executable, "-c", ASK_CLOUD, file.where]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise InputError(
            f"{file.where}: {file.provider} did not say within {SECONDS:.0f} s where the head is"
        ) from None
    if done.returncode:
        raise InputError(f"{none_runs(file.where)} ({file.provider}: {last_line(done.stderr)})")
    address, auth = json.loads(done.stdout.splitlines()[-1])
    return str(address), Login.of(auth)


def none_runs(file: str) -> str:
    """One line for a cluster that is not there, with its remedy."""
    return f"{file}: no head of this cluster runs: start it with `ray up -y {file}`"
