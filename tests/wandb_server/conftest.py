"""Here the server is what is tested: it knows all that it is asked for, and leaves nothing behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from wandb_server import StandIn


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Neither the server's nor wandb's; set up first, so that it looks last."""
    before = set(threading.enumerate())
    yield
    end = time.monotonic() + 30
    while (left := set(threading.enumerate()) - before) and time.monotonic() < end:
        time.sleep(0.01)
    assert not left


@pytest.fixture
def wandb_server(wandb_server: StandIn) -> Iterator[StandIn]:
    """The fixture of all tests, and a look at what clients asked for in vain."""
    yield wandb_server
    assert wandb_server.state().unknown == []
