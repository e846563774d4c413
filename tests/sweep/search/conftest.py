"""A sweep file's plan, for tests of searchers."""

from __future__ import annotations

import pytest

from gaelp_ray.sweep.planning.plan import plan_sweep


@pytest.fixture
def plan(tmp_path):
    """Plans the text of a sweep file."""

    def read(text):
        path = tmp_path / "trip.yaml"
        path.write_text(text, encoding="utf-8")
        return plan_sweep(path)

    return read
