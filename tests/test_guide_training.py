"""docs/guide-training.md is executed: its commands as typed (the long training with fewer flights), its Python."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "guide-training.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def run(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=os.environ, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """(A folder with the examples in which both commands have run, what each printed)."""
    here = tmp_path_factory.mktemp("reader")
    shutil.copytree(DOCS / "examples", here / "docs/examples", ignore=shutil.ignore_patterns("__pycache__", "results"))
    commands = [line.removeprefix("$ gaelp-ray ") for block in blocks("console") for line in block.splitlines()]
    assert len(commands) == 2
    return here, [run(here, "-m", "gaelp_ray", *shlex.split(line), *fewer(line)) for line in commands]


def fewer(command: str) -> list[str]:
    return [] if "--episodes" in command else ["--episodes", "512"]


def test_shown_output_has_the_lines_and_numbers_of_a_run(reader):
    shown, printed = blocks("text")[0].splitlines(), reader[1][0].splitlines()
    assert [re.sub(r"-?\d[\d.]*", "#", line).split() for line in shown] == [
        re.sub(r"-?\d[\d.]*", "#", line).split() for line in printed
    ]
    assert [line.split()[0] for line in shown] == [line.split()[0] for line in printed]
    # Another machine may sum in another order, and learn something slightly else of it.
    first, now = ([float(cell.rstrip("%")) for cell in lines[2].split()[1:]] for lines in (shown, printed))
    assert now == pytest.approx(first, rel=0.01)


def test_the_example_is_the_training_that_the_page_says(reader):
    head = reader[1][1].splitlines()[0]
    assert head == "residual: PPO on airfrance-search, 512 training episodes, beside BayesDual on the same flights"
    assert "model: gaelp_checkpoints/residual/iteration-000002\n" in reader[1][1]  # batches of 256


def test_the_python_runs_as_it_stands(reader):
    (code,) = blocks("python")
    here = reader[0]
    roas, error, floor = map(float, run(here, "-c", code).split())
    assert roas > 0 and error > floor > 0
    written = {path.name for path in here.iterdir()}
    assert {"gaelp_results_gaelp_training_v1.json", "gaelp_learning_curve_gaelp_training_v1.png"} <= written
