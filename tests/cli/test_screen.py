"""What is printed: as it is, whatever looks like markup in it, and in ASCII where a stream takes nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from begun_sweeps import begun
from judged_models import save
from rich.console import Console

import gaelp_ray.market as package
from gaelp_ray.cli.screen import console
from gaelp_ray.market import market_names
from gaelp_ray.sweep.store.folder import SweepFolder
from gaelp_ray.sweep.store.journal import End

ODD = "[/bold] :smile: [red]"
SWEEP = """\
method: random
run_cap: 12
parameters: {dual.shade: {min: 0.0, max: 0.5}}
trial: {agent_type: BayesDual, num_episodes: 32, batch_size: 16}
"""
ARM = {"rank": 1, "trial": "trip-00", "role": "candidate", "agent": "PPO", "status": "completed", "error": ""}
ARM |= {"roas": 5.0, "roas_low": 4.0, "roas_high": 6.0, "delivery": 0.95, "optimality": 0.9, "ineligible": ""}
ARM |= {"search_score": 5.0, "search_se": 0.1}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finished(name: str, **keys) -> SweepFolder:
    folder = SweepFolder.new(Path("results").resolve(), name)
    folder.path.mkdir(parents=True)
    folder.write_start({"name": name}, {})
    record = {"decision": "winner", "reason": "best", "metric": "roas", "winner": None, "leaderboard": [ARM], **keys}
    folder.write_end(record, [{"rank": 1}])
    return folder


def market(here: Path) -> Path:
    """A market file whose texts look like markup."""
    preset = Path(package.__file__).parent / "presets/airfrance-search.yaml"
    content = yaml.safe_load(preset.read_text(encoding="utf-8"))
    content["description"] = content["sources"]["airfrance"] = ODD
    path = here / "[bold]shop.yaml"
    path.write_text(yaml.safe_dump(content | {"name": ODD}), encoding="utf-8")
    return path


def test_markup_in_texts_of_a_market_is_printed_as_it_is(gaelp_ray, here):
    code, out, err = gaelp_ray("markets", market(here))
    assert (code, err) == (0, "")
    assert out.startswith(f"{ODD}: {ODD}\n") and f"  airfrance: {ODD}\n" in out


def test_markup_in_a_sweep_file_and_its_storage_is_printed_as_it_is(gaelp_ray, file, here):
    path = file(f"name: trip\ndescription: '{ODD}'\nstorage: '[/bold]store'\n{SWEEP}")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["trial"]["market"] = str(market(here))
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    code, out, err = gaelp_ray("plan", path)
    assert code == 0, err
    head, metric, *_ = out.splitlines()
    assert head.startswith("trip: random search") and f"; market {ODD}; storage [/bold]store" in metric


def test_markup_in_the_reason_of_a_failed_trial_is_printed_as_it_is(gaelp_ray, file):
    begun(file(f"name: trip\n{SWEEP}"), 3, [End("failed", ODD, ODD)])
    code, out, _ = gaelp_ray("show", "trip")
    assert code == 0 and ODD in out.splitlines()[1] and out == gaelp_ray("show", "trip", "--all")[1]
    assert gaelp_ray("list")[1] == f"trip  interrupted  1 failed ({ODD}), 2 not started\n"


def test_markup_in_the_reason_of_a_decision_is_printed_as_it_is(gaelp_ray):
    finished("trip", reason=ODD, leaderboard=[ARM | {"trial": "[red]", "error": ODD, "status": "failed"}])
    code, out, _ = gaelp_ray("show", "trip")
    assert code == 0 and f"decision: {ODD}\n" in out and f"failed: {ODD}\n" in out and "[red]" in out
    assert gaelp_ray("resume", "trip")[1].splitlines()[1].endswith(f"failed: {ODD}")


@pytest.mark.parametrize("words", [["plan"], ["show"], ["evaluate"], ["list", "--storage"], ["markets"], ["fields"]])
def test_markup_in_an_argument_is_repeated_as_it_is(gaelp_ray, words):
    code, out, err = gaelp_ray(*words, "[/bold].yaml")
    assert "MarkupError" not in err and "[/bold].yaml" in out + err and code in (0, 2)


def test_markup_in_the_label_of_a_market_is_printed_as_it_is(gaelp_ray, here):
    save("model")
    label = market(here).name
    words = ("evaluate", "model", "--episodes", 16, "--market", label, "--market", "airfrance-search")
    code, out, err = gaelp_ray(*words)
    assert code == 0, err
    assert f"\n{label} " in out


def test_consoles_print_no_markup_unless_they_are_given_text():
    printing = console()
    with printing.capture() as captured:
        printing.print(ODD, "[0, 1]")
    assert captured.get() == f"{ODD} [0, 1]\n"
    assert isinstance(printing, Console) and console(bounded=False).size > (1000, 1000)


RUN = """\
import sys
from gaelp_ray.cli.main import main
for words in {commands}:
    print("##", *words, flush=True)
    sys.argv = ["gaelp-ray", *words]
    try:
        main()
    except SystemExit as done:
        assert not done.code, words
"""


def test_every_command_prints_to_a_stream_of_ascii(file, here):
    finished("trip")
    path = file(f"name: trip-2\n{SWEEP}")
    market_file = market_names()[0]
    commands = [["--help"], ["show", "trip"], ["list"], ["plan", str(path)], ["markets", market_file], ["fields"]]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(commands=commands)], env=environment, capture_output=True, check=False
    )
    out = done.stdout.decode("ascii")
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
    assert [line.split()[1] for line in out.splitlines() if line.startswith("## ")] == [words[0] for words in commands]
    assert "5.000 +- 0.100" in out  # the search score of the leaderboard
    assert "number >= 0 <= 3" in out  # the bounds of a field
    assert "|-" in out or "+-" in out  # the boxes of the help


@pytest.mark.parametrize("stream", ["out", "err"])
def test_sentence_on_a_pipe_is_one_line_however_long(stream):
    code = f"from gaelp_ray.cli.screen import {stream}, print_sentence; print_sentence({stream}, 'word ' * 60 + 'end')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (line,) = (done.stdout + done.stderr).splitlines()
    assert line.endswith("word end") and len(line) > 300
