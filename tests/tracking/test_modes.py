"""Whether runs go online is decided once, from the file, the environment, the key and a server that answers."""

import json
import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import wandb
from wandb_server import KEY, StandIn

from gaelp_ray.errors import InputError
from gaelp_ray.tracking.modes import PROBE_SECONDS, TrackingMode, choose_mode, environment

OTHER_KEY = "f" * 40


@pytest.fixture(scope="module")
def server():
    """A W&B server on this machine."""
    with StandIn() as server:
        yield server


@pytest.fixture
def answering(server):
    """Its address."""
    yield server.url
    server.clear()


@pytest.fixture(scope="module")
def silent():
    """Address of a port of this machine that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture(autouse=True)
def stranger(tmp_path, monkeypatch):
    """A person without account, settings or proxy."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.chdir(tmp_path)
    yield
    wandb.teardown()


def log_in(monkeypatch, server: str, key: str | None) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", server)
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)


def test_auto_with_a_key_and_an_answering_server_is_online(monkeypatch, answering):
    log_in(monkeypatch, answering, KEY)
    assert choose_mode("auto") == TrackingMode("online", f"a key is set and {answering} answers")


def test_online_with_a_key_and_an_answering_server_is_online(monkeypatch, answering):
    log_in(monkeypatch, answering, KEY)
    assert choose_mode("online").mode == "online"


def test_key_of_wandb_login_counts(monkeypatch, tmp_path, answering):
    log_in(monkeypatch, answering, None)
    netrc = tmp_path / ".netrc"
    netrc.write_text(f"machine {answering.removeprefix('http://')}\n  login user\n  password {KEY}\n", encoding="utf-8")
    netrc.chmod(0o600)
    assert choose_mode("auto").mode == "online"


def test_auto_without_a_key_is_offline_says_why_and_asks_no_server(monkeypatch, server, answering):
    log_in(monkeypatch, answering, None)
    before = len(server.requests())
    chosen = choose_mode("auto")
    assert chosen.mode == "offline"
    assert "no W&B key is set (WANDB_API_KEY or `wandb login`)" in chosen.why
    assert len(server.requests()) == before


def test_auto_without_an_answer_is_offline_and_says_why(monkeypatch, silent):
    log_in(monkeypatch, silent, KEY)
    chosen = choose_mode("auto")
    assert chosen.mode == "offline"
    assert chosen.why.startswith(f"{silent} does not answer (")


def test_online_without_a_key_is_refused_with_the_remedies(monkeypatch, answering):
    log_in(monkeypatch, answering, None)
    with pytest.raises(InputError, match=r"tracking\.mode: online is not possible: .*WANDB_API_KEY.*auto or offline"):
        choose_mode("online")


def test_a_key_that_the_server_refuses_is_as_none(monkeypatch, answering):
    log_in(monkeypatch, answering, OTHER_KEY)
    assert choose_mode("auto") == TrackingMode("offline", f"{answering} refuses the W&B key (HTTP 401)")
    with pytest.raises(InputError, match=r"online is not possible: .*refuses the W&B key") as refused:
        choose_mode("online")
    assert OTHER_KEY not in str(refused.value) and "\n" not in str(refused.value)


def test_key_in_wandbs_settings_file_counts(monkeypatch, tmp_path, answering):
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    (tmp_path / "settings").write_text(f"[default]\nbase_url = {answering}\napi_key = {KEY}\n", encoding="utf-8")
    assert choose_mode("auto") == TrackingMode("online", f"a key is set and {answering} answers")


def test_too_many_requests_are_a_servers_answer(monkeypatch, server, answering):
    log_in(monkeypatch, answering, KEY)
    server.fault("graphql", status=429, retry_after=60)
    assert choose_mode("auto").mode == "online"


def test_retry_after_is_honoured(monkeypatch, server, answering):
    log_in(monkeypatch, answering, KEY)
    fault = server.fault("graphql", status=429, retry_after=1, times=1)
    started = time.monotonic()
    assert choose_mode("online").mode == "online"
    assert fault.hits == 1
    assert time.monotonic() - started >= 1.0


def test_server_in_trouble_is_not_relied_on(monkeypatch, server, answering):
    log_in(monkeypatch, answering, KEY)
    server.fault("graphql", status=503, retry_after=60)  # longer than anybody asks again
    assert choose_mode("auto").why == f"{answering} does not serve now: it is in trouble (HTTP 503)"


def test_choice_takes_five_seconds_at_most(monkeypatch, server, answering):
    log_in(monkeypatch, answering, KEY)
    server.fault("any", "hang", seconds=60)
    started = time.monotonic()
    assert choose_mode("auto") == TrackingMode("offline", f"{answering} does not answer (timed out)")
    assert PROBE_SECONDS < 5 and time.monotonic() - started < 20


def test_online_without_an_answer_is_refused_with_the_address(monkeypatch, silent):
    log_in(monkeypatch, silent, KEY)
    with pytest.raises(InputError, match=rf"tracking\.mode: online is not possible: {silent} does not answer"):
        choose_mode("online")


