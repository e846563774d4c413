"""Sweep files and sweeps for tests that need real Ray."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from s3_server.server import StandIn
from small_sweep import written

from gaelp_ray.sweep.pipeline import SweepResult, run_sweep


@pytest.fixture
def s3(monkeypatch):
    """S3, as this process finds it by itself."""
    with StandIn() as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def sweep_file(tmp_path):
    """Writes keys as a sweep file and returns its path; storage is below tmp_path."""
    return partial(written, tmp_path)


@pytest.fixture
def run(sweep_file):
    """Runs keys as a real sweep."""

    def start(name: str = "small", **keys: Any) -> SweepResult:
        return run_sweep(sweep_file(name, **keys))

    return start


@pytest.fixture(scope="module")
def run_once(tmp_path_factory):
    """Runs keys as a real sweep on which several tests look, and which none of them may change."""

    def start(**keys: Any) -> SweepResult:
        return run_sweep(written(tmp_path_factory.mktemp("once"), **keys))

    return start
