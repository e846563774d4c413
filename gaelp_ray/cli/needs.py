"""What a sweep takes, one thing a line: trials, time, disk, and where its trials run. Start at needs()."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from gaelp_ray.sweep.planning.forecast import Counts, Forecast
from gaelp_ray.sweep.planning.kept import Kept
from gaelp_ray.sweep.planning.machine import Disk, Storage, in_bytes
from gaelp_ray.sweep.planning.placement import Placement, Share, asked, has
from gaelp_ray.sweep.planning.plan import SweepPlan
from gaelp_ray.sweep.planning.resolution import POWER, Resolution
from gaelp_ray.sweep.planning.smoke import Duration

MOST_RUNGS, MOST_HOSTS = 8, 8
"""Rungs, and hosts of nodes that are alike, that are listed."""


def needs(planned: SweepPlan, expected: Forecast) -> Table:
    """A line for each thing; red is what will go wrong."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text, alarming in _lines(planned, expected):
        table.add_row(label, Text(text, style="red" if alarming else ""))
    return table


def _lines(planned: SweepPlan, expected: Forecast) -> Iterator[tuple[str, str, bool]]:
    """(label, what is known, whether it will go wrong)."""
    disk, tracking, where = expected.disk, expected.tracking, expected.storage
    yield "trials", _counted(expected.counts), False
    yield "scheduler", _kept(expected.kept), False
    yield "resources", _placed(expected.resources), bool(expected.resources.problem)
    if expected.resources.nodes:
        yield "nodes", "\n".join(_nodes(expected.resources.nodes)), False
    yield "disk", _room(disk), not disk.enough
    yield "storage", f"{planned.spec.storage} {_written(planned, where)}", bool(where.problem) or where.exists
    if where.warning:
        yield "", where.warning, True
    yield "W&B", f"{tracking.mode}: {tracking.why}" if tracking.mode else tracking.why, tracking.mode is None
    yield "time", _time(expected.time), False
    if expected.time:
        yield "resolution", _resolution(expected.resolution), False


def _written(planned: SweepPlan, where: Storage) -> str:
    if where.problem:
        return f"cannot be written: {where.problem}"
    if not where.exists:
        return "can be written"
    remedy = "--overwrite replaces it, --name gives another"
    return f"can be written, but the sweep {planned.spec.name} exists there: {remedy}"


def _counted(counts: Counts) -> str:
    control = " and the control arm" if counts.control_arm else ""
    race = "at most " if counts.seeds[0] < counts.seeds[1] else ""
    return (
        f"{counts.configurations:,} configurations{control}, {_between(counts.seeds)} "
        f"seed{'s' if counts.seeds[1] > 1 else ''} each: {race}{counts.trainings:,} trainings"
    )


def _between(ends: tuple[int, int]) -> str:
    low, high = ends
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _kept(kept: Kept) -> str:
    flown = f"{_between((kept.least, kept.most))} iterations in all"
    if not kept.rungs:
        return f"{kept.text}; {flown}"
    first, *others = kept.rungs[:MOST_RUNGS]
    going = [f"{first.keep:,} of {first.reach:,} go on at iteration {first.iteration:,}"]
    going += [f"{rung.keep:,} of {rung.reach:,} at {rung.iteration:,}" for rung in others]
    going += [f"{len(kept.rungs) - MOST_RUNGS} rungs more"] if len(kept.rungs) > MOST_RUNGS else []
    text = f"{kept.text}: {', '.join(going)}"
    if all(rung.at_most == rung.keep for rung in kept.rungs):
        return f"{text}; {flown}"
    usual = f", about {kept.usual:,} iterations" if kept.usual is not None else ""
    return f"{text}, if all of a rung are judged together{usual}; as nobody waits for that, {flown}"


def _placed(place: Placement) -> str:
    where = "here" if place.address is None else f"on {_several(len(place.nodes), 'node')} of {place.address}"
    there = f"{has(place.machine)} {where}"
    if place.problem:
        return f"{place.problem} ({there})"
    wanted = asked(place.cpu, place.gpu, place.memory)
    return f"{wanted} a trial; {place.at_once:,} at a time, limited by {place.limit} ({there})"


def _nodes(nodes: Sequence[Share]) -> Iterator[str]:
    """One line for all nodes that are alike."""
    alike: dict[str, list[str]] = {}
    for node in nodes:
        alike.setdefault(f"{has(node)}: {_several(node.trials, 'trial')}", []).append(node.host)
    for text, hosts in alike.items():
        more = f" and {len(hosts) - MOST_HOSTS:,} more" if len(hosts) > MOST_HOSTS else ""
        yield f"{', '.join(hosts[:MOST_HOSTS])}{more}: {'each ' if len(hosts) > 1 else ''}{text}"


def _several(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _room(disk: Disk) -> str:
    parts = f"checkpoints {in_bytes(disk.checkpoints)} at {in_bytes(disk.checkpoint)}, records {in_bytes(disk.records)}"
    free = f"{in_bytes(disk.free)} free{'' if disk.enough else ', which is too little'}"
    return f"about {in_bytes(disk.needed)} ({parts}); {free}"


def _time(time: Duration | None) -> str:
    if time is None:
        return "not estimated: --measure flies a few iterations for it"
    search, final, start = (_range(ends) for ends in (time.search, time.final, time.overhead))
    return f"{_range((time.low, time.high))}: search {search}, final stage {final}, Ray {start}. {time.based_on}"


def _resolution(found: Resolution | None) -> str:
    if found is None:
        return "unknown: the agents of this sweep bid alike before training, or its environment is your own"
    return (
        f"the race finds a difference of {found.smallest:.2%} in {POWER:.0%} of cases ({found.episodes:,} episodes of "
        f"{found.arms} arms); two search scores differ by ±{found.search:.2%} by luck. Based on {found.agents} "
        "untrained agents of the sweep"
    )


def _range(seconds: tuple[float, float]) -> str:
    """`12 to 40 s`, in the unit of the longer one."""
    unit, size = next(
        (u, s) for u, s in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)) if seconds[1] >= 2 * s or s == 1
    )
    low, high = (f"{float(f'{end / size:.2g}'):g}" for end in seconds)  # two digits, and 120 is no 1.2e+02
    return f"{low} to {high} {unit}"