@pytest.mark.parametrize("wanted", ["auto", "online"])
def test_key_is_never_shown(monkeypatch, capfd, wanted, answering, silent):
    said = []
    for server in (answering, silent):
        log_in(monkeypatch, server, KEY)
        try:
            said.append(choose_mode(wanted).why)
        except InputError as error:
            said.append(str(error))
    assert len(said) == 2
    assert KEY not in "".join([*said, *capfd.readouterr()])


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_auto_respects_the_environment_and_asks_nobody(monkeypatch, server, answering, mode):
    log_in(monkeypatch, answering, KEY)
    monkeypatch.setenv("WANDB_MODE", mode)
    before = len(server.requests())
    assert choose_mode("auto") == TrackingMode(mode, "WANDB_MODE says so")
    assert len(server.requests()) == before


@pytest.mark.parametrize("mode", ["offline", "disabled"])
@pytest.mark.parametrize("by_environment", ["online", "offline", "disabled"])
def test_what_the_file_says_stands_whatever_the_environment(monkeypatch, answering, mode, by_environment):
    log_in(monkeypatch, answering, KEY)
    monkeypatch.setenv("WANDB_MODE", by_environment)
    assert choose_mode(mode) == TrackingMode(mode, "as it was asked for")


@pytest.mark.parametrize("mode", ["online", "offline", "disabled"])
def test_processes_of_a_sweep_write_below_its_folder_only(mode):
    folder = Path("/results/trip")
    variables = environment(TrackingMode(mode, "because"), folder)
    assert variables["WANDB_MODE"] == mode
    places = {name: Path(value) for name, value in variables.items() if name.endswith("_DIR")}
    assert set(places) == {"WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR"}
    assert places.pop("WANDB_DIR") == folder  # wandb adds its own `wandb`
    assert all(place.is_relative_to(folder / "wandb") for place in places.values())


def test_processes_of_a_sweep_get_no_key(monkeypatch, answering):
    log_in(monkeypatch, answering, KEY)
    variables = environment(choose_mode("auto"), Path("/results/trip"))
    assert "WANDB_API_KEY" not in variables
    assert KEY not in "".join(variables.values())


@pytest.mark.parametrize(("name", "value"), [("WANDB_BASE_URL", "localhost:8080"), ("WANDB_MODE", "ofline")])
def test_a_variable_that_makes_no_sense_is_said_in_one_line(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="a WANDB_ variable in the environment is wrong") as refused:
        choose_mode("auto")
    assert "pydantic" not in str(refused.value) and "\n" not in str(refused.value)


def test_a_password_in_the_address_is_not_shown(monkeypatch, silent):
    log_in(monkeypatch, silent.replace("http://", "http://me:secret@"), "0" * 40)
    assert "secret" not in choose_mode("auto").why


@pytest.mark.parametrize("value", ["my secret key", "short", " spaced "])
def test_a_key_that_makes_no_sense_is_not_shown(monkeypatch, answering, value):
    log_in(monkeypatch, answering, value)
    try:
        said = choose_mode("auto").why
    except InputError as error:
        said = str(error)
    assert said and value not in said


class Proxy(BaseHTTPRequestHandler):
    """Something else than a W&B server, which answers everything in one way."""

    status, body, headers_sent, got = 200, b"", {}, []

    def do_POST(self):
        type(self).got.append(self.headers["Authorization"])
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        for name, value in {"Content-Length": str(len(self.body)), **self.headers_sent}.items():
            self.send_header(name, value)
        self.end_headers()
        for number in range(len(self.body)):
            self.wfile.write(self.body[number : number + 1])
            if self.pause and self.over.wait(self.pause):
                return

    do_GET = do_POST
    pause = 0.0

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def proxy():
    """Makes a server that answers as it is told; its address and its class."""
    running, over = [], threading.Event()

    def proxy(**attributes):
        kind = type("Answers", (Proxy,), {"got": [], "over": over, **attributes})
        server = HTTPServer(("127.0.0.1", 0), kind)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_port}", kind

    yield proxy
    over.set()
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"body": b"<html>Please log in to the hotel</html>"}, "is no W&B server: its answer is no GraphQL"),
        ({"body": b"[]"}, "is no W&B server: its answer is no GraphQL"),
        ({"status": 404}, "is no W&B server, or of another version (HTTP 404)"),
        ({"body": json.dumps({"data": {"viewer": None}}).encode()}, "does not know the W&B key"),
        ({"body": json.dumps({"data": None, "errors": [{"message": "no\nwhere"}]}).encode()}, "the question: no"),
    ],
)
def test_what_is_no_wandb_server_is_told_from_one(monkeypatch, proxy, answer, why):
    address, _ = proxy(**answer)
    log_in(monkeypatch, address, KEY)
    chosen = choose_mode("auto")
    assert chosen.mode == "offline" and why in chosen.why and "\n" not in chosen.why


def test_an_answer_in_drops_is_not_waited_for(monkeypatch, proxy):
    address, _ = proxy(body=b" " * 600, pause=0.1)  # no single wait is long
    log_in(monkeypatch, address, KEY)
    monkeypatch.setattr("gaelp_ray.tracking.modes.PROBE_SECONDS", 0.5)
    started = time.monotonic()
    assert "does not answer (timed out)" in choose_mode("auto").why
    assert time.monotonic() - started < 20


def test_the_key_does_not_follow_a_redirect(monkeypatch, proxy):
    other, there = proxy(body=b"{}")
    address, here = proxy(status=302, headers_sent={"Location": other})
    log_in(monkeypatch, address, KEY)
    assert "HTTP 302" in choose_mode("auto").why
    assert len(here.got) == 1 and there.got == []
