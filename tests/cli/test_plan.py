"""What a person reads before a sweep: what would run, how its parameters spread, what it needs, what is in vain."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import fields, replace

import pytest
from rich.console import Console

from gaelp_ray.cli.live import LiveSweep
from gaelp_ray.cli.needs import _range
from gaelp_ray.cli.plan import bars, plan_view
from gaelp_ray.sweep.format.blocks import EarlyTerminate, HyperBand, Population
from gaelp_ray.sweep.planning.cluster import Cluster, Node
from gaelp_ray.sweep.planning.forecast import Forecast, forecast
from gaelp_ray.sweep.planning.plan import plan_sweep

BASE = "method: grid\nparameters:\n  agent_type: {values: [PPO, BayesDual]}\n  ppo.epochs: {values: [2]}\n"
IN_VAIN = "ppo.epochs does not apply to BayesDual: BayesDual reads dual.*"
RANDOM = """\
method: random
run_cap: 12
metric: {name: delivered_roas, goal: maximize}
parameters:
  learning_rate: {distribution: log_uniform_values, min: 0.0001, max: 0.01}
  batch_size: {values: [16, 32]}
trial: {num_episodes: 64}
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planned(path, width: int = 160) -> list[str]:
    plan = plan_sweep(path)
    console = Console(file=io.StringIO(), width=width)
    plan_view(plan, forecast(plan), console)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("select", "line"),
    [
        (
            "{}",
            "final stage: best 5 and the control arm race on at most 6,144 flights, 1,024 confirm, delivery at least "
            "95%",
        ),
        (
            "{constraints: {max_cpa: 200, min_ctr: 0.01}, budget: 6000}",
            "final stage: best 5 and the control arm race on at most 6,000 flights, 1,024 confirm, delivery at least "
            "95%, max_cpa 200, min_ctr 0.01",
        ),
        (
            "{include_default: false, top_k: 2, episodes: 512}",
            "final stage: best 2 race on at most 1,024 flights, 512 confirm, delivery at least 95%",
        ),
        (
            "{markets: [airfrance-search@nominal, 'airfrance-search@heterogeneity=1.0']}",
            "in other markets: 1,024 flights each of airfrance-search@nominal, airfrance-search@heterogeneity=1.0",
        ),
    ],
)
def test_plan_says_what_the_final_stage_asks_of_a_winner(file, select, line):
    assert line in planned(file(f"{BASE}select: {select}\n"))


def test_plan_says_which_parameters_do_not_apply_one_in_a_line(file):
    path = file(f"{BASE}trial: {{num_episodes: 64}}\nprogram: x.py\n")
    lines = planned(path)[-3:]
    assert lines == [
        "not used here (keys of W&B's launcher): program",
        IN_VAIN,
        "num_episodes does not apply to BayesDual, which learns nothing",
    ]
    assert " ".join(planned(path, 40)).endswith(" ".join(lines))  # on a narrow terminal in several, of whole words


def test_plan_and_sweep_name_the_default_training_length(file):
    path = file(BASE)
    (line,) = [line for line in planned(path) if line.startswith("num_episodes")]
    assert line.startswith("num_episodes is not set: trials train on the default of 100 flights (4 iterations of batch")
    console = Console(file=io.StringIO(), width=160)
    LiveSweep(plan_sweep(path), console).trial_changed("trip-00", "running", {})
    assert line in console.file.getvalue().splitlines()


