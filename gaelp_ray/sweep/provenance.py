"""Where a sweep's numbers come from: code, packages, market, machine."""

from __future__ import annotations

import os
import platform
import subprocess
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from gaelp_ray.core import implementation
from gaelp_ray.market.stream import STREAM
from gaelp_ray.sweep.planning.plan import SweepPlan
from gaelp_ray.threads import matrix_products

COMMIT = "GAELP_RAY_COMMIT"
"""Says of code that was sent without its .git which commit it is; a `+` at the end: and it was changed."""

PACKAGES = ("gaelp_ray", "ray", "wandb", "numpy", "scipy", "gymnasium", "pydantic")


def provenance(plan: SweepPlan, tracking: Mapping[str, str]) -> dict[str, Any]:
    """Everything needed to say later why a number came out as it did."""
    return {
        "id": uuid.uuid4().hex[:8],
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seed": plan.spec.seed,
        "git": _git(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "market": {"name": plan.market.name, "hash": plan.market.hash},
        "stream": STREAM,
        "core": implementation(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "matrix_products": matrix_products(),
        "nodes": [{"host": platform.node(), "cpus": psutil.cpu_count()}],
        "tracking": dict(tracking),
    }


def _git() -> dict[str, Any] | None:
    """Commit of what was submitted, or of this package's checkout; None where it was installed without one."""
    if told := os.environ.get(COMMIT):
        return {"commit": told.rstrip("+"), "dirty": told.endswith("+")}
    root = Path(__file__).resolve().parents[2]
    return checkout(root) if (root / ".git").exists() else None


def checkout(root: Path) -> dict[str, Any] | None:
    """Commit of the repository that a folder is in, and whether anything was changed; None where it is in none."""
    try:
        commit = _run_git(root, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_run_git(root, "status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def _run_git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()
