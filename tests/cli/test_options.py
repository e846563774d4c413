"""Options that change a sweep file from the command line, and the schema of the format."""

import json

import pytest

from gaelp_ray.sweep.format.schema import sweep_schema

TEXT = """\
method: random
run_cap: 3
parameters:
  learning_rate: {min: 0.001, max: 0.01}
tracking: {mode: disabled}
"""


@pytest.fixture
def run(tmp_path, monkeypatch, gaelp_ray):
    """A command line in a folder with the file `my trip.yaml`."""
    (tmp_path / "my trip.yaml").write_text(TEXT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return gaelp_ray


def test_set_changes_what_is_planned(run):
    settings = ["--set", "parameters.learning_rate={value: 1e-3}", "--set", "name=trip", "--set", "run_cap=1"]
    code, out, _ = run("plan", "my trip.yaml", "--json", "--set", "trial.num_episodes=64", *settings)
    planned = json.loads(out)
    assert code == 0
    assert [trial["trial"] for trial in planned["trials"]] == ["trip-default", "trip-00"]
    assert planned["trials"][1]["params"] == {"learning_rate": 0.001}
    assert planned["trials"][1]["config"]["num_episodes"] == 64


@pytest.mark.parametrize("command", ["plan", "sweep"])
def test_a_wrong_setting_is_one_line_and_starts_nothing(run, command, tmp_path):
    code, _, err = run(command, "my trip.yaml", "--name", "trip", "--set", "run_cap=0")
    assert code == 2
    assert err.splitlines() == ["error: --set run_cap=0: run_cap: 0 should be greater than or equal to 1"]
    assert [path.name for path in tmp_path.iterdir()] == ["my trip.yaml"]


def test_name_gives_a_folder_to_a_file_that_has_none(run):
    code, _, err = run("plan", "my trip.yaml")
    assert code == 2 and "'my trip' names a folder" in err and "--name" in err
    assert run("plan", "my trip.yaml", "--name", "trip")[0] == 0


def test_schema_is_printed(run):
    code, out, _ = run("schema")
    assert code == 0
    assert json.loads(out) == sweep_schema()
