"""What a run's config says of the machine."""

import os
import platform

import psutil
from packaging.version import Version

from gaelp_ray.tracking.system import system_facts


def test_facts_are_those_of_this_machine():
    facts = system_facts()
    assert facts["system/platform"] == platform.platform()
    assert facts["system/python_version"] == platform.python_version()
    assert facts["system/cpu_count"] == os.cpu_count()
    assert abs(facts["system/memory_gb"] - psutil.virtual_memory().total / 2**30) < 0.01
    assert 0 < facts["system/memory_available_gb"] <= facts["system/memory_gb"]
    assert facts["system/load_1min"] >= 0.0


def test_versions_of_installed_packages_only(monkeypatch):
    monkeypatch.setattr("gaelp_ray.tracking.system.PACKAGES", ("numpy", "no-such-package"))
    versions = {name: fact for name, fact in system_facts().items() if name.startswith("system/version/")}
    assert list(versions) == ["system/version/numpy"]
    assert Version(versions["system/version/numpy"]) >= Version("2.0")
