"""Sweep files and sweeps for tests that need real Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gaelp_ray.sweep.pipeline import SweepResult, run_sweep


@pytest.fixture
def sweep_file(tmp_path):
    """Writes keys as a sweep file and returns its path; storage is below tmp_path."""

    def write(name: str = "small", **keys: Any) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"name": name, "storage": str(tmp_path / "results"), **keys}))
        return path

    return write


@pytest.fixture
def run(sweep_file):
    """Runs keys as a real sweep."""

    def start(name: str = "small", **keys: Any) -> SweepResult:
        return run_sweep(sweep_file(name, **keys))

    return start