def test_plan_as_json_has_the_constraints_and_what_does_not_apply(file, gaelp_ray):
    code, out, _ = gaelp_ray("plan", file(f"{BASE}select: {{constraints: {{max_cpa: 200}}}}\n"), "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["sweep"]["select"]["constraints"] == {"max_cpa": 200}
    assert facts["inapplicable"] == [
        {
            "parameter": "ppo.epochs",
            "agents": ["BayesDual"],
            "applies_to": ["PPO on BayesDual"],
            "text": IN_VAIN,
        }
    ]


@pytest.mark.parametrize(
    ("counts", "drawn"),
    [((8, 4, 1, 0), "█▄▁ "), ((1,), "█"), ((1000, 1, 999), "█▁█"), ((0, 0), "  "), ((1, 2, 3, 4), "▂▄▆█")],
)
def test_bars_are_as_high_as_their_counts_and_none_is_lost(counts, drawn):
    assert bars(counts) == drawn


def test_each_parameter_has_a_line_with_its_spread_and_ends(file):
    lines = planned(file(RANDOM))
    (rate,) = [line for line in lines if line.startswith(" learning_rate ")]
    (size,) = [line for line in lines if line.startswith(" batch_size ")]
    plan = plan_sweep(file(RANDOM))
    rates = [trial.params["learning_rate"] for trial in plan.trials[1:]]
    assert rate.endswith(f"  {min(rates):.4g} to {max(rates):.4g}, log scale")
    assert "█" in rate
    small = sum(trial.params["batch_size"] == 16 for trial in plan.trials[1:])
    assert size.endswith(f"  16: {small}, 32: {12 - small}")
    assert any(line.startswith(" parameter") and line.endswith("values (12 drawn)") for line in lines)


@pytest.mark.parametrize("width", [80, 160])
def test_what_it_needs_is_said_line_by_line_within_the_width(file, width, monkeypatch):
    monkeypatch.setattr("gaelp_ray.sweep.session.cpus_here", lambda: 6)
    lines = planned(file(RANDOM + "max_concurrent: 3\ntracking: {mode: disabled}\n"), width)
    labels = ["trials", "scheduler", "resources", "disk", "storage", "W&B", "time"]
    assert [line.split()[0] for line in lines if line.split()[:1] and line.split()[0] in labels] == labels
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    assert "12 configurations and the control arm, 1 seed each: 13 trainings" in text
    assert "1 CPU a trial; 3 at a time, limited by max_concurrent (6 CPUs, " in text
    assert "every trial runs to its end" in text
    assert "storage ./results can be written" in text
    assert "disabled: as it was asked for" in text
    assert "not estimated: --measure" in text


@pytest.mark.parametrize(
    ("block", "line"),
    [
        (
            {"early_terminate": EarlyTerminate(type="hyperband", max_iter=81, s=3, eta=3)},
            "early_terminate keeps about 1 of 3 at each band, judging its best value so far: "
            "10 of 27 go on at iteration 3, 4 of 10 at 9, 2 of 4 at 27, if all of a rung are judged together, "
            "about 402 iterations; as nobody waits for that, 240 to 2,268 iterations in all",
        ),
        (
            {"scheduler": HyperBand(type="hyperband", reduction_factor=9)},
            # Brackets of 3 (to the end), 14 (from 9 on) and 10 of 81 (from 1 on, of which 9 and then 1 go on).
            "HyperBand keeps 1 of 9 at each rung of a bracket, whose trials wait: 9 of 10 go on at iteration 1, "
            "3 of 23 at 9; 748 iterations in all",
        ),
        (
            {"scheduler": Population(type="pb2", perturbation_interval=9)},
            "PB2: every 9 iterations, the worst 7 go on as changed copies of better ones; 2,268 iterations in all",
        ),
    ],
)
def test_the_scheduler_is_said_in_a_sentence(file, block, line):
    settings = ["run_cap=27", "trial.num_episodes=81", "trial.batch_size=1", "parameters.batch_size.values=[1]"]
    plan = plan_sweep(file(RANDOM), settings=settings)
    plan = replace(plan, spec=plan.spec.model_copy(update=block))
    console = Console(file=io.StringIO(), width=400)
    plan_view(plan, forecast(plan), console)
    (shown,) = [row for row in console.file.getvalue().splitlines() if row.startswith("scheduler")]
    assert shown.removeprefix("scheduler").strip() == line


def test_json_is_strict_and_complete_and_the_estimate_is_in_it(file, gaelp_ray):
    path = file(RANDOM.replace("12", "2"))
    code, out, err = gaelp_ray("plan", path, "--json", "--measure")
    facts = json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert (code, err) == (0, "")
    assert {"sweep", "unused", "inapplicable", "largest_delivery", "trials", "forecast"} == set(facts)
    assert facts["largest_delivery"] > 0.99
    assert set(facts["forecast"]) == {field.name for field in fields(Forecast)}
    assert facts["forecast"]["counts"]["trainings"] == 3
    assert facts["forecast"]["parameters"][0]["log"] is True
    assert 0 < facts["forecast"]["time"]["low"] < facts["forecast"]["time"]["high"]
    assert facts["forecast"]["time"]["smoke"][0]["trial"] == "trip-default"


def test_the_estimate_says_what_it_is_based_on(file, gaelp_ray):
    path = file(RANDOM.replace("12", "1").replace("[16, 32]", "[16]"))
    code, out, _ = gaelp_ray(
        "plan", path, "--measure", "--set", "trial.num_episodes=32", "--set", "trial.batch_size=16"
    )
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("time ")]
    assert "Ray 8 to 20 s. Based on 1 x 16 flights of trip-default (PPO) here, without Ray" in line


