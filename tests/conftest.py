"""Surroundings of every test: no W&B account, no network, one thread."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def offline_wandb():
    # Whoever runs the tests may have an account; no test may use it or ask a server.
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        del os.environ[name]
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_ERROR_REPORTING="false", OMP_NUM_THREADS="1")
