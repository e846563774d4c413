"""A person without an account in an empty working directory."""

import pytest
import wandb
from no_account import no_account


@pytest.fixture(scope="module", autouse=True)
def surroundings(tmp_path_factory):
    """A person without an account; wandb's own files in a folder of this module."""
    home = tmp_path_factory.mktemp("home")
    with no_account(home, WANDB_ERROR_REPORTING="false", NETRC=home / "none", NO_PROXY="*"):
        yield


@pytest.fixture
def here(tmp_path, monkeypatch):
    wandb.teardown()  # wandb reads the environment once in a process
    monkeypatch.chdir(tmp_path)
    return tmp_path
