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


MANY = """\
method: random
metric: {name: roass, goal: maximise}
parameters:
  lr: {distribution: loguniform, min: 0.0001, max: 0.01}
  gamma: {values: [0.99, 1.0]}
  ppo.epochs: {values: [2, 99]}
  batch_size: {min: 64, max: 16}
  clip_rnage: {min: 0.1, mx: 0.3}
  lerning_rate: {values: []}
  ppo.hidden_size: {values: [32, 64]}
  ppo.hidden_size:
    values: [32, 64]
scheduler: {type: ahsa, grace_perod: 3, reduction_factor: 0.5}
select: {topk: 3, budget: 3, confidence: 1.0, constraints: {cpa: 3}, markets: [mars]}
resources: {cpu: 0}
seed: ${GAELP_NOT_SET}
trial: {env: nowhere:Shop, num_episodes: 0, epochs: 3}
stoop: {iterations: 3}
storage: gs://bucket
"""
FIXED = """\
run_cap: 2
method: random
metric: {name: roas, goal: maximize}
parameters:
  learning_rate: {distribution: log_uniform_values, min: 0.0001, max: 0.01}
  ppo.gamma: {values: [0.99, 1.0]}
  ppo.epochs: {values: [2, 9]}
  batch_size: {min: 16, max: 64}
  ppo.clip_range: {min: 0.1, max: 0.3}
  ppo.hidden_size: {values: [32, 64]}
scheduler: {type: asha, grace_period: 3, reduction_factor: 2}
select: {top_k: 3, budget: 64, confidence: 0.9, constraints: {max_cpa: 3}, markets: [airfrance-search@nominal]}
resources: {cpu: 1}
seed: 1
trial: {num_episodes: 640, ppo.minibatches: 3}
stop: {iterations: 3}
"""


def test_mistakes_of_every_stage_are_shown_at_once_with_their_places(refused, gaelp_ray):
    write(MANY)
    assert [line.removeprefix("good.yaml:")[:60] for line in refused("plan", "good.yaml")] == [
        line[:60]
        for line in (
            "1:1: run_cap: method random has no end of its own: give run_cap, the number of",
            "2:10: metric.name: unknown metric 'roass'. Did you mean 'roas'?",
            "2:23: metric.goal: 'maximise' should be 'maximize' or 'minimize'",
            "4:3: parameters.lr: unknown parameter. Did you mean 'learning_rate'?",
            "4:8: parameters.lr.distribution: unknown distribution 'loguniform'. Did you mean",
            "5:3: parameters.gamma: unknown parameter. Did you mean 'ppo.gamma'?",
            "6:28: parameters.ppo.epochs.values.1: 99 should be less than or equal to 50",
            "7:3: parameters.batch_size: min 64 is not below max 16",
            "8:3: parameters.clip_rnage: unknown parameter. Did you mean 'ppo.clip_range'?",
            "8:26: parameters.clip_rnage.mx: unknown key. Did you mean 'max'?",
            "9:3: parameters.lerning_rate: values is empty: list at least one",
            "9:3: parameters.lerning_rate: unknown parameter. Did you mean 'learning_rate'?",
            "11:3: parameters.ppo.hidden_size: the key stands twice, also in line 10: keep one",
            "13:1: scheduler: unknown type 'ahsa'. Did you mean 'asha'?",
            "13:25: scheduler.grace_perod: unknown key. Did you mean 'grace_period'?",
            "13:41: scheduler.reduction_factor: 0.5 should be greater than 1",
            "14:10: select.topk: unknown key. Did you mean 'top_k'?",
            "14:19: select.budget: budget 3 is too small for 4 arms: write 64 or more, or a",
            "14:30: select.confidence: 1.0 should be less than 1",
            "14:61: select.constraints.cpa: a bound has a side: write min_cpa or max_cpa",
            "14:70: select.markets: a sweep in an environment of your own has no other mark",
            "15:13: resources.cpu: 0 should be greater than 0",
            "16:1: seed: the environment variable GAELP_NOT_SET is not set: set it, or write",
            "17:9: trial.env: env 'nowhere:Shop': no module 'nowhere' in ",
            "17:9: trial.env: ppo.reference: PPO would correct BayesDual, which bids in mark",
            "17:28: trial.num_episodes: 0 should be greater than or equal to 1",
            "17:45: trial.epochs: unknown field. Did you mean 'ppo.epochs'?",
            "18:1: stoop: unknown key. Did you mean 'stop'?",
            "19:1: storage: gs:// is no storage that is known here: write s3://bucket/prefix",
        )
    ]
    write(FIXED)
    assert gaelp_ray("plan", "good.yaml")[0] == 0


@pytest.mark.parametrize(
    "text",
    [
        BASE.replace("run_cap: 2", "run_cap: none"),
        BASE.replace("run_cap: 2\n", "").replace("random", "ranbom_walk"),
        BASE.replace("method", "metod"),
        BASE.replace("parameters", "paramters"),
        BASE.replace("delivered_roas, goal: maximize", "cpa, goal: up"),
        BASE.replace("run_cap: 2", "run_cap: ${GAELP_NOT_SET}"),
        BASE.replace("random", "${GAELP_NOT_SET}").replace("run_cap: 2\n", "") + "sampler: tpe\n",
        BASE.replace("max: 0.01", "max: '${GAELP_NOT_SET}'"),
        BASE + "select: {min_delivery: lots, constraints: {max_delivery: 0.5}}\n",
        BASE + "select: {top_k: 0, budget: 16}\n",
        BASE + "scheduler: {type: asha, grace_period: '${GAELP_NOT_SET}'}\n",
        BASE.replace("{agent_type", "{n_episodes: 640, agent_type") + "scheduler: {type: asha, grace_period: 9}\n",
        BASE.replace("{agent_type", "{market: '${GAELP_NOT_SET}', agent_type") + "select: {markets: [kag-social]}\n",
        BASE + "trial: {market: a}\n",
    ],
)
def test_a_mistake_causes_no_further_messages(refused, text):
    write(text)
    (line,) = refused("plan", "good.yaml")
    assert re.match(r"good\.yaml:\d+:\d+: [\w.]+: ", line)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("learning_rate", "zebra"),
        ("constant}", "zebra}"),
        ("constant}", "zebra, zebras: 1}"),
        ("delivered_roas", "zebra"),
        ("min: 0.001", "distribution: zebra, min: 0.001"),
        ("tracking", "zebra: 1\ntracking"),
        ("tracking", "scheduler: {type: zebra}\ntracking"),
        ("tracking", "select: {constraints: {max_zebra: 1}}\ntracking"),
        ("tracking", "select: {zebra: 1}\ntracking"),
    ],
)
def test_of_many_names_the_closest_five_and_the_command_for_all(refused, gaelp_ray, old, new):
    write(BASE.replace(old, new))
    for line in refused("plan", "good.yaml"):
        closest, command = re.search(r"Closest: (.*?); `gaelp-ray (\w+(?: [\w:]+)?)` lists all\.", line).groups()
        names = closest.split(", ")
        assert len(names) == 5
        code, listed, _ = gaelp_ray(*command.split())
        assert code == 0 and all(name in listed for name in names)


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
