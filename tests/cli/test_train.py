"""`gaelp-ray train`: what it prints and leaves behind, how Ctrl-C ends it and how it goes on, and what it refuses."""

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import wandb

from gaelp_ray.checkpoint import load_model
from gaelp_ray.cli.train import progress, read_config
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.tracking.offline import offline_runs
from gaelp_ray.trainer import IntegratedGAELPTrainer

CONSTANT = "agent_type: constant\nbatch_size: 5\nnum_episodes: 20\n"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def train(gaelp_ray):
    """Runs `gaelp-ray train` with these words."""
    return partial(gaelp_ray, "train")


@pytest.fixture
def few(monkeypatch):
    """Fewer fresh flights, where the numbers are of no interest."""
    monkeypatch.setattr(IntegratedGAELPTrainer.evaluate, "__defaults__", (16,))


def write(text: str, name: str = "trip.yaml") -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def test_a_person_reads_how_it_went_and_where_everything_lies(train, here):
    code, out, err = train("--config", write(CONSTANT), "--episodes", "30", "--name", "trip")
    assert code == 0
    assert "Traceback" not in err
    head, titles, *rows = out.splitlines()
    assert head == "trip: constant on airfrance-search, 30 training episodes, beside BayesDual on the same flights"
    assert titles.split() == ["episodes", "ROAS", "BayesDual", "optimality", "BayesDual"]
    results = json.loads(Path("gaelp_results_trip.json").read_text(encoding="utf-8"))["results"]
    for first, row in zip((1, 11, 21), rows, strict=False):
        block = results[first - 1 : first + 9]
        roas = sum(e["total_revenue"] for e in block) / sum(e["total_cost"] for e in block)
        optimality = sum(e["expected_revenue"] for e in block) / sum(e["oracle_revenue"] for e in block)
        number, ours, theirs, share, other = row.split()
        assert (number, ours, share) == (f"{first}-{first + 9}", f"{roas:.2f}", f"{optimality:.1%}")
        assert (float(theirs), float(other.rstrip("%"))) > (0.0, 50.0)
    fresh, ahead, real, *files = rows[3:]
    assert re.match(r"512 fresh flights: ROAS \d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\], optimality \d+\.\d%, delivery", fresh)
    other = r"below BayesDual \(ROAS \d+\.\d\d, optimality 9\d\.\d%, delivery 9\d\.\d%\)"
    assert re.fullmatch(rf"{other}: expected delivered ROAS -\d\.\d+ \[-\d\.\d+, -\d\.\d+\]", ahead)
    assert re.match(r"the market on \d+ real campaigns .*, mean error \(noise floor\): ROAS \d", real)
    assert files == [
        "results: gaelp_results_trip.json",
        "learning curve: gaelp_learning_curve_trip.png",
        "model: gaelp_checkpoints/trip/iteration-000006",
    ]
    assert all(Path(line.split(": ")[1]).exists() for line in files)
    wandb.teardown()
    (run,) = offline_runs(here / "wandb")
    assert (run.name, run.exit_code, len(results)) == ("trip", 0, 30)
    assert {"evaluation/roas", "evaluation/roas_mae", "performance/roas"} < run.summary.keys()


