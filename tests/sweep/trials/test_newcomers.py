"""Nodes that join while a sweep runs: one that is no place for trials gets none, and the sweep goes on."""

from __future__ import annotations

import pytest
import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayTaskError

from gaelp_ray.errors import NodeError
from gaelp_ray.sweep.search.attempts import EXCEPTION, NODE, RETRIES, UNFIT, cause_of, died_of
from gaelp_ray.sweep.session import AVOIDED
from gaelp_ray.sweep.trials import newcomers as module
from gaelp_ray.sweep.trials.newcomers import Elsewhere, Newcomers


@pytest.fixture
def cluster(monkeypatch):
    """Nodes by id, and what they answer; None: nothing yet."""
    nodes: dict[str, str | None] = {"first": ""}
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(module, "alive", lambda: {node: f"host-{node}" for node in nodes})
    monkeypatch.setattr(module, "ask", lambda node, _: node)
    monkeypatch.setattr(module, "answer", nodes.__getitem__)
    monkeypatch.setattr(ray, "wait", lambda asked, **_: ([node for node in asked if nodes[node] is not None], []))
    monkeypatch.setattr(module, "ASKED", {"first"})
    AVOIDED.clear()
    yield nodes
    AVOIDED.clear()


def test_a_node_that_joins_and_is_no_place_for_the_sweep_is_avoided(cluster):
    told: list[str] = []
    watch = Newcomers(None, told.append)
    watch.on_step_begin(1, [])
    cluster |= {"good": "", "bad": None}
    watch.on_step_begin(2, [])
    assert (told, AVOIDED) == ([], set())
    cluster["bad"] = "it does not see the storage folder /x"
    for n in (3, 4):
        watch.on_step_begin(n, [])
    assert AVOIDED == {"bad"}
    assert told == ["node host-bad joined the cluster and gets no trials: it does not see the storage folder /x"]


def test_a_node_that_came_between_the_question_and_the_search_is_asked_too(cluster):
    told: list[str] = []
    cluster["early"] = "it has another version"
    watch = Newcomers(None, told.append)
    watch.on_step_begin(1, [])
    assert (len(told), AVOIDED) == (1, {"early"})


def test_nobody_is_asked_all_the_time(cluster, monkeypatch):
    monkeypatch.setattr(module, "LOOK_SECONDS", 1000.0)
    watch = Newcomers(None, pytest.fail)
    watch.on_step_begin(1, [])
    monkeypatch.setattr(module, "alive", lambda: pytest.fail("Ray was asked again"))
    watch.on_step_begin(2, [])


def test_another_sweep_of_this_process_starts_without_the_avoided(cluster):
    AVOIDED.add("bad")
    Newcomers(None, pytest.fail)
    assert AVOIDED == set()


def test_what_trials_ask_for_leaves_out_the_nodes_that_are_avoided(cluster, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "placement_group", lambda *words, **labels: asked.append((words, labels)))
    monkeypatch.setattr("ray.air.execution.resources.request.placement_group", lambda *_: asked.append("anywhere"))
    wanted = Elsewhere([{"CPU": 2, "GPU": 0}])
    wanted.to_placement_group()
    AVOIDED.update({"b", "a"})
    wanted.to_placement_group()
    assert asked == [
        "anywhere",
        (([{"CPU": 2.0}], "PACK"), {"bundle_label_selector": [{"ray.io/node-id": "!in(a,b)"}]}),
    ]


def test_what_a_node_lacks_is_not_counted_against_its_trial():
    error = NodeError("node b does not see the sweep's folder /x")
    lost = RayTaskError("step", "Traceback", error)
    assert (cause_of(lost), died_of(lost)) == (UNFIT, f"NodeError: {error}")
    text = "The actor died: ray::ImplicitFunc.__init__\nModuleNotFoundError: No module named 'gaelp_ray'"
    assert cause_of(RayActorError(error_msg=text)) == UNFIT
    others = "Traceback\nModuleNotFoundError: No module named 'gaelp_rays'"
    assert cause_of(RayTaskError("step", others, ModuleNotFoundError("No module named 'gaelp_rays'"))) == EXCEPTION
    assert RETRIES[UNFIT] == float("inf")


def test_a_worker_out_of_reach_is_its_nodes_affair():
    error = ActorUnavailableError("RPC error: Socket closed", None)
    assert cause_of(error) == NODE
    assert died_of(error) == "its worker is out of reach: its node is gone, or the network"
