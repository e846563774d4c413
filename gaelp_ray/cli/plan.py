"""`gaelp-ray plan`: a sweep before it runs, on one screen or as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gaelp_ray.cli.needs import needs
from gaelp_ray.cli.options import AsJson, File, Settings, overrides
from gaelp_ray.cli.screen import out, print_json
from gaelp_ray.cli.tables import parameters, remarks
from gaelp_ray.records import score_metric
from gaelp_ray.simulator.own import OwnEnv
from gaelp_ray.sweep.planning.applicability import inapplicable
from gaelp_ray.sweep.planning.constraints import constraints_of, in_words
from gaelp_ray.sweep.planning.delivery import largest_delivery_of
from gaelp_ray.sweep.planning.forecast import Forecast, forecast
from gaelp_ray.sweep.planning.plan import SweepPlan, plan_sweep
from gaelp_ray.sweep.planning.ranges import ParameterRange

BLOCKS = " ▁▂▃▄▅▆▇█"
"""Heights of a histogram's bar, from none."""

FIRST, MOST_VALUES = 10, 8
"""Trials, and values of a parameter, that are listed."""


def plan(
    file: File,
    *,
    name: str | None = None,
    storage: str | None = None,
    settings: Settings = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Fly a few iterations here, to say how long the sweep takes.")
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Judge resources against a running Ray cluster: auto, host:port or ray://host:port.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a sweep file and show what would run, what it needs and what it leaves; starts nothing."""
    planned = plan_sweep(file, overrides(name, storage), settings or ())
    expected = forecast(planned, measure, address)
    if as_json:
        print_json(_facts(planned, expected))
    else:
        plan_view(planned, expected, out)
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
        "largest_delivery": largest_delivery_of(planned),
        "trials": trials,
        "forecast": expected.as_dict(),
    }


def plan_view(planned: SweepPlan, expected: Forecast, console: Console) -> None:
    """What would run: the first trials, how the parameters spread, and what it takes."""
    _heading(planned, console)
    console.print(_first_trials(planned))
    if len(planned.trials) > FIRST:
        console.print(f"and {len(planned.trials) - FIRST} more")
    console.print()
    console.print(_spread(expected))
    console.print()
    console.print(needs(planned, expected))
    remarks(planned, console)


def _heading(planned: SweepPlan, console: Console) -> None:
    spec = planned.spec
    steps = sum(t.env_steps for t in planned.trials)
    work = f"{steps:,} env-steps" if steps else "flights of your own environment"
    console.print(Text.assemble((spec.name, "bold"), f": {spec.method} search, {len(planned.trials)} trials, {work}"))
    where = "environment" if isinstance(planned.market, OwnEnv) else "market"
    score = score_metric(spec.metric.name)
    scored = f", scored by {score}" if score != spec.metric.name else ""
    console.print(
        f"metric {spec.metric.name} ({planned.goal}){scored}; {where} {planned.market.name}; storage {spec.storage}"
    )
    select = spec.select
    control = " and the control arm" if select.include_default else ""
    bounds = in_words(constraints_of(select.constraints))
    budget = select.budget or select.episodes * (select.top_k + select.include_default)
    console.print(
        f"final stage: best {select.top_k}{control} race on at most {budget:,} flights, {select.episodes:,} confirm, "
        f"delivery at least {select.min_delivery:.0%}{', ' if bounds else ''}{bounds}"
    )
    if select.markets:
        listed = ", ".join(select.markets)
        console.print(f"in other markets: {select.episodes:,} flights each of {listed}", markup=False, highlight=False)


def _first_trials(planned: SweepPlan) -> Table:
    # What a bayes search runs depends on what came before: these are draws from its prior.
    sampled = "parameters, as the search may propose them" if planned.spec.method == "bayes" else "sampled parameters"
    table = Table(box=None, header_style="bold")
    for title in ("trial", "agent", "iterations"):
        table.add_column(title, no_wrap=True)
    table.add_column(sampled)
    for trial in planned.trials[:FIRST]:
        values = Text(parameters(trial.params) or "defaults")
        table.add_row(Text(trial.name), Text(trial.config.agent_type), str(trial.config.iterations), values)
    return table


def _spread(expected: Forecast) -> Table:
    table = Table(box=None, header_style="bold")
    for title in ("parameter", "spread"):
        table.add_column(title, no_wrap=True)
    table.add_column(f"values ({expected.drawn})")
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
