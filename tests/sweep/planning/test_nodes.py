"""A cluster before a sweep is started on it: what is refused, in which words, and what is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray
import yaml

from gaelp_ray.errors import InputError, ResourceError
from gaelp_ray.sweep.planning import nodes as module
from gaelp_ray.sweep.planning.cluster import Cluster, Node
from gaelp_ray.sweep.planning.errand import fault
from gaelp_ray.sweep.planning.nodes import answer, cluster_for, faulty, require_driver
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.sweep.store.folder import SweepFolder

SMALL = Node("small", 2, 0, 4 * 10**9)
LARGE = Node("large", 8, 1, 32 * 10**9)


@pytest.fixture
def plan(tmp_path):
    def made(**resources):
        path = tmp_path / "trip.yaml"
        keys = {"method": "random", "run_cap": 3, "resources": resources or {"cpu": 1}}
        keys |= {"metric": {"name": "delivered_roas", "goal": "maximize"}}
        keys |= {"parameters": {"learning_rate": {"min": 0.001, "max": 0.01}}}
        path.write_text(yaml.safe_dump(keys), encoding="utf-8")
        return plan_sweep(path, {"storage": str(tmp_path / "results")})

    return made


@pytest.mark.parametrize("address", ["ray://head:10001", "ray://127.0.0.1:1"])
def test_a_driver_outside_is_refused_before_anybody_is_asked(address, plan, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "cluster_at", lambda _: pytest.fail("the cluster was asked"))
    with pytest.raises(InputError) as refused:
        cluster_for(plan(), SweepFolder.new(tmp_path, "trip"), address)
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"--address {address}: a sweep needs its driver on a node")
    assert line.endswith("with --address auto, or from here `gaelp-ray sweep FILE` or `gaelp-ray submit`")
    require_driver("head:6379")
    require_driver("auto")


def test_a_trial_that_fits_nowhere_is_named_where_no_node_can_come(plan):
    with pytest.raises(ResourceError) as refused:
        module._room(plan(cpu=4), Cluster("a:1", (SMALL,)))
    assert str(refused.value) == (
        "resources.cpu: each trial asks for 4 CPU, and the node that comes closest, small, has 2 CPUs, 0 GPUs and 4 GB "
        "of memory: ask for less, or add a larger node, or no trial would ever start"
    )
    assert module._room(plan(cpu=2), Cluster("a:1", (SMALL,))) == ""


def test_where_a_cluster_may_grow_and_nobody_knows_to_what_it_is_told(plan):
    note = module._room(plan(cpu=4), Cluster("a:1", (SMALL,), grows=True))
    assert note.endswith("The cluster may grow: trials wait until it has a node that is large enough")


def test_what_a_cluster_may_add_decides_where_ray_knows_it(plan):
    assert module._room(plan(cpu=4), Cluster("a:1", (SMALL,), True, (SMALL, LARGE))) == ""
    with pytest.raises(ResourceError, match=r"large, has 8 CPUs.*that is the largest which the cluster may add"):
        module._room(plan(cpu=9), Cluster("a:1", (SMALL,), True, (LARGE, SMALL)))


def test_the_token_is_what_a_node_must_see_and_goes_again(plan, tmp_path):
    folder = SweepFolder.new(tmp_path / "results", "trip")
    with module._token(plan(), folder) as errand:
        assert fault(errand) == ""
        assert Path(errand.storage) == tmp_path / "results" and not folder.path.exists()
    assert list((tmp_path / "results").iterdir()) == []


def test_a_token_goes_whatever_comes_of_it(plan, tmp_path):
    with (
        pytest.raises(InputError),
        module._token(plan(), SweepFolder.new(tmp_path / "results", "trip")),
    ):
        raise InputError("refused")
    assert list((tmp_path / "results").iterdir()) == []


def test_all_nodes_with_a_fault_are_named_at_once(monkeypatch):
    answers = {"1": "", "2": "it does not see it", "3": "it has another one"}
    monkeypatch.setattr(module, "alive", lambda: {"1": "a", "2": "c", "3": "b"})
    monkeypatch.setattr(module, "ask", lambda node, _: node)
    monkeypatch.setattr(module, "answer", answers.__getitem__)
    monkeypatch.setattr(ray, "wait", lambda *_, **__: ([], []))
    assert list(faulty(None).items()) == [("b", "it has another one"), ("c", "it does not see it")]


def test_nodes_go_by_what_tells_them_apart():
    named = module._named
    assert named({"n1": ("a", "10.0.0.1"), "n2": ("b", "10.0.0.2")}) == {"n1": "a", "n2": "b"}
    assert named({"n1": ("a", "10.0.0.1"), "n2": ("a", "10.0.0.2")}) == {"n1": "a (10.0.0.1)", "n2": "a (10.0.0.2)"}
    twins = named({"0123456789": ("a", "10.0.0.1"), "9876543210": ("a", "10.0.0.1")})
    assert twins == {"0123456789": "a (10.0.0.1, 01234567)", "9876543210": "a (10.0.0.1, 98765432)"}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ray.exceptions.GetTimeoutError("late"), "it has not answered within 120 s: see `ray status`"),
        (ray.exceptions.NodeDiedError("it died"), ""),
        (ray.exceptions.TaskUnschedulableError("the node is gone"), ""),
        (ray.exceptions.RuntimeEnvSetupError("no disk"), "Ray cannot run anything there (Failed to set up runtime"),
    ],
)
def test_a_node_that_does_not_answer_is_told_and_one_that_is_gone_is_not(error, said, monkeypatch):
    def get(*_, **__):
        raise error

    monkeypatch.setattr(ray, "get", get)
    found = answer(None)
    assert found.startswith(said) and bool(found) == bool(said)
