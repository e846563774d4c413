"""The documentation is executed: commands of the README as typed, its Python, its links."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gaelp_ray.sweep.planning.plan import plan_sweep

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def typed() -> list[str]:
    """Every command of the README, without prompts and comments."""
    lines = [line for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    return [line[2:].split("  #")[0].strip() for line in lines]


def our_commands() -> list[str]:
    return [line for line in typed() if line.startswith("gaelp-ray ")]


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A folder in which the quickstart has been swept, with a file that takes seconds instead of a minute."""
    here = tmp_path_factory.mktemp("reader")
    (here / "sweeps").mkdir()
    small = yaml.safe_load((ROOT / "sweeps/quickstart.yaml").read_text())
    small |= {"run_cap": 2, "trial": {**small["trial"], "num_episodes": 64}, "select": {"top_k": 1, "episodes": 256}}
    (here / "sweeps/quickstart.yaml").write_text(yaml.safe_dump(small))
    run(here, "gaelp-ray sweep sweeps/quickstart.yaml")
    return here


def run(folder: Path, command: str) -> str:
    words = [sys.executable, "-m", "gaelp_ray", *shlex.split(command)[1:]]
    done = subprocess.run(words, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_every_command_works_in_the_order_of_the_page(reader):
    assert len(our_commands()) >= 6
    for command in our_commands():
        assert run(reader, command).strip(), f"{command} printed nothing"


def test_the_python_runs_as_it_stands(reader):
    (code,) = blocks("python")
    run_python = [sys.executable, "-c", code]
    done = subprocess.run(run_python, cwd=reader, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 3.0 < float(done.stdout) < 30.0


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_targets_exist():
    targets = [line.split()[1] for line in typed() if line.startswith("make ")] + ["check", "bench"]
    for target in targets:
        asked = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert asked.returncode == 0, asked.stderr


def test_the_sweep_file_plans(tmp_path):
    (text,) = blocks("yaml")
    path = tmp_path / "my-sweep.yaml"
    path.write_text(text)
    assert len(plan_sweep(path).trials) == 9


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document}: {target}"
