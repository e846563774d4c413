"""Whatever a person types wrongly: exit code 2, one clear line per problem, nothing started and nothing written."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gaelp_ray.agents import make_agent
from gaelp_ray.checkpoint import Model, save_model
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.market import load_market
from gaelp_ray.sweep.store.folder import SweepFolder

BASE = """\
method: random
run_cap: 2
metric: {name: delivered_roas, goal: maximize}
parameters:
  learning_rate: {min: 0.001, max: 0.01}
trial: {agent_type: constant}
tracking: {mode: disabled}
"""
BAD_FILES = {
    "missing": (None, "cannot read the sweep file bad.yaml: No such file or directory"),
    "syntax": (BASE + "select: [1\n", "bad.yaml:9:1: not valid YAML: "),
    "no mapping": ("- a\n", "bad.yaml:1:1: a sweep file is a mapping"),
    "unknown key": (BASE + "sed: 1\n", "bad.yaml:8:1: sed: unknown key. Did you mean 'seed'?"),
    "unknown parameter": (BASE.replace("learning_rate", "learning_rat"), "Did you mean 'learning_rate'?"),
    "number as text": (BASE.replace("0.001", "1e-4"), "bad.yaml:5:19: parameters.learning_rate.min: '1e-4' is text"),
    "min >= max": (BASE.replace("0.001", "0.1"), "parameters.learning_rate: min 0.1 is not below max 0.01"),
    "empty values": (BASE.replace("min: 0.001, max: 0.01", "values: []"), "parameters.learning_rate: values is empty"),
    "no goal": (BASE.replace("delivered_roas, goal: maximize", "roas"), "the worst roas. Write `goal: maximize`"),
    "run_cap 0": (BASE.replace("run_cap: 2", "run_cap: 0"), "bad.yaml:2:1: run_cap: 0 should be greater than or equal"),
    "unknown market": (BASE.replace("{agent", "{market: mars, agent"), "trial.market: unknown market 'mars'. "),
    "unknown agent": (BASE.replace("constant", "konstant"), "unknown agent 'konstant'. Did you mean 'constant'?"),
    "storage": (BASE + "storage: gs://bucket\n", "bad.yaml:8:1: storage: gs:// is no storage that is known here"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working directory; whoever starts Ray in it fails."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray was started"))
    return tmp_path


@pytest.fixture
def refused(gaelp_ray, here):
    """Runs a command line that must be refused, and returns its complaints without `error: `."""

    def run(*words: str) -> list[str]:
        before = contents(here)
        code, out, err = gaelp_ray(*words)
        assert (code, out) == (2, "")
        assert contents(here) == before
        assert not re.search("Traceback|unexpected|pydantic|validation error", err)
        lines = err.splitlines()
        assert all(line.startswith("error: ") for line in lines)
        return [line.removeprefix("error: ") for line in lines]

    return run


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def write(text: str, name: str = "good.yaml") -> None:
    Path(name).write_text(text, encoding="utf-8")


def finished_sweep(name: str = "trip", winner: dict | None = None) -> SweepFolder:
    folder = SweepFolder.new(Path("results"), name)
    folder.path.mkdir(parents=True)
    folder.write_start({"name": name}, {})
    folder.write_end(
        {"winner": winner, "reason": "no eligible trial: none completed", "leaderboard": []}, [{"rank": 1}]
    )
    return folder


def save(folder: str) -> Path:
    config, market = GAELPExperimentConfig(agent_type="constant"), load_market("airfrance-search")
    save_model(Path(folder), Model(make_agent(config, market.landscape), config, market, {}))
    return Path(folder)


@pytest.mark.parametrize("command", ["plan", "sweep"])
@pytest.mark.parametrize(("text", "complaint"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_sweep_file_is_one_clear_line(refused, command, text, complaint):
    if text is not None:
        write(text, "bad.yaml")
    (line,) = refused(command, "bad.yaml")
    assert "bad.yaml" in line
    assert complaint in line


def test_many_mistakes_are_many_lines_in_the_order_of_the_file(refused):
    write(BASE.replace("0.001", "0.1").replace("constant", "konstant").replace("2", "0") + "sed: 1\n")
    lines = refused("sweep", "good.yaml")
    assert [line.split(": ")[0] for line in lines] == [f"good.yaml:{place}" for place in ("2:1", "5:3", "6:9", "8:1")]


@pytest.mark.parametrize("words", [[], ["--name", "trip"]])
def test_existing_sweep_is_refused_with_the_remedies(refused, words):
    finished_sweep("trip")
    write(BASE, "good.yaml" if words else "trip.yaml")
    (line,) = refused("sweep", "good.yaml" if words else "trip.yaml", *words)
    assert "the sweep 'trip' exists already in" in line
    assert "--name" in line
    assert "--overwrite" in line


def test_trials_that_would_wait_for_ever_are_refused_before_an_earlier_sweep_goes(refused):
    folder = finished_sweep("trip")
    write(BASE, "trip.yaml")
    (line,) = refused("sweep", "trip.yaml", "--overwrite", "--set", "resources.cpu=5000")
    assert "resources.cpu: each trial asks for 5000 CPUs, and this machine has " in line
    assert line.endswith(": ask for less, or no trial would ever start")
    assert folder.is_finished()


def test_storage_that_cannot_be_written_is_refused_with_the_remedy(refused):
    write("in the way", "file")
    write(BASE)
    (line,) = refused("sweep", "good.yaml", "--storage", "file/below")
    assert "cannot write to the storage folder" in line
    assert "--storage" in line


@pytest.mark.parametrize("command", ["best", "show"])
def test_unknown_sweep_comes_with_the_closest_name(refused, command):
    finished_sweep("quickstart")
    (line,) = refused(command, "quikstart")
    assert "no sweep 'quikstart' in results. Did you mean 'quickstart'?" in line


def test_damaged_decision_is_named_and_can_be_made_again(refused, gaelp_ray):
    (finished_sweep("trip").path / "selection.json").write_text("{", encoding="utf-8")
    (line,) = refused("best", "trip")
    assert "selection.json is damaged" in line
    code, out, _ = gaelp_ray("show", "trip")
    assert code == 0 and "go on with `gaelp-ray resume results/trip`" in out


def test_sweep_without_a_winner_has_no_best_model(gaelp_ray):
    finished_sweep("trip", winner=None)
    code, _, err = gaelp_ray("best", "trip")
    assert code == 1
    assert err.startswith("error: the sweep 'trip' has no winner: no eligible trial")


def test_output_folder_that_exists_is_refused(refused):
    save(str(finished_sweep("trip", winner={"trial": "a"}).best))
    Path("mine").mkdir()
    write("years of work", "mine/thesis.txt")
    for words in ([], ["--overwrite"]):
        (line,) = refused("best", "trip", "-o", "mine", *words)
        assert "mine exists already: give another folder with -o" in line


def test_model_in_the_output_folder_is_replaced_with_overwrite_only(refused, gaelp_ray):
    winner = {"trial": "a", "evaluation": {"roas": 5.0, "roas_low": 4.0, "roas_high": 6.0, "delivery": 0.95}}
    save(str(finished_sweep("trip", winner=winner).best))
    save("mine")
    (line,) = refused("best", "trip", "-o", "mine")
    assert "mine exists already" in line
    assert "--overwrite" in line
    assert gaelp_ray("best", "trip", "-o", "mine", "--overwrite")[0] == 0


def test_damaged_model_is_named_with_its_checksum(refused):
    arrays = save("model") / "model.npz"
    arrays.write_bytes(arrays.read_bytes()[:-1] + b"?")
    (line,) = refused("evaluate", "model")
    assert "model/model.npz is damaged: its SHA-256 is" in line
    assert "Fetch the model again" in line


def test_missing_model_is_named_with_the_remedy(refused):
    (line,) = refused("evaluate", "nowhere")
    assert "no model in nowhere, and no sweep 'nowhere' in results. " in line


def test_model_for_another_market_is_refused(refused):
    save("model")
    (line,) = refused("evaluate", "model", "--market", "kag-social", "--episodes", "16")
    assert "the model bids for the 7 channels of 'airfrance-search'" in line
    assert "of 'kag-social' ('916 F', ...)" in line


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["markets", "airfrnce-search"], "unknown market 'airfrnce-search'. Did you mean 'airfrance-search'?"),
        (["swep", "x.yaml"], "No such command 'swep'"),
        (["plan", "x.yaml", "--dry"], "No such option: --dry"),
        (["plan"], "Missing argument"),
        (["evaluate", "model", "--episodes", "3"], "'--episodes'"),
        (["evaluate", "model", "--seed", "one"], "'--seed'"),
    ],
)
def test_wrong_command_line_is_one_clear_line(refused, words, complaint):
    (line,) = refused(*words)
    assert complaint in line


@pytest.mark.parametrize("words", [["plan", "good.yaml"], ["markets"], ["markets", "airfrance-search"], ["list"]])
def test_facts_parse_as_json(gaelp_ray, words):
    write(BASE)
    finished_sweep("trip")
    code, out, err = gaelp_ray(*words, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)


def test_as_a_process_it_ends_with_2_and_says_why(here):
    write(BASE.replace("0.001", "0.1"))
    for words in (["plan", "good.yaml"], ["--debug", "best", "nowhere"]):
        command = [sys.executable, "-m", "gaelp_ray", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "40"})
        assert (done.returncode, done.stdout) == (2, "")
        assert ("Traceback" in done.stderr) == ("--debug" in words)
        assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert [path.name for path in here.iterdir()] == ["good.yaml"]