def test_a_range_of_seconds_has_two_digits_and_no_powers():
    ends = ((34.2, 115.0), (61.0, 140.0), (0.0, 1.26), (5000.0, 9000.0), (3e5, 1.9e7))
    assert [_range(pair) for pair in ends] == [
        "34 to 120 s",
        "1 to 2.3 min",
        "0 to 1.3 s",
        "1.4 to 2.5 h",
        "3.5 to 220 d",
    ]


@pytest.fixture
def farm(monkeypatch):
    """A cluster whose nodes are many, most of them alike."""
    nodes = [Node(f"host-{number:02}", 8, 1, 32 * 10**9) for number in range(11)] + [
        Node("a", 2, 0, 4 * 10**9),
        Node("b", 2, 0, 4 * 10**9),
    ]
    asked = []
    module = "gaelp_ray.sweep.planning.forecast.cluster_at"
    monkeypatch.setattr(module, lambda address: asked.append(address) or Cluster("10.0.0.1:6379", tuple(nodes)))
    return asked


def test_on_a_cluster_nodes_that_are_alike_are_one_line(file, gaelp_ray, farm):
    path = file(RANDOM.replace("12", "400") + "tracking: {mode: disabled}\n")
    code, out, err = gaelp_ray("plan", path, "--address", "auto")
    assert (code, err, farm) == (0, "", ["auto"])
    lines = [" ".join(line.split()) for line in out.splitlines()]
    placed = (
        "1 CPU a trial; 92 at a time, limited by resources.cpu (92 CPUs, 11 GPUs and 360 GB of memory on 13 nodes of"
    )
    assert f"resources {placed}" in " ".join(lines)
    first = next(number for number, line in enumerate(lines) if line.startswith("nodes "))
    text = " ".join(lines[first : first + 3])
    assert text.startswith(
        "nodes host-00, host-01, host-02, host-03, host-04, host-05, host-06, host-07 and 3 more: each 8 CPUs, 1 GPU "
        "and 32 GB of memory: 8 trials a, b: each 2 CPUs, 0 GPUs and 4 GB of memory: 2 trials"
    )
    assert any(line.startswith("all 13 nodes must see this folder as ") for line in lines)


def test_on_a_cluster_json_has_every_node_with_its_trials(file, gaelp_ray, farm):
    path = file(RANDOM + "resources: {gpu: 1}\ntracking: {mode: disabled}\n")
    code, out, _ = gaelp_ray("plan", path, "--address", "auto", "--json")
    found = json.loads(out)["forecast"]
    assert code == 0
    assert found["resources"]["address"] == "10.0.0.1:6379"
    assert found["resources"]["nodes"][0] == {
        "host": "host-00", "cpus": 8, "gpus": 1, "memory": 32 * 10**9, "trials": 1
    }  # fmt: skip
    assert [node["trials"] for node in found["resources"]["nodes"]] == [1] * 11 + [0, 0]
    assert found["resources"]["at_once"] == 11
    assert "13 nodes" in found["storage"]["warning"]


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_cluster_that_is_not_there_is_one_line(file, gaelp_ray, words):
    code, out, err = gaelp_ray("plan", file(RANDOM), "--address", "127.0.0.1:1", *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: --address 127.0.0.1:1: nothing listens there (") and err.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_what_can_never_run_is_shown_and_refused_with_every_reason(file, gaelp_ray, here, words):
    path = file(RANDOM + "resources: {cpu: 4096}\nstorage: trip.yaml/results\n")
    code, out, err = gaelp_ray("plan", path, *words)
    assert code == 2
    cpus, storage = err.splitlines()
    assert cpus.startswith("error: resources.cpu: each trial asks for 4096 CPUs, and this machine has ")
    assert cpus.endswith(": ask for less, or no trial would ever start")
    assert storage.startswith("error: storage: cannot write to the storage folder ") and "--storage" in storage
    if words:
        assert "4096" in json.loads(out)["forecast"]["resources"]["problem"]
    else:
        assert "cannot be written" in out
    assert [path.name for path in here.iterdir()] == ["trip.yaml"]


def test_planning_starts_no_ray_and_writes_nothing(file, here):
    code = "import ray\nfrom gaelp_ray.cli.main import app\n"
    code += "try: app(['plan', 'trip.yaml'])\nfinally: print(ray.is_initialized())"
    file(RANDOM)
    done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["False"], done.stderr
    assert [path.name for path in here.iterdir()] == ["trip.yaml"]
