"""The nodes of a running Ray cluster, which is asked and left as it is. Start at cluster_at().

Ray is asked in a process of its own: from C++ it writes into the terminal, and where nobody answers it tries for a
quarter of an hour (measured on 2.60: 20 times 41 s).
"""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaelp_ray.errors import InputError

CONNECT_SECONDS, ANSWER_SECONDS = 3.0, 30.0
"""For a port to open; and for Ray to answer there, measured 0.9 s, or 2.2 s where ray:// starts a server first, which
has taken more than 12 s on two busy cores."""

STARTS = 5
"""So often ray:// is asked. The server that it starts dies at its birth now and then, as Ray 2.60 forks it among gRPC's
threads: 4 of 19 on two busy cores, and who asked hears of it after 30 to 42 s. GRPC_ENABLE_FORK_SUPPORT=0 for the head
prevents it: 0 of 20."""

STILLBORN = "Starting Ray client server failed"
"""What Ray says of it."""

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_gcs_server_port_wait_time_s": "3",  # tries, of 1 s where the cluster refuses
    "RAY_gcs_server_request_timeout_seconds": "5",  # in which a node of the cluster is looked for on this machine
}

CLIENT = "ray://"
"""Begins the address of a cluster that this machine need be no node of."""

ADDRESS = re.compile(r"(ray://)?(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:/@\[\]]+):(?P<port>\d{1,5})")

REASONS = {
    "Could not find any running Ray": "no Ray cluster runs on this machine. Give the address of one, as host:port",
    "No node info found": "this machine is no node of that cluster. Run this on one of them, or give ray://host:port",
    "Ray Client requires": "ray:// needs what ray[client] installs. Install it, or run this on a node of the cluster",
    "InvalidAuthToken": "the cluster asks for its token. Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to that token",
}
"""A few words of what Ray raises, and what they mean here."""

VERSIONS = re.compile(r"Ray: (\S+)\s+Python: (\S+)")
"""Twice in Ray's refusal: the cluster's, ours."""


@dataclass(frozen=True)
class Node:
    """A node that is alive, with all that Ray may give away there, whoever has it now."""

    host: str
    cpus: int
    gpus: int
    memory: int  # bytes


@dataclass(frozen=True)
class Cluster:
    """A running Ray cluster."""

    address: str
    nodes: tuple[Node, ...]  # the largest first
    grows: bool = False  # whether an autoscaler may add nodes
    types: tuple[Node, ...] = ()  # that it may add, where Ray knows them, the largest first: `host` is the type's name


def cluster_at(address: str) -> Cluster:
    """The cluster at `auto`, `host:port` or `ray://host:port`. Raises InputError with one line where there is none."""
    _require_open(address)
    answer = _answer(address)
    if "raised" in answer:
        raise _refused(address, _reason(answer["raised"]))
    nodes = _by_size(answer["nodes"])
    if not nodes:
        raise _refused(address, "the cluster has no node that is alive. Start one with `ray start`")
    return Cluster(answer["address"], nodes, bool(answer.get("grows")), _by_size(answer.get("types", ())))


def _by_size(found: Iterable[Mapping[str, Any]]) -> tuple[Node, ...]:
    nodes = (Node(**node) for node in found)
    return tuple(sorted(nodes, key=lambda n: (-n.cpus, -n.gpus, -n.memory, n.host)))


def _refused(address: str, reason: str) -> InputError:
    return InputError(f"--address {shlex.quote(address)}: {reason}")


def _require_open(address: str) -> None:
    """Of an address, the form; and whether anybody listens there, which Ray would find out after minutes."""
    if address == "auto":
        return
    parts = ADDRESS.fullmatch(address)
    if not parts or not 0 < int(parts["port"]) < 2**16:
        raise _refused(address, "no address of a Ray cluster. Give auto, host:port or ray://host:port")
    try:
        socket.create_connection((parts["host"].strip("[]"), int(parts["port"])), CONNECT_SECONDS).close()
    except (OSError, UnicodeError) as error:  # the latter for what cannot be a host's name
        why = "no answer" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or error
        raise _refused(address, f"nothing listens there ({why}). Is the cluster up, and the port right?") from error


def _answer(address: str) -> dict[str, Any]:
    """What the child process prints, or why it does not."""
    environment = {**os.environ, **ENVIRONMENT}
    if environment.get("RAY_ADDRESS") == "local":  # it would turn `auto` into a cluster that is started
        del environment["RAY_ADDRESS"]
    here = Path(__file__).parents[3]  # where nothing of the user's own can be taken for a library
    words = [sys.executable, "-m", __name__, address]
    starts = STARTS if address.startswith(CLIENT) else 1
    for _ in range(starts):
        with suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                words, cwd=here, env=environment, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False
            )
            if STILLBORN not in done.stdout:
                break
    else:
        reason = f"no Ray cluster answers within {starts * ANSWER_SECONDS:g} s. Is it up, and the port right?"
        raise _refused(address, reason)
    if done.returncode:
        return {"raised": [done.stderr.strip() or f"its process ended with {done.returncode}"]}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _reason(raised: list[str]) -> str:
    """One line for what Ray raised, outermost first."""
    said = "\n".join(raised)
    if len(versions := VERSIONS.findall(said)) > 1:
        (ray, python), (our_ray, our_python), *_ = versions
        remedy = "Ray connects equal versions only: install the cluster's here, or run this on one of its nodes"
        return f"the cluster has Ray {ray} with Python {python}, and this is {our_ray} with {our_python}. {remedy}"
    known = next((meaning for words, meaning in REASONS.items() if words in said), None)
    return known or f"Ray does not connect: {said.strip().splitlines()[-1].strip()}"


def _asked(address: str) -> dict[str, Any]:
    """In the child process: what Ray says, or all that it raised, outermost first."""
    import ray
    from ray.exceptions import RayError

    try:
        context = ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        return {"raised": [str(link) for link in _chain(error)]}
    found = getattr(context, "address_info", {}).get("gcs_address") if address == "auto" else None
    nodes = [_node(node) for node in ray.nodes() if node["Alive"]]
    growth = {} if address.startswith(CLIENT) else {"grows": _grows(), "types": _types()}
    ray.shutdown()
    return {"address": found or address, "nodes": nodes, **growth}


def _grows() -> bool:
    """Whether an autoscaler has types of nodes; one that only reports calls each node a type, `node_` and its id."""
    from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
    from ray.experimental.internal_kv import _internal_kv_get

    try:
        told = json.loads(_internal_kv_get(DEBUG_AUTOSCALING_STATUS) or b"{}")
    except ValueError:  # the second autoscaler writes none here
        return bool(_types())
    active = (told.get("autoscaler_report") or {}).get("active_nodes") or {}
    return any(not name.startswith("node_") for name in active) or bool(_types())


def _types() -> list[dict[str, Any]]:
    """Types of nodes that an autoscaler may add; none where Ray has not been told them, as by its own launcher."""
    from ray._private.state import state

    told = state.get_cluster_config()
    groups = told.node_group_configs if told else ()
    return [_sizes(group.name, dict(group.resources)) for group in groups if group.max_count]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _node(node: Mapping[str, Any]) -> dict[str, Any]:
    return _sizes(node["NodeManagerHostname"], node["Resources"])


def _sizes(host: str, there: Mapping[str, float]) -> dict[str, Any]:
    sizes = {name: int(there.get(key, 0)) for name, key in (("cpus", "CPU"), ("gpus", "GPU"), ("memory", "memory"))}
    return {"host": host, **sizes}


if __name__ == "__main__":
    print(json.dumps(_asked(sys.argv[1])))