def test_facts_parse_as_json_and_a_second_call_goes_on(train, here, few):
    words = ("--config", write(CONSTANT), "--name", "trip", "--no-wandb", "--json")
    code, out, err = train(*words)
    facts = json.loads(out, parse_constant=pytest.fail)
    assert (code, facts["episodes"], facts["agent_type"], facts["world"]) == (0, 20, "constant", "airfrance-search")
    assert "goes on" not in err
    rows = facts["progress"]
    assert [(row["first"], row["last"]) for row in rows] == [(1, 10), (11, 20)]
    assert set(rows[0]) == {"first", "last", "roas", "optimality", "reference_roas", "reference_optimality"}
    agent, reference = (facts["fresh"][name]["expected_delivered_roas"] for name in ("agent", "reference"))
    assert facts["fresh"]["expected_delivered_roas_difference"]["difference"] == agent - reference
    assert facts["real"]["roas_mae_noise_floor"] > 0.0
    names = [facts["results"], facts["learning_curve"], facts["model"].partition("/")[0], "trip.yaml"]
    assert sorted(names) == sorted(path.name for path in here.iterdir())
    assert load_model(Path(facts["model"])).config.agent_type == "constant"
    code, out, err = train(*words, "--episodes", "30")
    assert code == 0
    assert "trip goes on after 20 episodes\n" in err
    assert json.loads(out)["episodes"] == 30
    assert json.loads(out)["progress"][:2] == rows


def test_an_own_environment_is_shown_without_a_reference(shop, train):
    shop()
    file = write("env: shop:Shop\nbatch_size: 5\nnum_episodes: 10\nppo: {reference: none, minibatches: 2}\n")
    code, out, _ = train("--config", file, "--name", "shop", "--no-wandb")
    head, titles, row, fresh, *files = out.splitlines()
    assert (code, head) == (0, "shop: PPO on shop:Shop, 10 training episodes")
    assert titles.split() == ["episodes", "ROAS", "optimality"]
    assert re.match(r" 1-10 +\d+\.\d\d +- *$", row)
    assert re.match(r"512 fresh flights: ROAS \d+\.\d\d \[.*\], optimality -, delivery", fresh)
    assert [line.partition(":")[0] for line in files] == ["results", "learning curve", "model"]


def episode(number: int, revenue: float, optimality: float | None = 0.5, cost: float = 10.0) -> dict:
    oracle = None if optimality is None else 100.0
    expected = None if optimality is None else 100.0 * optimality
    money = {"total_cost": cost, "total_revenue": revenue}
    return {"episode": number, **money, "expected_revenue": expected, "oracle_revenue": oracle}


def test_progress_pools_blocks_and_both_are_of_the_same_flights():
    results = [episode(n, revenue=10.0 * n) for n in range(1, 21)]
    theirs = [episode(n, revenue=20.0, optimality=0.75, cost=n) for n in range(1, 21)]
    assert progress(results, theirs) == [
        {
            "first": first,
            "last": first + 9,
            "roas": roas,
            "optimality": 0.5,
            "reference_roas": 200.0 / cost,
            "reference_optimality": 0.75,
        }
        for first, roas, cost in ((1, 5.5, 55.0), (11, 15.5, 155.0))
    ]


def test_progress_is_of_the_flights_that_the_reference_has_flown():
    results = [episode(n, revenue=1000.0 if n % 2 else 30.0) for n in range(1, 41)]
    theirs = [episode(n, revenue=20.0) for n in range(2, 41, 2)]
    found = progress(results, theirs)
    assert [(row["first"], row["last"]) for row in found] == [(2, 20), (22, 40)]
    assert [(row["roas"], row["reference_roas"]) for row in found] == [(3.0, 2.0)] * 2


def test_progress_pools_money_and_not_ratios():
    results = [*(episode(n, 10.0) for n in range(1, 10)), episode(10, 900.0, cost=10.0), episode(11, 0.0, cost=0.0)]
    (row,) = progress(results, [])
    assert (row["first"], row["last"], row["roas"]) == (1, 11, 9.9)
    assert not [name for name in row if name.startswith("reference")]


@pytest.mark.parametrize(
    ("episodes", "sizes"),
    [
        (0, []),
        (4, [4]),
        (10, [10]),
        (19, [19]),
        (25, [12, 13]),
        (50, [10] * 5),
        (101, [10] * 9 + [11]),
        (1000, [100] * 10),
        (1003, [100] * 3 + [100, 101] + [100] * 1 + [100, 101, 100, 101]),
    ],
)
def test_progress_has_ten_blocks_at_most_of_at_least_ten_episodes(episodes, sizes):
    found = progress([episode(n, 10.0) for n in range(1, episodes + 1)], [])
    assert sorted(row["last"] - row["first"] + 1 for row in found) == sorted(sizes)
    assert [row["first"] for row in found[1:]] == [row["last"] + 1 for row in found[:-1]]
    assert episodes == 0 or (found[0]["first"], found[-1]["last"]) == (1, episodes)


