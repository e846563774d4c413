"""The package's promises about itself: what is imported, what is public, what is written where."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import gaelp_ray

PACKAGE = Path(gaelp_ray.__file__).parent


def imported_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(' '.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    "statement", ["import gaelp_ray", "import gaelp_ray.cli.main", "from gaelp_ray import load_best"]
)
def test_neither_ray_nor_wandb_is_imported_before_a_sweep_runs(statement):
    assert not {"ray", "wandb", "pyarrow"} & imported_by(statement)


def test_workers_of_the_final_stage_start_without_what_they_do_not_need():
    assert not {"wandb", "pandas", "ray.tune"} & imported_by("import gaelp_ray.sweep.outcome.reflight")


def test_every_public_name_is_there():
    assert all(getattr(gaelp_ray, name) for name in gaelp_ray.__all__)


def test_dir_lists_every_public_name_and_imports_none_of_them():
    assert set(gaelp_ray.__all__) <= set(dir(gaelp_ray))
    assert not {"wandb", "gaelp_ray.trainer", "gaelp_ray.retrieval"} & imported_by("import gaelp_ray; dir(gaelp_ray)")


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'load_bset'"):
        _ = gaelp_ray.load_bset
