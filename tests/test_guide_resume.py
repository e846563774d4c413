"""docs/guide-resume.md: its commands are accepted as typed, in their order; the repetition of a trial is real."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import begun_sweeps
import pytest
import yaml

from gaelp_ray.cli.main import main
from gaelp_ray.sweep import pipeline
from gaelp_ray.sweep.planning import resumption
from gaelp_ray.sweep.store.journal import End
from gaelp_ray.sweep.store.opening import open_sweep

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "guide-resume.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ gaelp-ray (.*)$", PAGE, re.MULTILINE)


@pytest.fixture
def quickstart(tmp_path, monkeypatch):
    """The quickstart as it has ended, its training shortened."""
    monkeypatch.chdir(tmp_path)
    file = yaml.safe_load((ROOT / "sweeps" / "quickstart.yaml").read_text(encoding="utf-8"))
    file |= {"name": "quickstart", "trial": {**file["trial"], "num_episodes": 32, "batch_size": 16}}
    (tmp_path / "quickstart.yaml").write_text(yaml.safe_dump(file), encoding="utf-8")
    folder = begun_sweeps.begun(tmp_path / "quickstart.yaml", 99, [End("completed")] * 99, "")
    begun_sweeps.fly(folder, "quickstart-01", 2)
    return folder


def typed(monkeypatch, command):
    monkeypatch.setattr(sys, "argv", ["gaelp-ray", *shlex.split(command)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_its_commands_are_accepted_and_add_what_they_say(quickstart, monkeypatch, capsys):
    sizes = []

    def resumed(sweep, storage, listener, retry, *, extend=0, changes=(), address=None):
        folder = open_sweep(storage, sweep)
        plan = resumption.planned(folder, extend, changes)
        if extend or changes:
            resumption.adopt(folder, plan)
        sizes.append(len(plan.trials))
        raise resumption.SweepFileError(["as far as this test goes"])

    monkeypatch.setattr(pipeline, "resume_sweep", resumed)
    resumes = [command for command in COMMANDS if command.startswith("resume ") and "s3://" not in command]
    for command in resumes:
        assert typed(monkeypatch, command) == 2
        assert capsys.readouterr().err == "error: as far as this test goes\n"
    first = sizes[0]
    assert sizes == [first, first, first + 4, first + 12, first + 12] and len(resumes) == 5


def test_its_trial_is_repeated_as_it_says(quickstart, monkeypatch, capsys):
    (command,) = [command for command in COMMANDS if command.startswith("rerun ")]
    assert typed(monkeypatch, command) in (0, None)
    (shown,) = re.findall(r"```text\n(.*)\n```", PAGE)
    assert capsys.readouterr().out == shown.replace("20 iterations", "2 iterations") + "\n"


def test_it_names_every_key_that_may_change():
    rows = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    named = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    assert named == set(resumption.MAY_CHANGE)
