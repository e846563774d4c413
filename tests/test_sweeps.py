"""Shipped sweep files are test data: each plans, says what it searches, and has nothing that applies to nobody."""

from pathlib import Path

import pytest

from gaelp_ray.sweep.applicability import inapplicable
from gaelp_ray.sweep.plan import plan_sweep

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_sweep_plans(path):
    plan = plan_sweep(path)
    assert plan.spec.name == path.stem
    assert len(plan.trials) == plan.spec.run_cap + 1
    assert plan.unused == ()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_parameter_applies_to_some_trial(path):
    assert [found.text for found in inapplicable(plan_sweep(path)) if not found.applies_to] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_sweep_says_how_to_run_it(path):
    assert f"gaelp-ray sweep sweeps/{path.name}" in path.read_text(encoding="utf-8")
