"""Everything known before a sweep runs, together; and what it cannot get here, with key and remedy."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gaelp_ray.checkpoint import plain
from gaelp_ray.errors import InputError, ResourceError, StorageError
from gaelp_ray.sweep.format.blocks import EarlyTerminate
from gaelp_ray.sweep.planning import forecast as module
from gaelp_ray.sweep.planning.cluster import Cluster, Node
from gaelp_ray.sweep.planning.forecast import Forecast, forecast
from gaelp_ray.sweep.planning.machine import ITERATION_BYTES
from gaelp_ray.sweep.planning.plan import plan_sweep

BASE = """\
method: random
run_cap: 5
metric: {name: delivered_roas, goal: maximize}
parameters: {learning_rate: {min: 0.001, max: 0.01}}
trial: {num_episodes: 640, batch_size: 64}
tracking: {mode: disabled}
"""


@pytest.fixture
def forecast_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "trip.yaml"
    path.write_text(BASE, encoding="utf-8")

    def forecast_of(*settings: str, measured: bool = False, address: str | None = None) -> Forecast:
        return forecast(plan_sweep(path, settings=settings), measured, address)

    return forecast_of


def test_configurations_the_control_arm_and_seeds_are_counted(forecast_of):
    counts = forecast_of().counts
    assert (counts.configurations, counts.control_arm, counts.seeds, counts.trainings) == (5, True, (1, 1), 6)
    counts = forecast_of("select.include_default=false", "seeds=3").counts
    assert (counts.configurations, counts.control_arm, counts.seeds, counts.trainings) == (5, False, (3, 3), 15)
    counts = forecast_of("seeds={min: 1, max: 3}").counts
    assert (counts.seeds, counts.trainings) == ((1, 3), 6 + (3 + 1) + (2 + 1))


def test_disk_and_placement_are_those_of_the_counts(forecast_of, monkeypatch):
    monkeypatch.setattr("gaelp_ray.sweep.session.cpus_here", lambda: 4)
    one, three = forecast_of(), forecast_of("seeds=3")
    assert one.resources.at_once == three.resources.at_once == 4
    assert three.disk.checkpoints - one.disk.checkpoints == 2 * 12 * one.disk.checkpoint
    # Trials are configurations, and W&B writes nothing.
    assert three.disk.records - one.disk.records == (180 - 60) * ITERATION_BYTES
    assert (one.kept.most, three.kept.most) == (60, 180)


def test_what_early_terminate_keeps_is_that_of_the_trials(tmp_path, forecast_of):
    plan = plan_sweep(tmp_path / "trip.yaml")
    rule = EarlyTerminate(type="hyperband", min_iter=2, eta=3)
    found = forecast(replace(plan, spec=plan.spec.model_copy(update={"early_terminate": rule})))
    # Of 5, int(5 / 3) + 1 = 2 pass, of 2 int(2 / 3) + 1 = 1; these trials have 10 iterations, as the control arm has.
    assert [(rung.iteration, rung.reach, rung.keep) for rung in found.kept.rungs] == [(2, 5, 2), (6, 2, 1)]
    assert found.kept.usual == 10 + 5 * 2 + 2 * 4 + 1 * 4


def test_ranges_say_what_they_are_of(forecast_of):
    assert forecast_of().drawn == "5 drawn"
    bayes = forecast_of("method=bayes")
    assert bayes.drawn == "200 draws from the prior"
    assert bayes.counts.configurations == 5


def test_tracking_is_said_with_its_reason(forecast_of):
    found = forecast_of("tracking.mode=auto").tracking
    assert (found.mode, found.why) == ("offline", "WANDB_MODE says so")
    assert forecast_of().tracking.mode == "disabled"


def test_time_is_estimated_only_when_measured(forecast_of):
    assert forecast_of().time is None
    time = forecast_of("trial.agent_type=constant", measured=True).time
    assert 0 < time.low < time.high
    assert time.low == pytest.approx(time.search[0] + time.final[0] + time.overhead[0])


def test_what_is_possible_raises_nothing(forecast_of):
    forecast_of().require_possible()


@pytest.mark.parametrize(
    ("setting", "kind", "complaint"),
    [
        ("resources.cpu=5000", ResourceError, "resources.cpu: each trial asks for 5000 CPUs, and this machine has "),
        ("resources.gpu=5000", ResourceError, "resources.gpu: each trial asks for 5000 GPUs, and this machine has "),
        ("storage=trip.yaml", StorageError, "storage: cannot write to the storage folder "),
    ],
)
def test_what_can_never_run_is_refused_with_key_and_remedy(forecast_of, setting, kind, complaint):
    found = forecast_of(setting)
    with pytest.raises(kind) as refused:
        found.require_possible()
    (line,) = str(refused.value).splitlines()
    assert line.startswith(complaint)
    assert "ask for less" in line or "--storage" in line
    assert found.as_dict()  # and all the rest is known


@pytest.fixture
def two_nodes(monkeypatch):
    nodes = (Node("large", 4, 0, 3 * 10**9), Node("small", 1, 0, 10**9))
    monkeypatch.setattr(module, "cluster_at", lambda address: Cluster(address, nodes))


def test_a_cluster_takes_the_place_of_this_machine(forecast_of, two_nodes, monkeypatch, tmp_path):
    monkeypatch.setattr("gaelp_ray.sweep.session.cpus_here", lambda: pytest.fail("nobody asked for this machine"))
    found = forecast_of("resources.cpu=2", "resources.memory=1GB", address="far:6379")
    place = found.resources
    assert (place.address, place.at_once, place.problem) == ("far:6379", 2, "")
    assert [(node.host, node.trials) for node in place.nodes] == [("large", 2), ("small", 0)]
    assert found.storage.warning == f"all 2 nodes must see this folder as {tmp_path / 'results'}, such as by NFS"
    found.require_possible()


def test_without_a_cluster_none_is_asked(forecast_of, monkeypatch):
    monkeypatch.setattr(module, "cluster_at", lambda address: pytest.fail(f"asked {address}"))
    found = forecast_of()
    assert (found.resources.address, found.resources.nodes, found.storage.warning) == (None, (), "")


def test_what_fits_on_no_node_is_refused_in_one_line(forecast_of, two_nodes):
    with pytest.raises(ResourceError) as refused:
        forecast_of("resources.cpu=5", address="far:6379").require_possible()
    assert str(refused.value) == (
        "resources.cpu: each trial asks for 5 CPU, and the node that comes closest, large, has 4 CPUs, 0 GPUs and 3 GB "
        "of memory; a trial never spans two nodes: ask for less, or add a larger node, or no trial would ever start"
    )


def test_the_estimate_counts_the_clusters_trials_at_a_time_and_says_so(forecast_of, two_nodes, monkeypatch):
    smoke = module.measure(plan_sweep(Path("trip.yaml"), settings=["trial.agent_type=constant"]))
    monkeypatch.setattr(module, "measure", lambda _: smoke)  # the same speed for both
    monkeypatch.setattr("gaelp_ray.sweep.session.cpus_here", lambda: 1)
    here = forecast_of("trial.agent_type=constant", measured=True).time
    there = forecast_of("trial.agent_type=constant", measured=True, address="far:6379").time
    assert there.search[0] == pytest.approx(here.search[0] / 5)
    said = "; 5 trials at a time on the cluster, whose nodes are taken to be as fast"
    assert there.based_on == here.based_on + said


def test_everything_that_cannot_be_had_is_said_at_once(forecast_of, monkeypatch):
    def refuse(wanted: str):
        raise InputError(f"tracking.mode: {wanted} is not possible")

    monkeypatch.setattr("gaelp_ray.tracking.modes.choose_mode", refuse)
    found = forecast_of("resources.cpu=5000", "storage=trip.yaml", "tracking.mode=online")
    assert found.tracking.mode is None
    with pytest.raises(InputError) as refused:
        found.require_possible()
    assert [line.split(":")[0] for line in str(refused.value).splitlines()] == [
        "resources.cpu",
        "storage",
        "tracking.mode",
    ]


def test_a_full_disk_or_a_sweep_of_the_same_name_is_no_refusal(forecast_of, monkeypatch, tmp_path):
    (tmp_path / "results" / "trip").mkdir(parents=True)
    (tmp_path / "results" / "trip" / "sweep.yaml").touch()
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    found = forecast_of()
    assert found.storage.exists and not found.disk.enough
    found.require_possible()


def test_as_plain_values_it_is_strict_json(forecast_of):
    found = forecast_of("trial.agent_type=PID", "parameters.agent_type.values=[PID, constant]", measured=True)
    text = json.dumps(plain(found.as_dict()), allow_nan=False)
    assert json.loads(text)["parameters"][1]["counts"]
