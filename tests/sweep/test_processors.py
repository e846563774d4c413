"""The same sweep file has the same leaderboard on processors with and without AVX-512, AVX2 and FMA."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
from small_sweep import written

import gaelp_ray
from gaelp_ray.core import implementation
from gaelp_ray.core.library import supported_levels

FEATURES = [name for name in __cpu_dispatch__ if __cpu_features__[name]]  # beyond those that this numpy always uses
AVX512 = ("AVX512F", "AVX512VL", "AVX512BW", "AVX512DQ", "AVX512CD")
PROCESSORS = {
    # level of the compiled core: what numpy, glibc and OpenBLAS do without, and OpenBLAS's kernels
    "x86-64-v3": ([name for name in FEATURES if "512" in name or "V4" in name], AVX512, "Haswell"),
    "x86-64-v2": (FEATURES, (*AVX512, "AVX2", "AVX", "FMA", "FMA4", "BMI2"), "Prescott"),
}
AGENTS = {
    "x86-64-v3": ["BayesDual", "CEM", "PID", "PPO"],
    "x86-64-v2": ["BayesDual", "CEM", "PID"],  # networks need FMA for the same bits
}
SWEEP = """
import sys
import numpy as np
from gaelp_ray import run_sweep
from gaelp_ray.core import implementation

if __name__ == "__main__":
    run_sweep(sys.argv[1])
    x = np.linspace(0.1, 9.0, 10_000)
    print(implementation(), hash(np.exp(x).tobytes() + (x.reshape(100, 100) @ x.reshape(100, 100)).tobytes()))
"""


def run(folder: Path, agents: list[str], **variables: str) -> str:
    """Run the sweep in a process of its own; returns what computed the market, and a digest of numpy's arithmetic."""
    folder.mkdir(exist_ok=True)
    file = written(
        folder,
        method="grid",
        metric={"name": "delivered_roas", "goal": "maximize"},
        parameters={"agent_type": {"values": agents}},
        trial={"num_episodes": 128, "batch_size": 64, "cem.population": 8, "reward_function": "regret"},
        select={"top_k": len(agents), "episodes": 256, "include_default": False},
        tracking={"mode": "disabled"},
    )
    script = folder / "sweep.py"
    script.write_text(SWEEP, encoding="utf-8")
    here = {"PYTHONPATH": str(Path(gaelp_ray.__file__).parent.parent), "PYTHONHASHSEED": "0"}
    environment = {**os.environ, **here, **variables}
    done = subprocess.run(
        [sys.executable, str(script), str(file)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1]


def another_processor(folder: Path, level: str) -> dict[str, str]:
    """Variables of a process that computes as a processor of this level does, with a copy of the package for it."""
    package = folder / "package" / "gaelp_ray"
    shutil.copytree(Path(gaelp_ray.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    levels = supported_levels()
    for better in levels[: levels.index(level)]:
        for library in (package / "core").glob(f"*-{better}.so"):
            library.unlink()
    features, glibc, kernels = PROCESSORS[level]
    return {
        "PYTHONPATH": str(package.parent),
        "NPY_DISABLE_CPU_FEATURES": " ".join(features),
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=" + ",".join(f"-{name}" for name in glibc),
        "OPENBLAS_CORETYPE": kernels,
    }


def decided(folder: Path) -> tuple[list[dict[str, str]], Any]:
    """(leaderboard.csv, selection.json) without how long trials took."""

    def without_seconds(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without_seconds(inner) for key, inner in value.items() if key != "seconds"}
        return [without_seconds(inner) for inner in value] if isinstance(value, list) else value

    sweep = folder / "results" / "small"
    with (sweep / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        rows = [without_seconds(row) for row in csv.DictReader(file)]
    return rows, without_seconds(json.loads((sweep / "selection.json").read_text(encoding="utf-8")))


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux" or implementation() != "c (x86-64-v4)",
    reason="needs Linux, an x86-64 processor with AVX-512, and the compiled core",
)
@pytest.mark.parametrize("level", PROCESSORS)
def test_same_leaderboard_on_another_processor(tmp_path, level):
    here, there = tmp_path / "here", tmp_path / "there"
    core, arithmetic = run(here, AGENTS[level]).rsplit(" ", 1)
    other_core, other_arithmetic = run(there, AGENTS[level], **another_processor(tmp_path, level)).rsplit(" ", 1)
    assert arithmetic != other_arithmetic  # else the variables have no effect, and the rest says nothing
    assert (core, other_core) == ("c (x86-64-v4)", f"c ({level})")
    rows, selection = decided(here)
    other_rows, other_selection = decided(there)
    assert other_rows == rows
    assert other_selection == selection
    assert len(rows) == len(AGENTS[level]) + 1  # and the reference line
