"""docs/own-environments.md is executed: its commands as typed, on its own example, with fewer flights."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from gymnasium.utils.env_checker import check_env

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "own-environments.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


def run(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "gaelp_ray", *words]
    done = subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A copy of docs/ in which the page's commands have run: (folder of the last one, what each printed)."""
    here = tmp_path_factory.mktemp("reader")
    shutil.copytree(DOCS / "examples", here / "docs/examples", ignore=shutil.ignore_patterns("__pycache__", "results"))
    file = here / "docs/examples/newsletter.yaml"
    small = yaml.safe_load(file.read_text(encoding="utf-8"))
    small |= {"run_cap": 1, "trial": {**small["trial"], "num_episodes": 128}}
    file.write_text(yaml.safe_dump(small | {"select": {**small["select"], "episodes": 64}}), encoding="utf-8")
    printed = []
    for line in block("sh").splitlines():
        first, *words = shlex.split(line, comments=True)
        if first == "cd":
            here = here / words[0]
        else:
            assert first == "gaelp-ray"
            printed.append(run(here, *words))
    return here, printed


def test_its_commands_work_in_their_order(reader):
    here, printed = reader
    assert printed[0].startswith("newsletter: random search, 2 trials, flights of your own environment\n")
    assert "fresh flights through newsletter:Newsletter" in printed[-1]
    measured = r"delivered ROAS [\d.]+, .*, ROAS [\d.]+, delivery [\d.]+%, optimality -\n"
    chosen = rf"(winner|tie, selected) newsletter-\w+: {measured}"
    assert re.search(chosen, "".join(printed))
    assert "nan" not in "".join(printed)
    record = json.loads((here / "results/newsletter/selection.json").read_text(encoding="utf-8"))
    assert record["winner"]["evaluation"]["budget"] == 64 * 700.0


def test_its_python_reaches_the_roas_that_evaluate_prints(reader):
    here, printed = reader
    code = [sys.executable, "-c", block("python")]
    done = subprocess.run(code, cwd=here, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (judged,) = re.findall(r"\n ROAS +([\d.]+)", printed[-1])
    assert float(done.stdout) == pytest.approx(float(judged), rel=0.1)  # other flights of the same environment


def test_its_lines_are_those_of_the_example():
    example = yaml.safe_load((DOCS / "examples/newsletter.yaml").read_text(encoding="utf-8"))
    shown = yaml.safe_load(block("yaml"))["trial"]
    assert shown.items() <= example["trial"].items()


@pytest.mark.filterwarnings("ignore")  # recommendations
def test_the_example_is_what_gymnasium_asks_for(shop, monkeypatch):
    shop()  # a path that is forgotten after the test
    monkeypatch.syspath_prepend(DOCS / "examples")
    newsletter = importlib.import_module("newsletter")
    check_env(newsletter.Newsletter(), skip_render_check=True)
    del sys.modules["newsletter"]
