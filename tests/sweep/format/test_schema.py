"""The JSON Schema is that of the models, and says of whole files what load_sweep() says."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

import gaelp_ray
from gaelp_ray.sweep.format.document import LAUNCHER_KEYS
from gaelp_ray.sweep.format.parameters import KEYS
from gaelp_ray.sweep.format.schema import schema_text, sweep_schema
from gaelp_ray.sweep.format.spec import SweepSpec

ROOT = Path(__file__).parents[3]
SHIPPED = Path(gaelp_ray.__file__).parent / "sweep" / "format" / "sweep.schema.json"
BASE = {"method": "random", "parameters": {"x": {"values": [1, 2]}}}
CHECK = jsonschema.Draft202012Validator(sweep_schema())


def test_the_shipped_copy_is_the_generated_one():
    assert SHIPPED.read_text(encoding="utf-8") == schema_text(), (
        "run: gaelp-ray schema > gaelp_ray/sweep/format/sweep.schema.json"
    )


def test_it_is_a_schema_with_every_key_of_the_format():
    jsonschema.Draft202012Validator.check_schema(json.loads(schema_text()))
    assert set(sweep_schema()["properties"]) == {*SweepSpec.model_fields, *LAUNCHER_KEYS}


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_sweeps_name_it_and_follow_it(path):
    text = path.read_text(encoding="utf-8")
    named = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / named).resolve() == SHIPPED.resolve()
    CHECK.validate(yaml.safe_load(text))


@pytest.mark.parametrize(
    "keys",
    [
        {"seeds": {"min": 1, "max": 3}},
        {"seeds": 3, "stop": {"time": "2h", "trial_time": 90, "plateau": {"patience": 3}}},
        {"run_cap": "${RUNS:-5}", "seeds": "${SEEDS}", "resources": {"memory": "1GiB", "cpu": "${CPUS}"}},
        {"scheduler": {"type": "pbt", "hyperparam_mutations": {"x": {"min": 1, "max": 2}}}},
        {"scheduler": {"engine": "wandb"}, "program": "train.py", "command": ["${env}"]},
        {"early_terminate": {"type": "hyperband", "min_iter": 3}, "metric": {"name": "loss", "target": 0.1}},
        {"parameters": {"a": {"parameters": {"b": {"parameters": {"c": {"value": None}}}}}}},
        {"parameters": {"a": {"min": "${LOW}", "max": 3}}},
        {"publish": {"registry": "bidders", "gate": {"constraints": {"min_roas": 4.5}}}},
        {"publish": {"gate": {}}},
    ],
)
def test_what_loads_follows_the_schema(keys):
    CHECK.validate(BASE | keys)


@pytest.mark.parametrize("kind", KEYS)
def test_every_distribution_follows_the_schema(kind):
    words = {"value": 1, "values": [1, 2], "probabilities": [0.5, 0.5], "min": 1, "max": 3}
    needed, optional = KEYS[kind]
    parameter = {"distribution": kind, **{key: words[key] for key in needed}}
    CHECK.validate(BASE | {"parameters": {"x": parameter}})
    CHECK.validate(
        BASE
        | {"parameters": {"x": parameter | {key: words.get(key, 0.5) for key in optional if key != "probabilities"}}}
    )
    for key in needed:
        without = {word: value for word, value in parameter.items() if word != key}
        assert not CHECK.is_valid(BASE | {"parameters": {"x": without}})
    assert not CHECK.is_valid(BASE | {"parameters": {"x": parameter | {"mx": 1}}})


@pytest.mark.parametrize(
    "keys",
    [
        {"paramters": 3},
        {"method": "custom"},
        {"run_cap": 0},
        {"run_cap": "five"},
        {"parameters": {"x": 3}},
        {"parameters": {"x": {"min": 1}}},
        {"parameters": {"x": {"min": 1, "max": "3"}}},
        {"parameters": {"x": {"min": 1, "max": 3, "q": 1}}},
        {"parameters": {"x": {"parameters": {"y": {"vale": 3}}}}},
        {"parameters": {"x": {"distribution": "gauss"}}},
        {"scheduler": {"type": "asha", "grace": 3}},
        {"scheduler": {"grace_period": 3}},
        {"early_terminate": {"min_iter": 3}},
        {"select": {"topk": 3}},
        {"publish": {"gate": None}},
        {"publish": {"gate": {"min_roas": 3}}},
    ],
)
def test_what_does_not_load_breaks_the_schema(keys):
    assert not CHECK.is_valid(BASE | keys)
