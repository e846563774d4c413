"""Trials at a time: the scarcest resource of each node, and never a trial on two nodes."""

import pytest

from gaelp_ray.sweep.format.blocks import Resources
from gaelp_ray.sweep.planning.cluster import Cluster, Node
from gaelp_ray.sweep.planning.machine import Machine
from gaelp_ray.sweep.planning.placement import asked, placement

BIG = Machine(cpus=16, gpus=2, memory=8 * 10**9)
WIDE, DEEP, HEAD = Node("wide", 8, 0, 10**9), Node("deep", 4, 2, 6 * 10**9), Node("head", 0, 0, 2 * 10**9)
THREE = Cluster("10.0.0.1:6379", (WIDE, DEEP, HEAD))


@pytest.mark.parametrize(
    ("wanted", "max_concurrent", "trials", "at_once", "limit"),
    [
        ({}, None, 100, 16, "resources.cpu"),
        ({"cpu": 3}, None, 100, 5, "resources.cpu"),
        ({"cpu": 0.1}, None, 1000, 160, "resources.cpu"),
        ({"gpu": 0.5}, None, 100, 4, "resources.gpu"),
        ({"gpu": 0.6}, None, 100, 2, "resources.gpu"),  # of the same GPU
        ({"gpu": 2}, None, 100, 1, "resources.gpu"),
        ({"memory": "3GB"}, None, 100, 2, "resources.memory"),
        ({}, 3, 100, 3, "max_concurrent"),
        ({}, 99, 7, 7, "trials"),
    ],
)
def test_as_many_trials_run_as_the_scarcest_allows(wanted, max_concurrent, trials, at_once, limit):
    place = placement(Resources(**wanted), max_concurrent, trials, BIG)
    assert (place.at_once, place.limit, place.problem) == (at_once, limit, "")


def test_rounding_costs_no_trial():
    assert placement(Resources(cpu=0.07), None, 1000, Machine(7, 0, 10**9)).at_once == 100


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({"cpu": 17}, "resources.cpu: each trial asks for 17 CPUs, and this machine has 16"),
        ({"gpu": 2.5}, "resources.gpu: each trial asks for 2.5 GPUs, and this machine has 2"),
        ({"memory": "9GB"}, "resources.memory: each trial asks for 9 GB, and 8 GB are free here"),
    ],
)
def test_what_can_never_be_placed_is_named_with_its_key(wanted, problem):
    place = placement(Resources(**wanted), None, 5, BIG)
    assert (place.at_once, place.problem) == (0, problem)


@pytest.mark.parametrize(
    ("wanted", "on_each", "limit"),
    [
        ({}, [8, 4, 0], "resources.cpu"),
        ({"cpu": 3}, [2, 1, 0], "resources.cpu"),  # not the 4 of 12 CPUs
        ({"gpu": 1}, [0, 2, 0], "resources.cpu and resources.gpu"),
        ({"memory": "400MB"}, [2, 4, 0], "resources.cpu and resources.memory"),
        ({"cpu": 0.1, "memory": "1.9GB"}, [0, 3, 0], "resources.cpu and resources.memory"),
    ],
)
def test_on_a_cluster_each_node_has_room_of_its_own(wanted, on_each, limit):
    place = placement(Resources(**wanted), None, 100, THREE)
    assert [(node.host, node.trials) for node in place.nodes] == list(
        zip(("wide", "deep", "head"), on_each, strict=True)
    )
    assert (place.at_once, place.limit, place.problem) == (sum(on_each), limit, "")
    assert (place.address, place.machine) == ("10.0.0.1:6379", Machine(12, 2, 9 * 10**9))


def test_on_a_cluster_other_bounds_hold_too():
    for most, trials, bound in ((5, 100, (5, "max_concurrent")), (None, 7, (7, "trials"))):
        place = placement(Resources(), most, trials, THREE)
        assert (place.at_once, place.limit) == bound
        assert [node.trials for node in place.nodes] == [8, 4, 0]


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        (
            {"cpu": 9},
            "resources.cpu: each trial asks for 9 CPU, and the node that comes closest, wide, has 8 CPUs, 0 GPUs and "
            "1 GB of memory; a trial never spans two nodes",
        ),
        (
            {"cpu": 13},
            "resources.cpu: each trial asks for 13 CPU, and the node that comes closest, wide, has 8 CPUs, 0 GPUs and "
            "1 GB of memory",
        ),
        (
            {"cpu": 6, "gpu": 1, "memory": "3GB"},
            "resources.cpu: each trial asks for 6 CPU, 1 GPU, 3 GB, and the node that comes closest, deep, has 4 CPUs, "
            "2 GPUs and 6 GB of memory; a trial never spans two nodes",
        ),
        (
            {"cpu": 16, "gpu": 3, "memory": "3GB"},
            "resources.cpu and resources.gpu: each trial asks for 16 CPU, 3 GPU, 3 GB, and the node that comes "
            "closest, deep, has 4 CPUs, 2 GPUs and 6 GB of memory",
        ),
    ],
)
def test_what_fits_on_no_node_is_a_problem_even_where_all_together_would_do(wanted, problem):
    place = placement(Resources(**wanted), None, 5, THREE)
    assert (place.at_once, place.problem) == (0, problem)


def test_what_a_trial_asks_for_is_said_without_what_it_does_not():
    assert asked(1, 0, None) == "1 CPU"
    assert asked(0.5, 0.25, 2 * 10**9) == "0.5 CPU, 0.25 GPU, 2 GB"
