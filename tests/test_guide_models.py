"""docs/guide-models.md is executed: its commands as typed, and what the page shows of their output."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from judged_models import CURVE, EVALUATION, save, write_budgets

from gaelp_ray.cli.main import main
from gaelp_ray.sweep.store.folder import SweepFolder
from gaelp_ray.tracking.offline import offline_runs

PAGE = (Path(__file__).parents[1] / "docs" / "guide-models.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ gaelp-ray (.*)$", PAGE, re.MULTILINE)
NUMBER = r"[-+]?\d[\d.,]*"


@pytest.fixture
def typed(tmp_path, monkeypatch, capsys):
    """Runs a command of the page where its models and its log are: (exit code, stdout)."""
    monkeypatch.chdir(tmp_path)
    save("my_model", about={"evaluation": EVALUATION, "roas_by_budget": CURVE})
    folder = SweepFolder.new(Path("results"), "quickstart")
    folder.path.mkdir(parents=True)
    folder.write_start({"name": "quickstart"}, {})
    save(str(folder.best), dual={"traffic": "filter"})
    folder.write_end({"winner": {"trial": "quickstart-07"}, "reason": "", "leaderboard": []}, [{"rank": 1}])
    write_budgets("flights.jsonl", (56.0, 75.0), left=0.8, flights=120)

    def run(command: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["gaelp-ray", *shlex.split(command, comments=True)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().out

    return run


def shown(start: str) -> str:
    """The output that begins so on the page."""
    return next(block for block in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL) if block.startswith(start))


def test_its_commands_end_as_it_says(typed, tmp_path):
    assert len(COMMANDS) == 6
    for command in COMMANDS:
        assert typed(command)[0] == ("exits with 1" in command), command
    (run,) = offline_runs(tmp_path / "wandb")
    assert (run.project, run.name, run.job_type) == ("gaelp-models", "june", "compare")


@pytest.mark.parametrize(
    ("start", "command"), [("512 fresh flights in each", 1), ("512 fresh flights through", 3), ("observed: ", 5)]
)
def test_shown_output_is_that_of_a_run(typed, start, command):
    page, printed = shown(start), typed(COMMANDS[command])[1]
    for line, now in zip(page.splitlines(), printed.splitlines(), strict=True):
        assert re.sub(NUMBER, "#", line).split() == re.sub(NUMBER, "#", now).split()
        # Another machine may sum in another order.
        numbers = ([float(found.rstrip(".,").replace(",", "")) for found in re.findall(NUMBER, x)] for x in (line, now))
        assert next(numbers) == pytest.approx(next(numbers), rel=0.02, abs=0.02)


def test_a_line_of_the_log_is_one_that_is_read(typed):
    (line,) = re.findall(r"```json\n(.*?)\n```", PAGE)
    assert {"cost", "revenue", "budget"} < set(json.loads(line))
    Path("flights.jsonl").write_text(line, encoding="utf-8")
    code, out = typed("monitor my_model --log flights.jsonl --json")
    assert code == 0 and json.loads(out)["flights"] == 1 and json.loads(out)["damaged_lines"] == []
