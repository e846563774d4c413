"""GAELP's import names work on request, and replace no module of the user's."""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import ModuleType

import pytest

import gaelp_ray
from gaelp_ray.compat import LEGACY_MODULES, install_legacy_modules
from gaelp_ray.errors import InputError

SCRIPT = """
import sys, gaelp_ray.compat
gaelp_ray.compat.install_legacy_modules()
import wandb_tracking, integrated_training
print("wandb" in sys.modules)
from wandb_tracking import GAELPWandbTracker, GAELPExperimentConfig, create_experiment_tracker
from integrated_training import *
print(GAELPWandbTracker.__module__, IntegratedGAELPTrainer.__module__, "wandb" in sys.modules)
"""


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    for name in LEGACY_MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield
    for name in LEGACY_MODULES:
        sys.modules.pop(name, None)


def test_legacy_imports_work_and_import_wandb_only_when_used():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False", "gaelp_ray.tracking.tracker gaelp_ray.trainer True"]


def test_legacy_modules_are_not_importable_until_installed():
    for name in LEGACY_MODULES:
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(name)


def test_legacy_names_are_those_of_gaelp_ray():
    install_legacy_modules()
    first = dict(sys.modules)
    install_legacy_modules()
    for module, names in LEGACY_MODULES.items():
        assert sys.modules[module] is first[module] is importlib.import_module(module)
        assert dir(sys.modules[module]) == sorted(names)
        assert all(getattr(sys.modules[module], name) is getattr(gaelp_ray, name) for name in names)
    with pytest.raises(ImportError, match="cannot import name 'GAELPWandbTraker'"):
        exec("from wandb_tracking import GAELPWandbTraker")
    with pytest.raises(AttributeError, match=r"Did you mean 'GAELPWandbTracker'\?"):
        _ = sys.modules["wandb_tracking"].GAELPWandbTraker


@pytest.mark.parametrize("name", LEGACY_MODULES)
def test_legacy_modules_never_replace_a_module_of_the_user(name, tmp_path, monkeypatch):
    (tmp_path / f"{name}.py").write_text("mine = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError) as refused:
        install_legacy_modules()
    assert str(refused.value).startswith(f"{name}: a module of this name exists ({tmp_path / name}.py): rename it, or")
    assert not set(LEGACY_MODULES) & set(sys.modules)  # neither of the two
    assert importlib.import_module(name).mine == 1
    with pytest.raises(InputError, match=f"{name}: a module of this name exists"):
        install_legacy_modules()


def test_legacy_modules_never_replace_an_imported_module(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_tracking", ModuleType("wandb_tracking"))
    with pytest.raises(InputError, match=r"wandb_tracking: a module of this name exists \(in sys\.modules\)"):
        install_legacy_modules()


def test_a_folder_of_the_name_is_no_module(tmp_path, monkeypatch):
    (tmp_path / "wandb_tracking").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    install_legacy_modules()
    assert sys.modules["wandb_tracking"].GAELPExperimentConfig is gaelp_ray.GAELPExperimentConfig
