"""Sockets and threads: they end with the server, and a port stays its own while it is down."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import RemoteDisconnected
from typing import Any

import pytest

from wandb_server import KEY, StandIn

pytestmark = pytest.mark.slow

VIEWER = "query Viewer { viewer { username } }"


def ask(server: StandIn, query: str = VIEWER, key: str = KEY) -> Any:
    request = urllib.request.Request(
        f"{server.url}/graphql", json.dumps({"query": query}).encode(), {"Authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


@pytest.fixture
def server() -> Iterator[StandIn]:
    before = threading.active_count()
    with StandIn() as started:
        yield started
    assert threading.active_count() <= before


def test_nothing_is_left_when_it_ends() -> None:
    before = threading.active_count()
    with StandIn() as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as idle:  # a client that keeps its connection
            assert ask(server)["data"]["viewer"]["username"] == "team"
            server.down()
            assert idle.recv(1) == b""
            server.up()
    assert threading.active_count() <= before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


def test_down_refuses_and_up_serves_the_same(server: StandIn) -> None:
    ask(server, 'mutation Make { upsertBucket(input: {modelName: "demo", name: "r1"}) { inserted } }')
    server.down()
    with pytest.raises(urllib.error.URLError, match="refused"):
        ask(server)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", int(server.url.rpartition(":")[2])))
    server.up()
    assert ask(server)["data"]["viewer"]["username"] == "team"
    assert list(server.state().runs) == ["team/demo/r1"]


@pytest.mark.parametrize("end", ["clear", "down"])
def test_a_request_that_hangs_ends_with_its_fault_or_server(server: StandIn, end: str) -> None:
    fault = server.fault(kind="hang", seconds=60)
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        answer = pool.submit(ask, server)
        server.wait_for(lambda _: fault.hits == 1)
        getattr(server, end)()
        with pytest.raises((RemoteDisconnected, ConnectionError)):
            answer.result()
        assert time.monotonic() - began < 30


def test_only_its_key_opens_graphql_and_the_file_stream(server: StandIn) -> None:
    for path in ("/graphql", "/files/team/demo/r1/file_stream"):
        request = urllib.request.Request(server.url + path, b'{"query": "{ viewer { username } }"}')
        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            urllib.request.urlopen(request, timeout=10)
        assert json.load(refused.value)["errors"][0]["message"] == "user is not logged in"
    with urllib.request.urlopen(server.url, timeout=10) as answer:
        assert answer.status == 200


def test_what_it_does_not_know_is_null_and_noted(server: StandIn) -> None:
    assert ask(server, "{ viewer { username shoeSize } }")["data"]["viewer"] == {"username": "team", "shoeSize": None}
    assert server.state().unknown == ["User.shoeSize"]


def test_a_mistake_of_its_own_is_kept(server: StandIn) -> None:
    with pytest.raises((RemoteDisconnected, ConnectionError)):
        ask(server, "{ project { name } }")  # a project without its name
    (error,) = server.state().errors
    assert "KeyError" in error


def test_what_it_cannot_do_is_told(server: StandIn) -> None:
    told = ask(server, 'mutation { commitArtifact(input: {artifactID: "no"}) { artifact { id } } }')
    assert told["errors"] == [{"message": "artifact no not found"}]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{server.url}/storage/nothing", timeout=10)
