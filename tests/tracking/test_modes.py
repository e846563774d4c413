"""Whether runs go online is decided once, from the file, the environment, the key and a server that answers."""

import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import wandb

from gaelp_ray.errors import InputError
from gaelp_ray.tracking.modes import TrackingMode, choose_mode, environment

KEY = "0123456789abcdef0123456789abcdef01234567"


class Answering(BaseHTTPRequestHandler):
    """A server that knows nothing, but answers, and counts how often it was asked."""

    asked = 0

    def do_GET(self):
        type(self).asked += 1
        self.send_error(404)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def answering():
    """Address of a server on this machine that answers."""
    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


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


def test_auto_without_a_key_is_offline_says_why_and_asks_no_server(monkeypatch, answering):
    log_in(monkeypatch, answering, None)
    before = Answering.asked
    chosen = choose_mode("auto")
    assert chosen.mode == "offline"
    assert "no W&B key is set (WANDB_API_KEY or `wandb login`)" in chosen.why
    assert Answering.asked == before


def test_auto_without_an_answer_is_offline_and_says_why(monkeypatch, silent):
    log_in(monkeypatch, silent, KEY)
    chosen = choose_mode("auto")
    assert chosen.mode == "offline"
    assert chosen.why.startswith(f"{silent} does not answer (")


def test_online_without_a_key_is_refused_with_the_remedies(monkeypatch, answering):
    log_in(monkeypatch, answering, None)
    with pytest.raises(InputError, match=r"tracking\.mode: online is not possible: .*WANDB_API_KEY.*auto or offline"):
        choose_mode("online")


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
def test_auto_respects_the_environment_and_asks_nobody(monkeypatch, answering, mode):
    log_in(monkeypatch, answering, KEY)
    monkeypatch.setenv("WANDB_MODE", mode)
    before = Answering.asked
    assert choose_mode("auto") == TrackingMode(mode, "WANDB_MODE says so")
    assert Answering.asked == before


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
