"""`gaelp-ray sync`: what a sweep has recorded, brought to the W&B server."""

from __future__ import annotations

import typer

from gaelp_ray.cli import tables
from gaelp_ray.cli.options import RESULTS, AsJson, Storage, Sweep
from gaelp_ray.cli.screen import err, out, print_json
from gaelp_ray.errors import TrackingError
from gaelp_ray.sweep.store.opening import open_sweep


def sync(sweep: Sweep, storage: Storage = RESULTS, as_json: AsJson = False) -> None:
    """Bring a sweep's runs and its model to W&B: what the server lacks, every row once. Its gate judges the model."""
    from gaelp_ray.sweep.syncing import sync_sweep  # brings wandb

    folder = open_sweep(storage, sweep)
    facts = []
    with err.status("asking the server"):
        for found in sync_sweep(folder):
            facts.append(vars(found))
            if found.rows or found.problem:
                err.print(
                    f"{found.id}: {found.problem or f'{found.rows} rows uploaded'}", markup=False, highlight=False
                )
    problems = [fact for fact in facts if fact["problem"]]
    if as_json:
        print_json(facts)
    elif not problems:
        rows = sum(fact["rows"] for fact in facts)
        out.print(f"{len(facts)} runs of {folder.path.name} are on the server; {rows} rows were new", highlight=False)
    record = folder.read_selection() if folder.is_finished() else {}
    for line in tables.gate_line(record):
        (err if as_json else out).print(line, markup=False, highlight=False, soft_wrap=True)
    if problems:
        names = ", ".join(fact["id"] for fact in problems)
        raise TrackingError(f"{len(problems)} of {len(facts)} runs are not right on the server yet: {names}")
    if tables.is_refused(record):
        raise typer.Exit(1)
