"""Shipped sweep files and those of the guide are test data: each loads, and those to run have nothing in vain."""

import math
import re
import shlex
from pathlib import Path

import pytest

from gaelp_ray.errors import SweepFileError
from gaelp_ray.sweep.format.blocks import (
    Asha,
    EarlyTerminate,
    HyperBand,
    Median,
    MetricSpec,
    NoScheduler,
    Plateau,
    Population,
    Resources,
    Seeds,
    SelectSpec,
    Stop,
    TrackingSpec,
)
from gaelp_ray.sweep.format.document import LAUNCHER_KEYS
from gaelp_ray.sweep.format.load import load_sweep
from gaelp_ray.sweep.format.parameters import KEYS, ParameterSpec
from gaelp_ray.sweep.format.publish import GateSpec, PublishSpec
from gaelp_ray.sweep.format.schema import sweep_schema
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


def table(block: str) -> dict[str, str]:
    """The keys in the tables of a section of the guide, each with its row."""
    section = PAGE.partition(f"### {block}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return {key: row for row in rows for key in re.findall("`(.*?)`", row.split("|")[1])}


TABLES = {
    "Top level": [SweepSpec],
    "metric": [MetricSpec],
    "early_terminate": [EarlyTerminate],
    "scheduler": [NoScheduler, Asha, HyperBand, Median, Population],
    "seeds": [Seeds],
    "resources": [Resources],
    "stop": [Stop, Plateau],
    "select": [SelectSpec],
    "tracking": [TrackingSpec],
    "publish": [PublishSpec, GateSpec],
}


@pytest.mark.parametrize("block", TABLES)
def test_the_guide_defines_every_key_of_a_block(block):
    assert set(table(block)) == {key for model in TABLES[block] for key in model.model_fields}


def test_the_guide_defines_every_block_of_the_schema():
    documented = {model.__name__ for models in TABLES.values() for model in models} - {"SweepSpec"}
    others = {"ParameterSpec", "Reference"}  # which have sections of their own
    assert set(sweep_schema()["$defs"]) == documented | others


@pytest.mark.parametrize(("block", "model"), [(block, model) for block, models in TABLES.items() for model in models])
def test_the_guide_names_every_default_number(block, model):
    for key, field in model.model_fields.items():
        default = field.default
        if isinstance(default, (int, float)) and not isinstance(default, bool):
            assert re.search(rf"(?<![\d.]){default:g}(?![\d.])", table(block)[key]), key


def test_the_guides_file_with_mistakes_has_the_messages_that_it_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = re.search(
        r"```text\n(method.*?)```\n\n```console\n\$ gaelp-ray plan ported.yaml\n(.*?)```", PAGE, re.DOTALL
    )
    assert found
    text, shown = found.groups()
    Path("ported.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SweepFileError) as refused:
        plan_sweep(Path("ported.yaml"))
    assert [f"error: {problem}" for problem in refused.value.problems] == shown.splitlines()


def test_the_first_file_of_the_guide_plans(tmp_path):
    path = tmp_path / "page.yaml"
    path.write_text(BLOCKS[0], encoding="utf-8")
    assert len(plan_sweep(path).trials) == 21


def test_the_command_of_the_guide_works():
    # The first has mistakes, the last needs a cluster.
    _, line, _ = re.findall(r"\$ gaelp-ray plan (.*)\n", PAGE)
    file, *words = shlex.split(line)
    assert len(plan_sweep(ROOT / file, settings=words[1::2]).trials) == 5
