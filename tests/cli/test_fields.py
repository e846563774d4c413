"""`gaelp-ray fields`: the documentation of every hyperparameter, read from the configuration itself."""

import io
import json
import subprocess
import sys

import pytest
from rich.console import Console

from gaelp_ray.agents import agent_types
from gaelp_ray.cli.fields import field_facts, print_fields
from gaelp_ray.config import FIELD_NAMES
from gaelp_ray.errors import InputError

FACTS = {fact["field"]: fact for fact in field_facts()}


def test_every_field_that_a_sweep_may_vary_is_listed():
    assert list(FACTS) == list(FIELD_NAMES)


@pytest.mark.parametrize("name", FIELD_NAMES)
def test_every_field_says_what_it_means_what_is_allowed_and_who_reads_it(name):
    fact = FACTS[name]
    assert len(fact["meaning"]) > 10
    assert fact["allowed"]
    assert set(fact["agents"]) <= set(agent_types())
    # The bidders behind a reference that is not the default one are read when it is chosen.
    assert fact["agents"], name


def test_bounds_choices_and_readers_are_those_of_the_configuration():
    assert FACTS["ppo.clip_range"]["allowed"] == "number > 0 < 1"
    assert FACTS["heterogeneity"]["allowed"] == "number ≥ 0 ≤ 3"
    assert FACTS["auction"]["allowed"] == "second_price, first_price"
    assert FACTS["dual.shade"]["default"] == 0.0
    assert FACTS["cem.population"]["agents"] == ["CEM"]
    assert FACTS["market"]["agents"] == agent_types()


def test_a_section_and_an_agent_narrow_the_list():
    assert {fact["field"].split(".")[0] for fact in field_facts("cem")} == {"cem"}
    fields = {fact["field"] for fact in field_facts("PID")}
    assert {"pid.kp", "market"} <= fields
    assert not {"ppo.epochs", "learning_rate"} & fields


def test_an_unknown_name_gets_the_closest_known_one():
    with pytest.raises(InputError, match=r"no section or agent 'ppx'\. Did you mean 'ppo'\?"):
        field_facts("ppx")


@pytest.mark.parametrize("width", [40, 60, 80, 120, 400])
def test_fields_are_printed_with_whole_keys_and_defaults_at_any_width(width):
    console = Console(file=io.StringIO(), width=width)
    print_fields(field_facts(), console)
    text = console.file.getvalue()
    assert "…" not in text
    words = set(text.split())
    for name, fact in FACTS.items():
        assert name in words and set(str(fact["default"]).split()) <= words
        assert " ".join(fact["meaning"].split()) in " ".join(text.split())


def test_the_command_prints_json():
    command = [sys.executable, "-m", "gaelp_ray", "fields", "pid", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [fact["field"] for fact in json.loads(done.stdout)] == ["pid.kp", "pid.ki", "pid.kd"]
