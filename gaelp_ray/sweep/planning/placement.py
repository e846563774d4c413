"""How many trials run at a time: on this machine, or on the nodes of a cluster, of which a trial never spans two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gaelp_ray.errors import ResourceError
from gaelp_ray.sweep.format.blocks import Resources
from gaelp_ray.sweep.planning.cluster import Cluster, Node
from gaelp_ray.sweep.planning.machine import Machine, in_bytes


@dataclass(frozen=True)
class Share(Node):
    """A node of a cluster, and how many trials fit on it at a time."""

    trials: int


@dataclass(frozen=True)
class Placement:
    """A trial's resources, where it runs."""

    cpu: float
    gpu: float
    memory: int | None
    machine: Machine  # this one; of a cluster, the sum of its nodes
    at_once: int  # trials that run at a time
    limit: str  # what keeps it from being more: `resources.cpu`, `max_concurrent`, `trials`, ...
    problem: str  # why no trial can ever be placed; empty where one can
    address: str | None = None  # of the cluster; None: this machine
    nodes: tuple[Share, ...] = ()  # of the cluster, the largest first

    def require_possible(self) -> None:
        """Raises ResourceError, with the remedy, where no trial can ever be placed."""
        if self.problem:
            remedy = "ask for less, or add a larger node" if self.address else "ask for less"
            raise ResourceError(f"{self.problem}: {remedy}, or no trial would ever start")


def placement(wanted: Resources, max_concurrent: int | None, trials: int, there: Machine | Cluster) -> Placement:
    """How many trials run at a time, and why not more."""
    if isinstance(there, Machine):
        rooms = [_room(wanted, there)]
        at_once, limit = _at_once(rooms, max_concurrent, trials)
        problem = "; ".join(_too_little_here(key, wanted, there) for key in _lacking(rooms[0]))
        return Placement(wanted.cpu, wanted.gpu, wanted.memory, there, at_once, limit, problem)
    rooms = [_room(wanted, node) for node in there.nodes]
    at_once, limit = _at_once(rooms, max_concurrent, trials)
    shares = tuple(Share(**vars(node), trials=_fits(room)) for node, room in zip(there.nodes, rooms, strict=True))
    problem = "" if any(share.trials for share in shares) else _fits_nowhere(wanted, there, rooms)
    whole = _whole(there)
    return Placement(wanted.cpu, wanted.gpu, wanted.memory, whole, at_once, limit, problem, there.address, shares)


def _whole(cluster: Cluster) -> Machine:
    nodes = cluster.nodes
    return Machine(sum(n.cpus for n in nodes), sum(n.gpus for n in nodes), sum(n.memory for n in nodes))


def _at_once(rooms: Sequence[Mapping[str, int]], max_concurrent: int | None, trials: int) -> tuple[int, str]:
    """Trials at a time, and what it is that keeps them from being more."""
    scarcest = sorted({min(room, key=lambda key: room[key]) for room in rooms})
    bounds = {" and ".join(scarcest): sum(map(_fits, rooms))}
    if max_concurrent:
        bounds["max_concurrent"] = max_concurrent
    bounds["trials"] = trials
    limit = min(bounds, key=lambda key: bounds[key])
    return bounds[limit], limit


def _room(wanted: Resources, there: Machine | Node) -> dict[str, int]:
    """How many trials each resource is enough for."""
    room = {"resources.cpu": _times(there.cpus, wanted.cpu)}
    if wanted.gpu:
        # A share of a GPU is one of a single GPU: two have room for two trials with 0.6 each, not for three.
        one = wanted.gpu < 1
        room["resources.gpu"] = there.gpus * _times(1, wanted.gpu) if one else _times(there.gpus, wanted.gpu)
    if wanted.memory:
        room["resources.memory"] = _times(there.memory, wanted.memory)
    return room


def _times(there: float, each: float) -> int:
    return int(there / each + 1e-9)  # 7 / 0.07 is 99.99999999999999


def _fits(room: Mapping[str, int]) -> int:
    return min(room.values())


def _lacking(room: Mapping[str, int]) -> list[str]:
    return [key for key, number in room.items() if number < 1]


def _too_little_here(key: str, wanted: Resources, here: Machine) -> str:
    name = key.removeprefix("resources.")
    if name == "memory":
        return f"{key}: each trial asks for {in_bytes(wanted.memory or 0)}, and {in_bytes(here.memory)} are free here"
    there = here.cpus if name == "cpu" else here.gpus
    return f"{key}: each trial asks for {getattr(wanted, name):g} {name.upper()}s, and this machine has {there}"


def _fits_nowhere(wanted: Resources, cluster: Cluster, rooms: Sequence[Mapping[str, int]]) -> str:
    """Named is the node that lacks the fewest things; of several such, the largest."""
    room, node = min(zip(rooms, cluster.nodes, strict=True), key=lambda pair: len(_lacking(pair[0])))
    text = f"{' and '.join(_lacking(room))}: each trial asks for {asked(wanted.cpu, wanted.gpu, wanted.memory)}, "
    text += f"and the node that comes closest, {node.host}, has {has(node)}"
    return text if _lacking(_room(wanted, _whole(cluster))) else f"{text}; a trial never spans two nodes"


def asked(cpu: float, gpu: float, memory: int | None) -> str:
    """`1 CPU, 0.5 GPU, 2 GB`: what a trial asks for."""
    return f"{cpu:g} CPU{f', {gpu:g} GPU' if gpu else ''}{f', {in_bytes(memory)}' if memory else ''}"


def has(there: Machine | Node) -> str:
    """`4 CPUs, 0 GPUs and 8 GB of memory`."""
    counted = ((there.cpus, "CPU"), (there.gpus, "GPU"))
    cpus, gpus = (f"{number} {what}{'' if number == 1 else 's'}" for number, what in counted)
    return f"{cpus}, {gpus} and {in_bytes(there.memory)} of memory"
