"""The real client says in its own words what is wrong with a key, and at once."""

from __future__ import annotations

import time

import pytest
import wandb
from wandb.errors import AuthenticationError, CommError

from wandb_server import StandIn

pytestmark = pytest.mark.slow

WRONG = "f" * 40


def test_the_key_is_accepted(wandb_server: StandIn) -> None:
    assert wandb.login(verify=True)
    assert [(one.operation, one.status) for one in wandb_server.requests()] == [("Viewer", 200)]


def test_login_refuses_a_wrong_key(wandb_server: StandIn) -> None:
    with pytest.raises(AuthenticationError, match="user is not logged in"):
        wandb.login(key=WRONG, verify=True, relogin=True)
    assert [one.status for one in wandb_server.requests("graphql")] == [401]


def test_a_run_with_a_wrong_key_does_not_start(wandb_server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", WRONG)
    began = time.monotonic()
    with pytest.raises(CommError, match="user is not logged in"):
        wandb.init(project="demo", id="r1")
    assert time.monotonic() - began < 20  # no retries: they would take WANDB_INIT_TIMEOUT, 90 s
    with pytest.raises(AuthenticationError, match="user is not logged in"):
        wandb.Api().run("demo/r1")
    assert wandb_server.state().runs == {}
