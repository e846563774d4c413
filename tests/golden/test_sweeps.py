"""What five small sweeps leave behind is what it was: decisions, files, metrics in W&B, exit codes.

Floats are compared in nine digits: the last ones of an optimiser's proposals follow the processor. After a change
that is meant to change results, write the records anew, and read what has changed:

    UPDATE_GOLDEN=1 pytest -m slow tests/golden
"""

from __future__ import annotations

import csv
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from small_sweep import written

from gaelp_ray.cli.main import main
from gaelp_ray.tracking.offline import offline_runs

HERE = Path(__file__).parent
METRIC = {"name": "delivered_roas", "goal": "maximize"}
CEM = {"agent_type": "CEM", "batch_size": 32, "cem.population": 8}
SEARCHED = {"cem.elite_share": {"min": 0.2, "max": 0.8}, "cem.initial_std": {"min": 0.5, "max": 2.0}}
SWEEPS: dict[str, dict[str, Any]] = {
    "random": {
        "method": "random",
        "run_cap": 3,
        "parameters": {"agent_type": {"values": ["BayesDual", "PID"]}, "dual.shade": {"min": 0.0, "max": 0.3}},
        "trial": {"num_episodes": 64, "batch_size": 32},
    },
    "grid": {
        "method": "grid",
        "parameters": {"dual.traffic": {"values": ["counts", "filter"]}, "dual.shade": {"values": [0.0, 0.2]}},
        "trial": {"agent_type": "BayesDual", "num_episodes": 32, "batch_size": 32},
    },
    "bayes": {
        "method": "bayes",
        "run_cap": 4,
        "parameters": {"dual.shade": {"min": 0.0, "max": 0.3}, "dual.optimism": {"min": -0.5, "max": 0.5}},
        "trial": {"agent_type": "BayesDual", "num_episodes": 32, "batch_size": 32},
    },
    "asha": {
        "method": "random",
        "run_cap": 4,
        "scheduler": {"type": "asha", "grace_period": 1, "reduction_factor": 2},
        "parameters": SEARCHED,
        "trial": {**CEM, "num_episodes": 128},
    },
    "pbt": {
        "method": "random",
        "run_cap": 4,
        "scheduler": {"type": "pbt", "perturbation_interval": 2, "quantile_fraction": 0.25},
        "parameters": SEARCHED,
        "trial": {**CEM, "num_episodes": 128},
    },
}
OF_THE_CLOCK = {"seconds", "time", "cpu_seconds", "created", "started", "ended"}
"""Keys whose values no two runs share."""


def rounded(value: Any) -> Any:
    """Floats in nine digits, and nothing that depends on the clock."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items() if key not in OF_THE_CLOCK}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def value_of(text: str) -> Any:
    """A cell of the leaderboard."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def keys_of(value: Any, prefix: str = "") -> list[str]:
    """Dotted keys of a document."""
    if not isinstance(value, dict):
        return [prefix]
    return [key for name, inner in value.items() for key in keys_of(inner, f"{prefix}.{name}" if prefix else name)]


def left_behind(sweep: Path) -> dict[str, Any]:
    """The record of a sweep's directory."""
    with (sweep / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        rows = [{name: value_of(text) for name, text in row.items()} for row in csv.DictReader(file)]
    files = {path.relative_to(sweep).as_posix() for path in sweep.rglob("*") if path.is_file()}
    model = json.loads((sweep / "best" / "model.json").read_text(encoding="utf-8"))
    runs = offline_runs(sweep / "wandb")
    return {
        "files": sorted({re.sub(r"^wandb/.*", "wandb/", name) for name in files}),
        "leaderboard": rounded(rows),
        "selection": rounded(json.loads((sweep / "selection.json").read_text(encoding="utf-8"))),
        "model.json": keys_of(model),
        "wandb runs": sorted(run.name for run in runs),
        "wandb history": sorted({name for run in runs for row in run.history for name in row}),
        "wandb summary": sorted({name for run in runs for name in run.summary}),
        "wandb config": sorted({name for run in runs for name in run.config}),
    }


def exit_code(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Of a command line."""
    monkeypatch.setattr(sys, "argv", ["gaelp-ray", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", SWEEPS)
def test_sweep_leaves_what_it_left(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    select = {"top_k": 2, "episodes": 256, "include_default": name == "random"}
    file = written(tmp_path, name, metric=METRIC, max_concurrent=1, select=select, **SWEEPS[name])
    record = {"exit code": exit_code(monkeypatch, "sweep", str(file)), **left_behind(tmp_path / "results" / name)}
    golden = HERE / f"{name}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    assert record == json.loads(golden.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("markets", 0),
        ("fields PPO", 0),
        ("list", 0),
        ("plan sweep.yaml", 0),
        ("plan absent.yaml", 2),
        ("plan sweep.yaml --set run_cap=none", 2),
        ("sweep absent.yaml", 2),
        ("resume absent", 2),
        ("show absent", 2),
        ("best absent -o model", 2),
        ("evaluate absent", 2),
        ("no-such-command", 2),
    ],
)
def test_exit_code_of_a_command(tmp_path, monkeypatch, words, code):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "sweep", metric=METRIC, **SWEEPS["random"])
    assert exit_code(monkeypatch, *words.split()) == code
