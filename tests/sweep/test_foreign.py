"""Sweep files that were written for W&B load as they stand and can be sampled; only running them asks for our names."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import gaelp_ray
from gaelp_ray.errors import SweepFileError
from gaelp_ray.sweep.format.document import read_document
from gaelp_ray.sweep.format.load import load_sweep, unused_keys
from gaelp_ray.sweep.format.parameters import KEYS, leaves
from gaelp_ray.sweep.format.spec import SweepSpec
from gaelp_ray.sweep.planning.plan import plan_sweep

GRID = """\
program: train.py
method: grid
metric: {name: val_loss, goal: minimize}
parameters:
  optimizer: {values: [adam, sgd]}
  dropout: {values: [0.3, 0.4, 0.5]}
  epochs: {value: 1}
"""
NESTED = """\
name: nested search
program: train.py
method: random
metric:
  goal: maximize
  name: val_acc
parameters:
  batch_size:
    distribution: q_log_uniform_values
    q: 8
    min: 32
    max: 256
  optimizer:
    parameters:
      name: {values: [adam, sgd]}
      lr: {distribution: log_uniform, min: -9.21, max: -2.3}
      nadam:
        parameters:
          beta: {values: [0.9, 0.95]}
  seed: {value: null}
"""
BAYES = """\
name: bayes-hyperband
project: vision
entity: my-team
description: early stopping with Hyperband
method: bayes
metric: {name: validation_loss, goal: minimize, target: 0.05}
parameters:
  learning_rate: {min: 0.0001, max: 0.1}
  batch_size: {values: [16, 32, 64]}
  epochs: {min: 5, max: 15}
early_terminate: {type: hyperband, s: 2, eta: 3, max_iter: 27}
run_cap: 40
"""
COMMAND = """\
program: train.py
method: random
command:
  - ${env}
  - ${interpreter}
  - ${program}
  - "--config=base.yaml"
  - ${args_no_hyphens}
parameters:
  weight_decay: {distribution: inv_log_uniform_values, min: 1.0e-6, max: 0.1}
  momentum: {distribution: beta, a: 9, b: 1}
  noise: {distribution: q_normal, mu: 0, sigma: 2, q: 0.5}
  backbone: {values: [resnet18, resnet50], probabilities: [0.25, 0.75]}
"""
LAUNCH = """\
apiVersion: wandb/v1
kind: sweep
description: sweep on launch
job: my-team/vision/job-train:v3
image_uri: example/train:latest
controller: {type: cloud}
scheduler:
  num_workers: 8
  resource: local-container
  settings: {}
method: random
metric: {name: loss_metric, goal: minimize, impute: worst, impute_while_running: latest}
parameters:
  depth: {min: 1, max: 9}
  layers: {values: [[64, 64], [128]]}
