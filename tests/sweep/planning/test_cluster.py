"""A running Ray cluster is asked for its nodes and left as it was; what cannot be reached is one line, and soon."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time

import pytest

from gaelp_ray.errors import InputError
from gaelp_ray.sweep.planning import cluster as module
from gaelp_ray.sweep.planning.cluster import Cluster, Node, cluster_at

pytestmark = pytest.mark.slow

TWO_NODES = """
import json, sys
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster

small = {"include_dashboard": False, "object_store_memory": 80 * 2**20}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "memory": 10**9, **small})
cluster.add_node(num_cpus=3, num_gpus=2, memory=2 * 10**9, **small)
print(cluster.address, flush=True)
told = GcsClient(address=cluster.address)
for version in sys.stdin:  # of Ray, that the cluster says it has
    facts = json.loads(told.internal_kv_get(b"CLUSTER_METADATA", b"cluster"))
    facts["ray_version"] = version.strip()
    told.internal_kv_put(b"CLUSTER_METADATA", json.dumps(facts).encode(), True, b"cluster")
    print("said", flush=True)
cluster.shutdown()
"""
SWEEP = """\
method: random
run_cap: 9
metric: {name: delivered_roas, goal: maximize}
parameters: {learning_rate: {min: 0.001, max: 0.01}}
tracking: {mode: disabled}
"""


@pytest.fixture(scope="module")
def running():
    """Two nodes of different sizes in a process of their own: (address, that process)."""
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    environment.pop("RAY_ADDRESS", None)
    words, pipe = [sys.executable, "-c", TWO_NODES], subprocess.PIPE
    with subprocess.Popen(
        words, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
    ) as process:
        yield process.stdout.readline().strip(), process
        process.stdin.close()  # it shuts down
        process.wait(300)


@pytest.fixture
def address(running, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return running[0]


@pytest.fixture
def claims(running):
    """Lets the cluster claim another version of Ray."""
    _, process = running

    def claim(version: str) -> None:
        process.stdin.write(f"{version}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "said\n"

    return claim


def refusal(address: str) -> str:
    with pytest.raises(InputError) as refused:
        cluster_at(address)
    (line,) = str(refused.value).splitlines()
    return line


def gaelp_ray(folder, *words):
    """A command line in a process of its own, which says at its end whether it has imported Ray."""
    (folder / "trip.yaml").write_text(SWEEP, encoding="utf-8")
    code = "import sys\nfrom gaelp_ray.cli.main import main\n"
    code += "try: main()\nfinally: print('imported', 'ray' in sys.modules)"
    words = [sys.executable, "-B", "-c", code, "plan", "trip.yaml", *words]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def test_its_nodes_are_found_and_it_runs_on(address, capfd):
    host = socket.gethostname()
    found = Cluster(address, (Node(host, 3, 2, 2 * 10**9), Node(host, 1, 0, 10**9)))
    assert [cluster_at(address) for _ in range(2)] == [found, found]
    assert capfd.readouterr() == ("", "")


def test_auto_is_the_address_of_the_environment_and_said_as_it_is(address, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", address)
    found = cluster_at("auto")
    assert (found.address, len(found.nodes)) == (address, 2)


def test_another_version_is_refused_in_one_line(address, claims):
    import ray

    python = ".".join(map(str, sys.version_info[:3]))
    claims("2.1.0")
    try:
        line = refusal(address)
    finally:
        claims(ray.__version__)
    assert line == (
        f"--address {address}: the cluster has Ray 2.1.0 with Python {python}, and this is {ray.__version__} with "
        f"{python}. Ray connects equal versions only: install the cluster's here, or run this on one of its nodes"
    )
    assert len(cluster_at(address).nodes) == 2


def test_a_plan_for_it_says_where_trials_run_and_imports_no_ray_itself(address, tmp_path):
    done = gaelp_ray(tmp_path, "--address", address, "--set", "resources.memory=800MB")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "imported False"
    text, host = " ".join(done.stdout.split()), socket.gethostname()
    assert "1 CPU, 800 MB a trial; 3 at a time, limited by resources.cpu and resources.memory (4 CPUs, 2 GPUs" in text
    assert f"on 2 nodes of {address})" in text
    assert f"nodes {host}: 3 CPUs, 2 GPUs and 2 GB of memory: 2 trials {host}: 1 CPU, 0 GPUs and 1 GB" in text
    assert "all 2 nodes must see this folder" in text


def test_a_plan_for_it_is_refused_where_a_trial_fits_on_no_node(address, tmp_path):
    done = gaelp_ray(tmp_path, "--address", address, "--set", "resources.cpu=4", "--json")
    assert done.returncode == 2
    assert re.fullmatch(
        r"error: resources.cpu: each trial asks for 4 CPU, .* two nodes: ask for less, .*\n", done.stderr
    )
    resources = json.loads(done.stdout.rpartition("imported")[0])["forecast"]["resources"]
    assert [(node["cpus"], node["trials"]) for node in resources["nodes"]] == [(3, 0), (1, 0)]
    assert resources["address"] == address


@pytest.mark.parametrize(
    "address",
    ["", "local", "nonsense", "host", "host:", ":6379", "host:0", "host:65536", "a:1:2", "http://a:80", "[::1"],
)
def test_what_is_no_address_is_not_tried(address, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("Ray was asked"))
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("somebody was asked"))
    assert refusal(address).endswith(": no address of a Ray cluster. Give auto, host:port or ray://host:port")


@pytest.mark.parametrize("address", ["h:6379", "10.0.0.1:6379", "[::1]:6379", "ray://my-host.example:10001"])
def test_every_form_of_an_address_is_tried(address, monkeypatch):
    asked = []
    monkeypatch.setattr(socket, "create_connection", lambda where, _: asked.append(where) or socket.socket())
    answer = {"address": address, "nodes": []}
    done = subprocess.CompletedProcess([], 0, f"Ray said something\n{json.dumps(answer)}\n", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert refusal(address).endswith("the cluster has no node that is alive. Start one with `ray start`")
    host = address.removeprefix("ray://").rpartition(":")[0].strip("[]")
    assert asked == [(host, int(address.rpartition(":")[2]))]


def test_a_closed_port_is_noticed_without_ray(monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("Ray was asked"))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert refusal(f"127.0.0.1:{port}") == (
            f"--address 127.0.0.1:{port}: nothing listens there (Connection refused). Is the cluster up, and the port "
            "right?"
        )
    assert "nothing listens there (" in refusal(f"{'a' * 64}.example:6379")


def test_who_listens_and_is_no_ray_is_given_up_in_silence(monkeypatch, capfd):
    monkeypatch.setattr(module, "ANSWER_SECONDS", 2.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        line = refusal(f"127.0.0.1:{silent.getsockname()[1]}")
    assert line.endswith("no Ray cluster answers within 2.5 s. Is it up, and the port right?")
    assert time.monotonic() - started < 20
    assert capfd.readouterr() == ("", "")


def answers(monkeypatch, *said):
    """What each child process says, None where it has to be given up; returns a list that counts them."""
    monkeypatch.setattr(socket, "create_connection", lambda *_: socket.socket())
    asked, left = [], iter(said)

    def run(words, timeout, **_):
        asked.append(words[-1])
        if (answer := next(left)) is None:
            raise subprocess.TimeoutExpired(words, timeout)
        return subprocess.CompletedProcess(words, 0, json.dumps(answer), "")

    monkeypatch.setattr(subprocess, "run", run)
    return asked


STILLBORN = {"raised": ["Initialization failure from server:\nRuntimeError: Starting Ray client server failed. See x"]}


def test_a_server_that_died_at_its_birth_is_asked_for_again(monkeypatch):
    node = {"host": "h", "cpus": 2, "gpus": 0, "memory": 8}
    asked = answers(monkeypatch, None, STILLBORN, {"address": "ray://h:1", "nodes": [node]})
    assert cluster_at("ray://h:1").nodes == (Node(**node),)
    assert asked == 3 * ["ray://h:1"]


def test_it_is_given_up_in_the_end_and_where_nothing_is_started_at_once(monkeypatch):
    asked = answers(monkeypatch, None, STILLBORN, None, None, None)
    assert refusal("ray://h:1").endswith("no Ray cluster answers within 150 s. Is it up, and the port right?")
    assert len(asked) == 5
    asked = answers(monkeypatch, None)
    assert refusal("h:1").endswith("no Ray cluster answers within 30 s. Is it up, and the port right?")
    assert len(asked) == 1


def test_what_is_written_into_the_terminal_is_not_seen(monkeypatch, capfd, tmp_path):
    noisy = tmp_path / "python"
    noisy.write_text('#!/bin/sh\necho E0000 >&2\necho hello\necho \'{"raised": ["gone"]}\'\n', encoding="utf-8")
    noisy.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(noisy))
    assert refusal("auto") == "--address auto: Ray does not connect: gone"
    assert capfd.readouterr() == ("", "")


def test_of_what_ray_raises_the_cause_is_told_too(monkeypatch):
    import ray

    def init(*_, **__):
        raise ConnectionError("Failed to connect") from RuntimeError("No node info found")

    monkeypatch.setattr(ray, "init", init)
    assert module._asked("a:6379") == {"raised": ["Failed to connect", "No node info found"]}


def test_ray_has_little_time_to_answer():
    assert module.CONNECT_SECONDS + module.ANSWER_SECONDS <= 35


@pytest.mark.parametrize(
    ("told", "grows"),
    [
        (None, False),  # nobody watches over it
        ({"autoscaler_report": {"active_nodes": {f"node_{'0' * 56}": 1}}}, False),  # an autoscaler that only reports
        ({"autoscaler_report": {"active_nodes": {"ray.head.default": 1}}}, True),
        ({"autoscaler_report": None}, False),
    ],
)
def test_an_autoscaler_is_known_by_the_names_of_its_types(told, grows, monkeypatch):
    from ray.experimental import internal_kv

    monkeypatch.setattr(module, "_types", list)
    monkeypatch.setattr(internal_kv, "_internal_kv_get", lambda _: None if told is None else json.dumps(told).encode())
    assert module._grows() is grows


def test_what_an_autoscaler_may_add_comes_with_the_answer(monkeypatch):
    monkeypatch.setattr(socket, "create_connection", lambda *_: socket.socket())
    node, small, large = ({"host": f"h{n}", "cpus": n, "gpus": 0, "memory": n} for n in (1, 2, 3))
    answer = {"address": "a:6379", "nodes": [node], "grows": True, "types": [small, large]}
    done = subprocess.CompletedProcess([], 0, json.dumps(answer), "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert cluster_at("a:6379") == Cluster("a:6379", (Node(**node),), True, (Node(**large), Node(**small)))


def test_auto_never_starts_a_cluster(monkeypatch):
    given = []

    def run(words, **options):
        given.append((words[-1], options["env"].get("RAY_ADDRESS")))
        return subprocess.CompletedProcess(
            words, 0, json.dumps({"raised": ["Could not find any running Ray instance."]})
        )

    monkeypatch.setattr(subprocess, "run", run)
    for value in ("local", "10.0.0.1:6379"):
        monkeypatch.setenv("RAY_ADDRESS", value)
        assert refusal("auto").startswith("--address auto: no Ray cluster runs on this machine. Give the address")
    assert given == [("auto", None), ("auto", "10.0.0.1:6379")]


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        (
            ["Failed to connect to Ray cluster at a:1", "No node info found matching attributes: '' when trying"],
            "no node of",
        ),
        (["Ray Client requires pip package `ray[client]`. If you"], "ray:// needs what ray[client] installs"),
        (
            ["Failed to connect", "Traceback:\n  File\nRpcError: InvalidAuthToken: Authentication"],
            "RAY_AUTH_MODE=token",
        ),
        (
            ["Failed to connect", "Traceback:\n  File\nRpcError: http2 404\n"],
            "Ray does not connect: RpcError: http2 404",
        ),
    ],
)
def test_what_ray_raises_becomes_one_line(raised, line, monkeypatch):
    monkeypatch.setattr(socket, "create_connection", lambda *_: socket.socket())
    done = subprocess.CompletedProcess([], 0, json.dumps({"raised": raised}))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert line in refusal("a:6379")


@pytest.mark.parametrize(
    ("said", "line"),
    [("Traceback\n  File\ngrpc.RpcError: gone\n", "connect: grpc.RpcError: gone"), ("", "its process ended with -6")],
)
def test_a_process_that_dies_is_one_line_too(said, line, monkeypatch):
    monkeypatch.setattr(socket, "create_connection", lambda *_: socket.socket())
    done = subprocess.CompletedProcess([], -6, "", said)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert refusal("a:6379").endswith(line)
