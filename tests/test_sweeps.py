"""Shipped sweep files and those of the guide are test data: each loads, and those to run have nothing in vain."""

import math
import re
import shlex
from pathlib import Path

import pytest

from gaelp_ray.sweep.format.document import LAUNCHER_KEYS
from gaelp_ray.sweep.format.load import load_sweep
from gaelp_ray.sweep.format.parameters import KEYS, ParameterSpec
from gaelp_ray.sweep.format.spec import SweepSpec
from gaelp_ray.sweep.planning.applicability import inapplicable
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.training import make_untrained, train

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_sweep_plans(path):
    plan = plan_sweep(path)
    assert plan.spec.name == path.stem
    assert len(plan.trials) == len(plan.spec.sample()) + 1
    assert plan.unused == ()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_sweep_flies_two_iterations(path):
    plan = plan_sweep(path)
    kinds = {trial.config.agent_type: trial for trial in plan.trials}
    for trial in kinds.values():
        small = trial.config.replace({"batch_size": 16, "num_episodes": 32})
        flown = list(train(*make_untrained(small), small))
        assert [iteration.number for iteration in flown] == [1, 2]
        assert math.isfinite(flown[-1].totals.pooled().as_dict()[plan.spec.metric.name])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_parameter_applies_to_some_trial(path):
    assert [found.text for found in inapplicable(plan_sweep(path)) if not found.applies_to] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_sweep_says_how_to_run_it(path):
    assert f"gaelp-ray sweep sweeps/{path.name}" in path.read_text(encoding="utf-8")


PAGE = (ROOT / "docs" / "sweep-files.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_file_of_the_guide_loads_and_samples(tmp_path, monkeypatch, number):
    for name in ("RUNS", "USER", "MAX_RATE"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "page.yaml"
    path.write_text(BLOCKS[number], encoding="utf-8")
    assert len(load_sweep(path).sample(3)) == 3


def test_the_guide_says_what_its_values_from_outside_are(tmp_path, monkeypatch):
    for name in ("RUNS", "USER", "MAX_RATE"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "page.yaml"
    path.write_text(BLOCKS[-1], encoding="utf-8")
    spec = load_sweep(path)
    assert spec.run_cap == 10
    assert spec.description == "by nobody, not ${USER}"
    assert spec.parameters["learning_rate"].bounds == (0.0001, 0.01)


def test_the_guide_names_every_distribution_and_every_key():
    words = set(re.findall(r"[A-Za-z_0-9]+", PAGE))
    assert {*KEYS, *SweepSpec.model_fields, *ParameterSpec.model_fields, *LAUNCHER_KEYS} <= words


def test_the_first_file_of_the_guide_plans(tmp_path):
    path = tmp_path / "page.yaml"
    path.write_text(BLOCKS[0], encoding="utf-8")
    assert len(plan_sweep(path).trials) == 21


def test_the_command_of_the_guide_works():
    line, _ = re.findall(r"\$ gaelp-ray plan (.*)\n", PAGE)  # the other one needs a cluster
    file, *words = shlex.split(line)
    assert len(plan_sweep(ROOT / file, settings=words[1::2]).trials) == 5