def test_what_nobody_measured_is_not_a_number():
    (row,) = progress([episode(n, 10.0, optimality=None) for n in range(1, 12)], [])
    assert row["roas"] == 1.0
    assert row["optimality"] != row["optimality"]


def test_a_config_file_has_fields_sections_dotted_fields_and_recorded_ones():
    file = write("learning_rate: 0.01\nppo: {epochs: 2}\nppo.hidden_size: 8\nmax_steps_per_episode: 7\n")
    expected = GAELPExperimentConfig(learning_rate=0.01, ppo={"epochs": 2, "hidden_size": 8}, max_steps_per_episode=7)
    assert read_config(Path(file)) == expected


LOW = "should be greater than or equal to 1"
BAD = {
    "unknown field": (
        "seed: 1\nlearning_rat: 0.1\n",
        "2:1: learning_rat: unknown field. Did you mean 'learning_rate'?",
    ),
    "unknown part": ("ppo:\n  hidden_siz: 8\n", "2:3: ppo.hidden_siz: unknown field. Did you mean 'ppo.hidden_size'?"),
    "bad value": ("seed: 1\nbatch_size: 0\n", f"2:1: batch_size: 0 {LOW}"),
    "bad value in a section": ("seed: 1\nppo:\n  epochs: 0\n", f"3:3: ppo.epochs: 0 {LOW}"),
    "bad dotted value": ("seed: 1\nppo.epochs: 0\n", f"2:1: ppo.epochs: 0 {LOW}"),
    "number as text": ("learning_rate: 1e-4\n", "1:1: learning_rate: '1e-4' is text, not a number: write 0.0001"),
    "two fields": ("agent_type: CEM\nbatch_size: 10\n", "2:1: batch_size: 10 is no multiple of cem.population 16"),
    "not a mapping": ("- seed\n", "1:1: "),
    "empty": ("", "1:1: "),
    "syntax": ("seed: [1\n", "2:1: not valid YAML: "),
    "twice": ("seed: 1\nseed: 2\n", "2:1: seed: the key stands twice, also in line 1"),
}
ELSEWHERE = {
    "missing": (None, "trip.yaml: No such file or directory"),
    "unknown agent": ("agent_type: PPOO\n", "agent_type: unknown agent 'PPOO'. Did you mean 'PPO'?"),
    "unknown market": ("market: mars\n", "unknown market 'mars'"),
    "unknown environment": ("env: shopp:Shop\n", "env 'shopp:Shop': no module 'shopp'"),
} | {name: (text, f"error: trip.yaml:{complaint}") for name, (text, complaint) in BAD.items()}


@pytest.mark.parametrize(("text", "complaint"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_bad_config_file_is_one_clear_line_and_leaves_nothing(train, here, text, complaint):
    before = [] if text is None else [write(text)]
    code, out, err = train("--config", "trip.yaml")
    (line,) = err.splitlines()
    assert (code, out) == (2, "")
    assert line.startswith("error: ") and complaint in line
    assert [path.name for path in here.iterdir()] == before


def test_many_mistakes_are_many_lines_in_the_order_of_the_file(train):
    code, _, err = train("--config", write("sed: 1\nppo: {epochs: 0}\nbatch_size: few\nmarkt: kag-social\n"))
    assert code == 2
    places = [line.split(": ")[1] for line in err.splitlines()]
    assert places == [f"trip.yaml:{place}" for place in ("1:1", "2:7", "3:1", "4:1")]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--episodes", "0"], "'--episodes'"),
        (["--episodes", "1000000001"], "'--episodes'"),
        (["--episodes", "many"], "'--episodes'"),
        (["--epsiodes", "5"], "No such option: --epsiodes"),
        (["trip.yaml"], "unexpected extra argument"),
    ],
)
def test_a_wrong_command_line_is_one_clear_line_and_leaves_nothing(train, here, words, complaint):
    code, out, err = train(*words)
    (line,) = err.splitlines()
    assert (code, out) == (2, "")
    assert complaint in line
    assert not list(here.iterdir())


