"""A person at a desk, and a head that is far away (tests/far_head.py says what of it is real)."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass

import pytest
import yaml
from far_head import SWEEP, FarHead

from gaelp_ray.cli.main import main


@pytest.fixture
def head(desk, tmp_path, monkeypatch):
    """The head that cluster.yaml at the desk speaks of."""
    far = FarHead(tmp_path / "far", "10.1.0.1")
    monkeypatch.setenv("PATH", f"{far.folder / 'bin'}:{os.environ['PATH']}")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("gaelp_ray.cluster.jobs.following.SECONDS", 0.05)
    monkeypatch.setattr("gaelp_ray.cluster.jobs.results.PAUSE_SECONDS", 0.05)
    desk.write(changes={"--head --port=6379": f"--head --port=6379 --dashboard-port={far.port}"})
    (desk.work / "sweeps").mkdir()
    (desk.work / "sweeps/small.yaml").write_text(yaml.safe_dump(SWEEP), encoding="utf-8")
    yield far
    far.close()


@pytest.fixture
def storage(tmp_path):
    """A folder that the head sees, with a sweep that has finished."""
    sweep = tmp_path / "shared/small"
    (sweep / "best").mkdir(parents=True)
    (sweep / "trials/small-00").mkdir(parents=True)
    selection = {"winner": {"trial": "small-00"}, "leaderboard": [], "reason": "the only one"}
    texts = {"selection.json": json.dumps(selection), "sweep.yaml": yaml.safe_dump(SWEEP), "provenance.json": "{}"}
    for name, text in {
        **texts,
        "best/model.json": "{}",
        "trials/small-00/record.jsonl": "{}",
        "journal.jsonl": "",
    }.items():
        (sweep / name).write_text(text, encoding="utf-8")
    return sweep.parent


@dataclass(frozen=True)
class Said:
    """What a command printed, and ended with."""

    code: int
    out: str
    err: str


@pytest.fixture
def gaelp(monkeypatch, capsys):
    """Runs a command here."""

    def run(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["gaelp-ray", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Said(ended.value.code or 0, said.out, said.err)

    return run
