"""The machine and the versions that a run was made with, for the run's config."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import psutil

PACKAGES = ("gaelp_ray", "numpy", "scipy", "gymnasium", "ray", "wandb", "torch", "stable-baselines3")
"""Whose versions can change a number; those that are not installed are left out."""


def system_facts() -> dict[str, Any]:
    """Facts of this moment under `system/`: memory in GiB, load as the mean of one minute."""
    facts = {
        "platform": platform.platform(),
        "python_version": platform.python_version(),
        "cpu_count": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 2),
        "memory_available_gb": round(psutil.virtual_memory().available / 2**30, 2),
        "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        **dict(_versions()),
    }
    return {f"system/{name}": fact for name, fact in facts.items()}


def _versions() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        try:
            yield f"version/{package}", metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
