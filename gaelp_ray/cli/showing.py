"""Commands that look at sweeps: `list` and `show`. They start nothing."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from gaelp_ray.cli import tables
from gaelp_ray.cli.live import COLOURS
from gaelp_ray.cli.options import RESULTS, AsJson, Storage, Sweep
from gaelp_ray.cli.other_markets import other_markets
from gaelp_ray.cli.screen import out, print_json
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
        out.print(f"no sweeps in {storage}")
    for fact in facts:
        kept = "a tie, kept" if fact["decision"] == "tie" else "winner"
        won = f"{kept} {fact['winner']}, ROAS {fact['roas']:.3f}" if fact["winner"] else "no winner"
        told = won if fact["state"] == "finished" else fact["trials"]
        out.print(f"{fact['sweep']}  {fact['state']}  {told}", highlight=False)


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


def show(sweep: Sweep, storage: Storage = RESULTS, as_json: AsJson = False) -> None:
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
    if record:
        tables.leaderboard(record["leaderboard"], out)
        other_markets(record, out)
    else:
        out.print(_states(states))
    tables.lineage(lineage, out)
    for found in states:
        for number, attempt in enumerate(found.attempts, 1):
            told = f"{found.trial} broke off ({attempt.cause}, time {number}) after iteration {attempt.iteration}: "
            out.print(told + attempt.error, markup=False, highlight=False, soft_wrap=True)
        if found.attempts:
            out.print(f"  all of it: {TrialFiles(folder.path, found.trial).errors}", markup=False, highlight=False)
    out.print(f"trials: {in_short(states) or 'none yet'}", markup=False, highlight=False)
    if record:
        told = "\n".join((f"decision: {record['reason']}", *tables.chosen(record)))
        out.print(told, markup=False, highlight=False)
    elif state_of(folder) == "interrupted":
        out.print(f"go on with `gaelp-ray resume {folder.shown}`", markup=False, highlight=False)


def _states(states: list[TrialState]) -> Table:
    table = Table("trial", "state", "iterations", "env-steps", "why", box=None, header_style="bold", pad_edge=False)
    for found in states:
        state = Text(found.state, style=COLOURS.get(found.state, ""))
        table.add_row(found.trial, state, str(found.iterations), f"{found.env_steps:,}", Text(found.reason))
    return table
