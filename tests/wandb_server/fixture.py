"""The fixture `wandb_server`, for all tests (tests/conftest.py names this module as a plugin)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from wandb_server.server import StandIn


@pytest.fixture
def wandb_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A W&B server, and a person logged in to it whose home and whose wandb folders are in tmp_path.

    Processes started from the test inherit that. At its end open runs are finished, and nothing is left running.
    """
    import wandb

    from wandb_server.server import StandIn

    wandb.teardown()  # wandb reads the environment once in a process
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    with StandIn() as server:
        for name, value in {**server.env(), **_folders(tmp_path)}.items():
            monkeypatch.setenv(name, value)
        yield server
        server.clear()
        server.up()  # or open runs would wait for it
        wandb.setup().finish_all_active_runs()  # a teardown alone leaves their threads behind for up to 5 s
        wandb.teardown()
        assert server.state().errors == []


def _folders(home: Path) -> dict[str, str]:
    below = {"WANDB_CACHE_DIR": "cache", "WANDB_CONFIG_DIR": "config", "WANDB_DATA_DIR": "data"}
    folders = {name: str(home / "wandb-home" / folder) for name, folder in below.items()}
    return {
        **folders,
        "HOME": str(home),
        "NETRC": str(home / ".netrc"),
        "WANDB_DIR": str(home),
        "WANDB_ARTIFACT_DIR": str(home / "downloads"),
    }
