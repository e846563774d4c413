"""Sweep files to load, and what is said against them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaelp_ray.errors import SweepFileError
from gaelp_ray.sweep.format.load import load_sweep


@pytest.fixture
def write(tmp_path):
    """Writes a text as a file and returns its path."""

    def write(text: str, name: str = "sweep.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def refusal():
    """What load_sweep() says against a file, from the line number on; never in pydantic's own words."""

    def refusal(path: Path) -> list[str]:
        with pytest.raises(SweepFileError) as refused:
            load_sweep(path)
        for foreign in ("validation error", "pydantic", "type=", "Traceback"):
            assert foreign not in str(refused.value)
        return [problem.removeprefix(f"{path}:") for problem in refused.value.problems]

    return refusal
