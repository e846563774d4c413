"""Commands that run sweeps: `sweep` starts one, `resume` goes on with one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaelp_ray.cli import tables
from gaelp_ray.cli.leaderboard import leaderboard
from gaelp_ray.cli.live import LiveSweep
from gaelp_ray.cli.options import RESULTS, AsJson, Extend, File, Retry, Settings, Storage, Sweep, overrides
from gaelp_ray.cli.other_markets import other_markets
from gaelp_ray.cli.screen import err, out, print_json
from gaelp_ray.cli.visiting import sweep_from_outside
from gaelp_ray.cluster.jobs.request import Wish
from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.planning.cluster import CLIENT
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.sweep.planning.resumption import planned
from gaelp_ray.sweep.store.folder import SweepFolder
from gaelp_ray.sweep.store.opening import open_sweep

if TYPE_CHECKING:  # the pipeline brings Ray and wandb
    from gaelp_ray.sweep.pipeline import SweepResult


Address = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Run on a Ray cluster that runs already, of which this is a node: auto or host:port. "
        "From elsewhere a sweep may begin there by ray://host:port.",
        show_default=False,
    ),
]


def sweep(
    file: File,
    *,
    name: Annotated[str | None, typer.Option(help="Another name than the file's.")] = None,
    storage: Annotated[str | None, typer.Option(help="Another storage than the file's.")] = None,
    settings: Settings = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a sweep of the same name.")] = False,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Run a sweep: search, re-fly the best on fresh flights, publish the winner."""
    if address and address.startswith(CLIENT):
        wish = Wish(file, name, storage, tuple(settings or ()), overwrite)
        raise typer.Exit(sweep_from_outside(wish, address, as_json))
    from gaelp_ray.sweep.pipeline import run_sweep

    replaced = overrides(name, storage)
    plan = plan_sweep(file, replaced, settings or ())
    with LiveSweep(plan, err if as_json else out) as live:
        result = run_sweep(file, overwrite, replaced, live, settings or (), address=address)
    _finish(result, as_json)


def resume(
    sweep: Sweep,
    *,
    storage: Storage = RESULTS,
    retry: Retry = None,
    extend: Extend = None,
    settings: Settings = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a sweep after a crash or Ctrl-C: what has ended is kept, the rest goes on from its checkpoints.

    With --extend or --set, a finished one goes on, too.
    """
    from gaelp_ray.sweep.pipeline import resume_sweep

    folder = open_sweep(storage, sweep)
    if folder.is_finished() and not (retry or extend or settings):
        _bring(folder)
        return _end(_shown_again(folder, as_json))
    plan = planned(folder, extend or 0, settings or ())
    ended = {name: end.status for name, end in folder.history().ends.items() if not (retry and end.cause)}
    with LiveSweep(plan, err if as_json else out, ended) as live:
        retried, changes = retry is not None, settings or ()
        result = resume_sweep(sweep, storage, live, retried, extend=extend or 0, changes=changes, address=address)
    _finish(result, as_json)


def _shown_again(folder: SweepFolder, as_json: bool) -> Mapping[str, Any]:
    """The record of a sweep that has finished, which is printed."""
    record = folder.read_selection()
    if as_json:
        print_json(record)
        return record
    leaderboard(record["leaderboard"], out, folder.shown)
    other_markets(record, out)
    for line in tables.gate_line(record):
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    out.print(f"{folder.path.name} has finished: nothing is left to do", highlight=False)
    return record


def _bring(folder: SweepFolder) -> None:
    """What a storage in S3 lacks of a sweep that finished while it was away."""
    if folder.remote:
        with folder.claim():
            if problem := folder.deliver():
                raise StorageError(problem)


def _finish(result: SweepResult, as_json: bool) -> None:
    record = result.folder.read_selection()
    if as_json:
        print_json(record)
    else:
        leaderboard(record["leaderboard"], out, result.folder.shown)
        other_markets(record, out)
        tables.closing(result, out)
    _end(record)


def _end(record: Mapping[str, Any]) -> None:
    """With 1 where nobody won or a gate refused the model: also when a finished sweep is looked at again."""
    if not record["winner"] or tables.is_refused(record):
        raise typer.Exit(1)
