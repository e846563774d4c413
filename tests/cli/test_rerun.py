"""`gaelp-ray rerun` as it is typed."""

from __future__ import annotations

import json

import pytest
import yaml
from begun_sweeps import begun, fly

KEYS = {
    "method": "grid",
    "parameters": {"ppo.epochs": {"values": [1, 2]}},
    "trial": {"num_episodes": 32, "batch_size": 16},
    "select": {"include_default": False},
}


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """A begun sweep in results/, one of whose trials has ended and another one was stopped."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump({"name": "small", **KEYS}), encoding="utf-8")
    folder = begun(file, 2)
    fly(folder, "small-00", 2)
    fly(folder, "small-01", 1)
    return folder


def test_a_repeated_trial_exits_with_0(sweep, gaelp_ray):
    code, out, err = gaelp_ray("rerun", "small", "small-00")
    assert (code, out, err) == (0, "small-00: repeated exactly, 2 iterations and the validation flights\n", "")
    code, out, _ = gaelp_ray("rerun", sweep.path, "small-01")
    assert (code, out) == (0, "small-01: repeated exactly, 1 iteration, as far as it went\n")


def test_a_difference_is_told_with_both_values_and_what_has_changed(sweep, gaelp_ray):
    path = sweep.path / "trials" / "small-00" / "record.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    came = lines[1]["report"]["clicks"]
    lines[1]["report"]["clicks"] = 12.5
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    sweep.write_provenance(sweep.read_provenance() | {"python": "3.9.1"})
    code, out, _ = gaelp_ray("rerun", "small", "small-00")
    first, *others = out.splitlines()
    where = "iteration 2, clicks: 12.5 is recorded"
    assert code == 1 and first == f"small-00: not repeated. First difference: {where}, {came} came now"
    assert any(line.startswith("python: 3.9.1 then, 3.") for line in others)
    code, out, _ = gaelp_ray("rerun", "small", "small-00", "--json")
    facts = json.loads(out)
    assert code == 1 and facts["exact"] is False and facts["since"]["python"][0] == "3.9.1"
    assert facts["difference"] == {"iteration": 2, "metric": "clicks", "recorded": 12.5, "now": came}


def test_an_unknown_trial_or_sweep_exits_with_2(sweep, gaelp_ray):
    code, out, err = gaelp_ray("rerun", "small", "smal-00")
    assert (code, out, err) == (2, "", "error: no trial 'smal-00' in this sweep. Did you mean 'small-00'?\n")
    code, _, err = gaelp_ray("rerun", "big", "small-00")
    assert code == 2 and err.startswith("error: no sweep 'big' in results.")