"""
FILES = {"grid": GRID, "nested": NESTED, "bayes": BAYES, "command": COMMAND, "launch": LAUNCH}


@pytest.fixture(params=FILES)
def path(request, tmp_path) -> Path:
    (tmp_path / f"{request.param}.yaml").write_text(FILES[request.param], encoding="utf-8")
    return tmp_path / f"{request.param}.yaml"


def load(tmp_path: Path, name: str) -> SweepSpec:
    (tmp_path / f"{name}.yaml").write_text(FILES[name], encoding="utf-8")
    return gaelp_ray.load_sweep(tmp_path / f"{name}.yaml")


def test_it_loads_and_samples(path):
    spec = gaelp_ray.load_sweep(path)
    drawn = spec.sample(5)
    assert len(drawn) == 5
    assert drawn[:2] == spec.sample(2)
    assert all(set(one) == set(spec.parameters) for one in drawn)


def test_planning_it_names_every_parameter_that_is_no_field_of_ours(path):
    spec = load_sweep(path)
    fields = {"learning_rate", "batch_size", "seed"}
    strangers = {".".join(map(str, leaf.path)) for leaf in leaves(spec.parameters) if leaf.name not in fields}
    with pytest.raises(SweepFileError) as refused:
        plan_sweep(path)
    unknown = [line.split(": ")[1] for line in refused.value.problems if "unknown parameter" in line]
    assert set(unknown) == strangers


def test_grid_of_the_documentation(tmp_path):
    assert load(tmp_path, "grid").name == "grid"
    assert load(tmp_path, "grid").sample() == [
        {"dropout": dropout, "epochs": 1, "optimizer": optimizer}
        for dropout in (0.3, 0.4, 0.5)
        for optimizer in ("adam", "sgd")
    ]


def test_nested_values_stay_within_what_was_written(tmp_path):
    spec = load(tmp_path, "nested")
    assert spec.name == "nested search"
    for one in spec.sample(50, seed=3):
        assert one["batch_size"] in range(32, 257, 8)
        assert 1e-4 < one["optimizer"]["lr"] < 0.101
        assert one["optimizer"]["nadam"]["beta"] in (0.9, 0.95)
        assert one["seed"] is None


def test_bayes_keeps_its_stopping_rule_and_target(tmp_path):
    spec = load(tmp_path, "bayes")
    assert spec.early_terminate is not None
    assert spec.early_terminate.bands == (3, 9)
    assert (spec.metric.target, spec.metric.goal, spec.run_cap) == (0.05, "minimize", 40)
    assert len(spec.sample()) == 40


@pytest.mark.parametrize(
    ("name", "unused"),
    [
        ("command", ["command", "program"]),
        (
            "launch",
            "apiVersion controller image_uri job kind metric.impute metric.impute_while_running scheduler".split(),
        ),
    ],
)
def test_keys_of_the_launcher_are_unused(tmp_path, name, unused):
    load(tmp_path, name)
    assert unused_keys(read_document(tmp_path / f"{name}.yaml")) == unused


NUMBERS = st.one_of(st.integers(-50, 50), st.floats(-50, 50, allow_subnormal=False))
POSITIVE = st.one_of(st.integers(1, 50), st.floats(1e-3, 50))
LISTS = st.lists(st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=3)), min_size=1, max_size=4)
WORDS = {"min": NUMBERS, "max": NUMBERS, "mu": NUMBERS, "q": POSITIVE, "sigma": st.floats(0, 9)} | {
    "a": POSITIVE,
    "b": POSITIVE,
    "value": st.one_of(st.none(), NUMBERS, LISTS),
    "values": LISTS,
    "probabilities": st.sampled_from([[1.0], [0.5, 0.5], [0.2, 0.3, 0.5], [0.25] * 4]),
}


@st.composite
def one_parameter(draw) -> dict:
    """Mostly valid: bounds in order and positive, as many probabilities as values; one of ten is left to chance."""
    kind = draw(st.sampled_from(sorted(KEYS)))
    needed, optional = KEYS[kind]
    keys = [*needed, *(key for key in optional if draw(st.booleans()))]
    parameter = {key: draw(WORDS[key]) for key in keys}
    if draw(st.integers(0, 9)):
        if "min" in parameter:
            whole = int if kind == "int_uniform" else float
            low = abs(whole(parameter["min"])) + whole(1)
            parameter |= {"min": low, "max": low + whole(draw(st.integers(1, 9)))}
        if "probabilities" in parameter:
            parameter["probabilities"] = [1 / len(parameter["values"])] * len(parameter["values"])
        parameter["distribution"] = kind
    return parameter


PARAMETERS = st.recursive(
    st.dictionaries(st.text(alphabet="abc.", min_size=1, max_size=3), one_parameter(), min_size=1, max_size=3),
    lambda inner: st.dictionaries(
        st.text(alphabet="xyz", min_size=1, max_size=2),
        st.one_of(one_parameter(), inner.map(lambda tree: {"parameters": tree})),
        min_size=1,
        max_size=3,
    ),
    max_leaves=6,
)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(parameters=PARAMETERS, method=st.sampled_from(["random", "bayes", "grid"]), seed=st.integers(0, 2**40))
def test_what_validates_can_be_sampled(tmp_path_factory, parameters, method, seed):
    path = tmp_path_factory.mktemp("property") / "sweep.yaml"
    path.write_text(yaml.safe_dump({"method": method, "parameters": parameters}, allow_unicode=True), encoding="utf-8")
    try:
        spec = load_sweep(path)
    except SweepFileError as error:
        assert all(str(path) in line for line in error.problems)
        return
    drawn = spec.sample(4, seed)
    assert drawn[:2] == spec.sample(2, seed)
    assert len(drawn) == 4 or method == "grid"
    assert len(drawn) >= 1
    again = yaml.safe_load(yaml.safe_dump(spec.model_dump(mode="json", exclude_none=True)))
    assert SweepSpec.model_validate(again).sample(4, seed) == drawn


def test_most_generated_parameters_are_valid():
    """So that the property above is about something."""
    valid = []

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(parameters=PARAMETERS)
    def count(parameters):
        try:
            SweepSpec.model_validate({"name": "s", "method": "random", "parameters": parameters})
            valid.append(True)
        except ValidationError:
            valid.append(False)

    count()
    assert sum(valid) > 100