def test_another_configuration_under_the_same_name_is_one_clear_line(train):
    words = ("--config", write(CONSTANT), "--name", "trip", "--no-wandb")
    asyncio.run(IntegratedGAELPTrainer("trip", False, read_config(Path("trip.yaml"))).train(5))
    write(CONSTANT + "constant: {bid_multiplier: 0.5}\n")
    code, out, err = train(*words)
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (code, out) == (2, "")
    assert "gaelp_checkpoints/trip holds a training with another configuration" in line
    assert "(constant.bid_multiplier: 0.35 there, 0.5 now)" in line


SAVING_OFTEN = "import gaelp_ray.trainer as t; t.SAVE_SECONDS = 0.1; from gaelp_ray.cli.main import main; main()"


def interrupted(*words: str, here: Path) -> tuple[int, str, str]:
    """The command as a process of its own terminal, where somebody presses Ctrl-C in the middle of the training."""
    command = [sys.executable, "-c", SAVING_OFTEN, "train", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=here, start_new_session=True, **pipes) as process:
        deadline = time.monotonic() + 120.0
        while not list(here.glob("gaelp_checkpoints/*/iteration-*")) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("words", "again"),
    [
        ([], ""),
        (["--no-wandb"], " --no-wandb"),
        (["--config", "my trip.yaml", "--json", "--episodes", "7"], " --config 'my trip.yaml' --episodes 7"),
    ],
)
def test_the_command_that_goes_on_is_the_one_that_was_given(train, monkeypatch, words, again):
    async def stop(*_):
        raise asyncio.CancelledError

    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(IntegratedGAELPTrainer, "train", stop)
    write(CONSTANT, "my trip.yaml")
    code, out, err = train("--name", "trip", *words)
    assert (code, out) == (130, "")
    assert err == f"interrupted after 0 episodes: `gaelp-ray train --name trip{again}` goes on\n"


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(here, train, few):
    write(CONSTANT, "my trip.yaml")
    code, out, err = interrupted("--config", "my trip.yaml", "--episodes", "4000", "--name", "trip", here=here)
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if "interrupted" in line]
    told = re.fullmatch(r"interrupted after (\d+) episodes: `(.*)` goes on", line)
    assert told, line
    flown, again = int(told[1]), told[2]
    assert again == "gaelp-ray train --name trip --config 'my trip.yaml' --episodes 4000"
    assert 0 < flown < 4000
    (checkpoint,) = Path("gaelp_checkpoints/trip").iterdir()
    saved = 5 * int(checkpoint.name.removeprefix("iteration-"))
    # Before 3.11, asyncio lets Ctrl-C end a batch in its middle: it goes on from the checkpoint before.
    assert saved == flown if sys.version_info >= (3, 11) else saved <= flown
    (run,) = offline_runs(here / "wandb")
    assert run.exit_code == 130
    assert len([row for row in run.history if "episode/total_reward" in row]) == flown
    words = shlex.split(again.replace("4000", str(saved + 5)))[2:]
    code, out, err = train(*words, "--no-wandb", "--json")
    assert code == 0
    assert f"trip goes on after {saved} episodes" in err
    assert json.loads(out)["episodes"] == saved + 5
    assert [path.name for path in checkpoint.parent.iterdir()] == [f"iteration-{saved // 5 + 1:06d}"]
