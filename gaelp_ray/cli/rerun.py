"""`gaelp-ray rerun`: one trial again, and whether its numbers came again."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import Progress

from gaelp_ray.cli.options import RESULTS, AsJson, Storage, Sweep
from gaelp_ray.cli.screen import err, out, print_json
from gaelp_ray.sweep.remote.sweep import facts
from gaelp_ray.sweep.store.opening import open_sweep

if TYPE_CHECKING:  # trials bring Ray
    from gaelp_ray.sweep.trials.rerun import Repetition


def rerun(
    sweep: Sweep,
    trial: Annotated[str, typer.Argument(help="Name of the trial.", show_default=False)],
    storage: Storage = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Repeat one trial from its recorded seeds and configuration: exit code 0 if every number came again, else 1."""
    from gaelp_ray.sweep.trials.rerun import rerun as repeat

    folder = open_sweep(storage, sweep, facts)
    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(escape(trial))
        found = repeat(folder, trial, lambda done, total: progress.update(task, completed=done, total=total))
    if as_json:
        print_json({**asdict(found), "exact": found.exact})
    else:
        _tell(found)
    if not found.exact:
        raise typer.Exit(1)


def _tell(found: Repetition) -> None:
    if found.difference is None:
        flown = f"{found.iterations} iteration{'' if found.iterations == 1 else 's'}"
        validated = " and the validation flights" if found.whole else ", as far as it went"
        _print(f"{found.trial}: repeated exactly, {flown}{validated}")
        return
    first = found.difference
    where = f"iteration {first.iteration}, {first.metric}"
    _print(
        f"{found.trial}: not repeated. First difference: {where}: {_shown(first.recorded)} is recorded, "
        f"{_shown(first.now)} came now"
    )
    for key, (then, now) in found.since.items():
        _print(f"{key}: {_shown(then)} then, {_shown(now)} now")
    if not found.since:
        _print("code, packages, machine and market are what they were: the record was changed")


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


def _print(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)
