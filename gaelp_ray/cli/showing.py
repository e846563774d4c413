"""Commands that look at sweeps: `list` and `show`. They start nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console

from gaelp_ray.cli import tables
from gaelp_ray.cli.columns import Column, print_table, without_prefix
from gaelp_ray.cli.leaderboard import leaderboard
from gaelp_ray.cli.live import COLOURS
from gaelp_ray.cli.options import RESULTS, AsJson, Storage, Sweep
from gaelp_ray.cli.other_markets import other_markets
from gaelp_ray.cli.screen import console as plain_console
from gaelp_ray.cli.screen import out, print_json, print_sentence
from gaelp_ray.sweep.remote.sweep import facts as what_is_shown
from gaelp_ray.sweep.store.folder import SweepFolder
from gaelp_ray.sweep.store.opening import every_sweep, open_sweep
from gaelp_ray.sweep.store.states import TrialState, in_short, state_of, trial_states
from gaelp_ray.sweep.store.trial_files import TrialFiles


def list_sweeps(storage: Storage = RESULTS, as_json: AsJson = False) -> None:
    """The sweeps in a storage."""
    facts = [_facts(folder) for folder in every_sweep(storage, what_is_shown)]
    if as_json:
        print_json(facts)
        return
    if not facts:
        out.print(f"no sweeps in {storage}", soft_wrap=True)
    for fact in facts:
        kept = "a tie, kept" if fact["decision"] == "tie" else "winner"
        won = f"{kept} {fact['winner']}, ROAS {fact['roas']:.3f}" if fact["winner"] else "no winner"
        told = won if fact["state"] == "finished" else fact["trials"]
        out.print(f"{fact['sweep']}  {fact['state']}  {told}", soft_wrap=True)


def _facts(folder: SweepFolder) -> dict[str, Any]:
    record = folder.read_selection() if folder.is_finished() else {}
    winner = record.get("winner") or {}
    return {
        "sweep": folder.path.name,
        "state": state_of(folder),
        "trials": in_short(trial_states(folder)),
        "decision": record.get("decision"),
        "winner": winner.get("trial"),
        "roas": winner.get("evaluation", {}).get("roas"),
    }


def show(
    sweep: Sweep,
    storage: Storage = RESULTS,
    everything: Annotated[
        bool, typer.Option("--all", help="Print every trial and column, also those beyond the terminal's size.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """One sweep: its leaderboard and decision, the state of every trial, and why some broke off."""
    folder = open_sweep(storage, sweep, what_is_shown)
    record = folder.read_selection() if folder.is_finished() else {}
    states, lineage = trial_states(folder), folder.history().lineage
    if as_json:
        facts = {
            "sweep": folder.path.name,
            "state": state_of(folder),
            "trials": [found.as_dict() for found in states],
            "lineage": [vars(exploit) for exploit in lineage],
        }
        print_json(facts | record)
        return
    console = plain_console(bounded=False) if everything else out
    if record:
        leaderboard(record["leaderboard"], console, folder.shown)
        other_markets(record, console)
    else:
        print_states(states, console, folder.shown)
    tables.lineage(lineage, console)
    for line in (*_attempts(folder, states), *_ending(folder, states, record)):
        print_sentence(console, line)


def _attempts(folder: SweepFolder, states: Sequence[TrialState]) -> Iterator[str]:
    """Every failed attempt of a trial, and where its traceback lies."""
    for found in states:
        for number, attempt in enumerate(found.attempts, 1):
            where = f"({attempt.cause}, time {number}) after iteration {attempt.iteration}"
            yield f"{found.trial} broke off {where}: {attempt.error}"
        if found.attempts:
            yield f"  all of it: {TrialFiles(folder.path, found.trial).errors}"


def _ending(folder: SweepFolder, states: Sequence[TrialState], record: Mapping[str, Any]) -> Iterator[str]:
    yield f"trials: {in_short(states) or 'none yet'}"
    if record:
        yield f"decision: {record['reason']}"
        yield from tables.chosen(record)
    elif state_of(folder) == "interrupted":
        yield f"go on with `gaelp-ray resume {folder.shown}`"


def print_states(states: Sequence[TrialState], console: Console, sweep: str) -> None:
    """How far each trial is, and why it ended; `sweep` is its name in the command that prints what was left out."""
    names = without_prefix([found.trial for found in states])
    reason: Column[TrialState] = Column("why", lambda found: found.reason, 2)
    columns: list[Column[TrialState]] = [
        Column("trial", lambda found: found.trial, narrow=lambda found: names[found.trial]),
        Column("state", lambda found: found.state, style=lambda found: COLOURS.get(found.state, "")),
        Column("iterations", lambda found: str(found.iterations), right=True),
        Column("env-steps", lambda found: f"{found.env_steps:,}", 1, right=True),
        reason,
    ]
    kept = print_table(console, columns, states)
    if reason not in kept and any(found.reason for found in states):
        console.print(f"why: gaelp-ray show {sweep} --all", style="dim", soft_wrap=True)
