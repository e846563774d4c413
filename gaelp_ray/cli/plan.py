"""`gaelp-ray plan`: a sweep before it runs, on one screen or as JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gaelp_ray.checkpoint import plain
from gaelp_ray.cli.options import AsJson, File, Settings, overrides
from gaelp_ray.cli.tables import parameters, remarks
from gaelp_ray.simulator.own import OwnEnv
from gaelp_ray.sweep.planning.applicability import inapplicable
from gaelp_ray.sweep.planning.constraints import constraints_of, in_words
from gaelp_ray.sweep.planning.forecast import Counts, Forecast, forecast
from gaelp_ray.sweep.planning.kept import Kept
from gaelp_ray.sweep.planning.machine import Disk, Placement, in_bytes
from gaelp_ray.sweep.planning.plan import SweepPlan, plan_sweep
from gaelp_ray.sweep.planning.ranges import ParameterRange
from gaelp_ray.sweep.planning.smoke import Duration

BLOCKS = " ▁▂▃▄▅▆▇█"
"""Heights of a histogram's bar, from none."""

FIRST, MOST_VALUES, MOST_RUNGS = 10, 8, 8
"""Trials, values of a parameter and rungs that are listed."""


def plan(
    file: File,
    *,
    name: str | None = None,
    storage: Path | None = None,
    settings: Settings = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Fly a few iterations here, to say how long the sweep takes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a sweep file and show what would run, what it needs and what it leaves; starts nothing."""
    planned = plan_sweep(file, overrides(name, storage), settings or ())
    if planned.spec.scheduler.type != "none":
        from gaelp_ray.sweep.trials.runner import scheduler_of  # imports Ray, and starts nothing

        scheduler_of(planned)
    expected = forecast(planned, measure)
    if as_json:
        print(json.dumps(plain(_facts(planned, expected)), indent=2, allow_nan=False))
    else:
        # A pipe has no width: a table in it is as wide as it needs to be.
        plan_view(planned, expected, Console(width=None if sys.stdout.isatty() else 160))
    expected.require_possible()


def _facts(planned: SweepPlan, expected: Forecast) -> dict[str, Any]:
    trials = [
        {"trial": t.name, "params": dict(t.params), "config": t.config.to_dict(), "env_steps": t.env_steps}
        for t in planned.trials
    ]
    return {
        "sweep": planned.as_file(),
        "unused": planned.unused,
        "inapplicable": [asdict(found) for found in inapplicable(planned)],
        "trials": trials,
        "forecast": expected.as_dict(),
    }


def plan_view(planned: SweepPlan, expected: Forecast, console: Console) -> None:
    """What would run: the first trials, how the parameters spread, and what it takes."""
    _heading(planned, console)
    console.print(_first_trials(planned))
    if len(planned.trials) > FIRST:
        console.print(f"… and {len(planned.trials) - FIRST} more")
    console.print()
    console.print(_spread(expected))
    console.print()
    console.print(_needs(planned, expected))
    remarks(planned, console)


def _heading(planned: SweepPlan, console: Console) -> None:
    spec = planned.spec
    steps = sum(t.env_steps for t in planned.trials)
    work = f"{steps:,} env-steps" if steps else "flights of your own environment"
    console.print(f"[bold]{spec.name}[/bold]: {spec.method} search, {len(planned.trials)} trials, {work}")
    where = "environment" if isinstance(planned.market, OwnEnv) else "market"
    console.print(f"metric {spec.metric.name} ({planned.goal}); {where} {planned.market.name}; storage {spec.storage}")
    select = spec.select
    control = " and the control arm" if select.include_default else ""
    bounds = in_words(constraints_of(select.constraints))
    console.print(
        f"final stage: best {select.top_k}{control} on {select.episodes:,} fresh flights, "
        f"delivery at least {select.min_delivery:.0%}{', ' if bounds else ''}{bounds}"
    )


def _first_trials(planned: SweepPlan) -> Table:
    # What a bayes search runs depends on what came before: these are draws from its prior.
    sampled = "parameters, as the search may propose them" if planned.spec.method == "bayes" else "sampled parameters"
    table = Table("trial", "agent", "iterations", sampled, box=None, header_style="bold")
    for trial in planned.trials[:FIRST]:
        values = Text(parameters(trial.params) or "defaults")
        table.add_row(trial.name, trial.config.agent_type, str(trial.config.iterations), values)
    return table


def _spread(expected: Forecast) -> Table:
    table = Table("parameter", "spread", f"values ({expected.drawn})", box=None, header_style="bold")
    for found in expected.parameters:
        drawn = found.bins or [number for _, number in found.counts[:MOST_VALUES]]
        table.add_row(Text(found.name), Text(bars(drawn)), Text(_values(found)))
    return table


def bars(counts: Sequence[int]) -> str:
    """One character for each count, the largest one full, none for 0."""
    largest = max(*counts, 1)
    return "".join(BLOCKS[math.ceil((len(BLOCKS) - 1) * count / largest)] for count in counts)


def _values(found: ParameterRange) -> str:
    if found.smallest is not None and found.largest is not None:
        ends = f"{found.smallest:.4g} to {found.largest:.4g}"
        return f"{ends}, log scale" if found.log else ends
    if len(found.counts) == 1:
        return f"always {found.counts[0][0]}"
    listed = ", ".join(f"{value}: {number}" for value, number in found.counts[:MOST_VALUES])
    more = len(found.counts) - MOST_VALUES
    return f"{listed}, and {more} more" if more > 0 else listed


def _needs(planned: SweepPlan, expected: Forecast) -> Table:
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
    yield "disk", _room(disk), not disk.enough
    if where.problem:
        written = f"cannot be written: {where.problem}"
    else:
        written = "can be written"
        if where.exists:
            written += (
                f", but the sweep {planned.spec.name} exists there: --overwrite replaces it, --name gives another"
            )
    yield "storage", f"{planned.spec.storage} {written}", bool(where.problem) or where.exists
    yield "W&B", f"{tracking.mode}: {tracking.why}" if tracking.mode else tracking.why, tracking.mode is None
    yield "time", _time(expected.time), False


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
    here = f"{place.machine.cpus} CPUs, {place.machine.gpus} GPUs and {in_bytes(place.machine.memory)} of memory here"
    if place.problem:
        return f"{place.problem} ({here})"
    gpu = f", {place.gpu:g} GPU" if place.gpu else ""
    memory = f", {in_bytes(place.memory)}" if place.memory else ""
    return f"{place.cpu:g} CPU{gpu}{memory} a trial; {place.at_once:,} at a time, limited by {place.limit} ({here})"


def _room(disk: Disk) -> str:
    parts = f"checkpoints {in_bytes(disk.checkpoints)} at {in_bytes(disk.checkpoint)}, records {in_bytes(disk.records)}"
    free = f"{in_bytes(disk.free)} free{'' if disk.enough else ', which is too little'}"
    return f"about {in_bytes(disk.needed)} ({parts}); {free}"


def _time(time: Duration | None) -> str:
    if time is None:
        return "not estimated: --measure flies a few iterations for it"
    search, final, start = (_range(ends) for ends in (time.search, time.final, time.overhead))
    return f"{_range((time.low, time.high))}: search {search}, final stage {final}, Ray {start}. {time.based_on}"


def _range(seconds: tuple[float, float]) -> str:
    """`12 to 40 s`, in the unit of the longer one."""
    unit, size = next(
        (u, s) for u, s in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)) if seconds[1] >= 2 * s or s == 1
    )
    return f"{seconds[0] / size:.2g} to {seconds[1] / size:.2g} {unit}"
