"""How Ray starts on the nodes: the two defects of 2.60 that every plain file has, tokens, and ports."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gaelp_ray.cluster.file import TOKEN, ClusterFile, Finding
from gaelp_ray.sweep.format.document import KeyPath

PORTS = {
    "port": 6379,
    "dashboard-port": 8265,
    "ray-client-server-port": 10001,
    "dashboard-agent-listen-port": 52365,
    "object-manager-port": None,
    "node-manager-port": None,
    "metrics-export-port": None,
    "runtime-env-agent-port": None,
    "dashboard-agent-grpc-port": None,
}
"""Flags of the head's `ray start` that take a port, and Ray's defaults."""

FIRST_WORKER_PORT, LAST_WORKER_PORT = 10002, 19999
HEAD, WORKER = "head_start_ray_commands", "worker_start_ray_commands"


def _ray_start(file: ClusterFile, key: str) -> tuple[KeyPath, str]:
    """The command that starts Ray, and its path; an empty one where there is none."""
    found = [(path, text) for path, text in file.commands(key) if "ray start" in text]
    return found[-1] if found else ((key,), "")


def _is_single(file: ClusterFile) -> bool:
    return file.provider == "local" and file.get("provider", "worker_ips") == []


def start_findings(file: ClusterFile) -> Iterator[Finding]:
    """Commands that do not bring up a cluster, or not all of it."""
    path, head = _ray_start(file, HEAD)
    if not head:
        what = "no `ray start` of your own" if file.get(HEAD) is None else "no command has `ray start` in it"
        yield Finding(path, what, "take head_start_ray_commands from our cluster.yaml: Ray's own lack a token")
    else:
        yield from _head_findings(file, path, head)
    path, worker = _ray_start(file, WORKER)
    if not worker and not _is_single(file):
        yield Finding(path, "no command has `ray start` in it", "take worker_start_ray_commands from our cluster.yaml")
    elif worker:
        yield from _worker_findings(path, worker, _ports(head).get("port"))
    for place, text in (_ray_start(file, HEAD), (path, worker)):
        if _flag(text, "block") is not None:
            yield Finding(place, "`ray start --block` never ends, and neither does `ray up`", "remove --block")


def _head_findings(file: ClusterFile, path: KeyPath, head: str) -> Iterator[Finding]:
    if _flag(head, "head") is None:
        yield Finding(path, "the head's `ray start` has no --head", "add it")
    if _flag(head, "autoscaling-config") is None and not _is_single(file):
        yield Finding(
            path, "without --autoscaling-config no worker is started", "add =~/ray_bootstrap_config.yaml to it"
        )
    if _flag(head, "include-dashboard") in ("false", "False", "0"):
        yield Finding(path, "without a dashboard the head takes no jobs", "remove --include-dashboard")
    if _flag(head, "dashboard-host") == "0.0.0.0":
        what = "the dashboard, where jobs are submitted, answers the whole network"
        yield Finding(path, what, "remove --dashboard-host: a tunnel reaches it", warning=True)
    if file.provider == "local" and not _is_single(file) and not re.search(r"RAY_enable_autoscaler_v2=[\"']?0", head):
        what = "autoscaler v2, which is Ray's default, leaves a worker of a local cluster unstarted"
        yield Finding(path, what, "write `export RAY_enable_autoscaler_v2=0;` in front of `ray start`")
    yield from _port_clashes(path, head)


def _worker_findings(path: KeyPath, worker: str, wanted: int | None) -> Iterator[Finding]:
    address = _flag(worker, "address")
    if address is None:
        yield Finding(path, "the workers' `ray start` has no --address", "add --address=$RAY_HEAD_IP:6379")
        return
    port = re.search(r":(\d+)$", address.strip("\"'"))
    if port and wanted and int(port[1]) != wanted:
        yield Finding(
            path, f"workers knock at port {port[1]}, and the head listens at {wanted}", "write one port in both"
        )


def _flag(command: str, name: str) -> str | None:
    """What follows a flag; empty for one that has no value, None where it is not there."""
    found = re.search(rf"--{name}(?![\w-])(?:[= ]([^\s;-][^\s;]*))?", command)
    return None if found is None else found[1] or ""


def _ports(command: str) -> dict[str, int]:
    """Ports that a head listens at."""
    if not command:
        return {}
    written = {name: _flag(command, name) for name in PORTS}
    ports = {name: int(text) if text and text.isdigit() else PORTS[name] for name, text in written.items()}
    return {name: port for name, port in ports.items() if port}


def dashboard_port(file: ClusterFile) -> int:
    """Where the head takes jobs, on its own loopback."""
    return _ports(_ray_start(file, HEAD)[1]).get("dashboard-port", 8265)


def _port_clashes(path: KeyPath, head: str) -> Iterator[Finding]:
    first, last = (_flag(head, f"{end}-worker-port") or "" for end in ("min", "max"))
    low = int(first) if first.isdigit() else FIRST_WORKER_PORT
    high = int(last) if last.isdigit() else LAST_WORKER_PORT
    taken: dict[int, str] = {}
    for name, port in _ports(head).items():
        if port in taken:
            yield Finding(path, f"--{taken[port]} and --{name} are both {port}", "give one of them another port")
        elif low <= port <= high:
            yield Finding(path, f"--{name} {port} lies among the workers' ports, {low} to {high}", "write one outside")
        taken[port] = name


def token_findings(file: ClusterFile) -> Iterator[Finding]:
    """Whether every node asks for a token, and has it. `ray up` ends with 0 even where no worker can join."""
    starts = [(who, *_ray_start(file, key)) for who, key in (("head", HEAD), ("workers", WORKER))]
    modes = {}
    for who, path, command in starts:
        if not command:
            continue
        mode = re.search(r"RAY_AUTH_MODE=[\"']?(\w+)", command)
        if mode is None:
            what = f"without RAY_AUTH_MODE, whether the {who} asks for a token depends on the files that lie there"
            yield Finding(path, what, "write `export RAY_AUTH_MODE=token;` in front of `ray start`")
            continue
        modes[who] = mode[1]
        if mode[1] == "disabled":
            what = f"anybody who reaches the {who} by network may run programs there"
            yield Finding(path, what, "write RAY_AUTH_MODE=token", warning=True)
    if len(set(modes.values())) > 1:
        what = f"RAY_AUTH_MODE is {modes['head']} for the head and {modes['workers']} for the workers"
        yield Finding((WORKER,), f"{what}, so none can join", "write token in both")
    sent = any(remote.endswith("/.ray/auth_token") for remote in file.mapping("file_mounts"))
    if "token" in modes.values() and not sent and not re.search(r"RAY_AUTH_TOKEN(_PATH)?=", file.text):
        path = ("file_mounts",) if file.get("file_mounts") is not None else ()
        yield Finding(
            path, "nodes ask for a token that none of them is given", f"add `{TOKEN}: {TOKEN}` to file_mounts"
        )


def environment_findings(file: ClusterFile) -> Iterator[Finding]:
    """Files of secrets that are sent, and never read."""
    for remote in file.mapping("file_mounts"):
        name = remote.rsplit("/", 1)[-1]
        if not name.endswith(".env"):
            continue
        for key in (HEAD, WORKER):
            path, command = _ray_start(file, key)
            if command and name not in command:
                what = f"{remote} is sent, and nothing reads it"
                yield Finding(path, what, f"write `set -a; . {remote}; set +a;` in front of `ray start`", warning=True)
