"""What is missing after a fault: results, W&B runs. Every function returns sentences, none if nothing is missing."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reliability.stage import NAME, Room
from reliability.traces import Trace, board, decision, lines, numbers

EXIT_CODES = {"completed": 0, "stopped": 0, "failed": 1}
STATES = {0: "finished", 1: "failed"}


@dataclass(frozen=True)
class Seen:
    """One run as W&B has it. `state` is the server's, empty offline."""

    id: str
    steps: Sequence[int]
    rows: Sequence[Mapping[str, Any]]
    status: str
    exit_code: int | None
    state: str = ""
    models: Sequence[str] = field(default_factory=tuple)


def of_results(room: Room, reference: Path | Room) -> list[str]:
    """Against the uninterrupted sweep: leaderboard, decision, and every number of every iteration, bit for bit."""
    whole = reference if isinstance(reference, Path) else reference.folder
    if not (room.folder / "selection.json").is_file():
        return ["there is no decision"]
    found, wanted = board(room.folder), board(whole)
    problems = [
        f"leaderboard: {row.get('trial')} is not as in the uninterrupted sweep"
        for row, other in zip(found, wanted, strict=False)
        if json.dumps(row) != json.dumps(other)
    ]
    if len(found) != len(wanted):
        problems.append(f"the leaderboard has {len(found)} trials, not {len(wanted)}")
    if json.dumps(decision(room.folder)) != json.dumps(decision(whole)):
        problems.append("the decision is another one")
    return [*problems, *of_records(room, Trace.of(whole)), *of_counting(room)]


def of_records(room: Room, before: Trace, only_ended: bool = False) -> list[str]:
    """Iterations that a trace has and the sweep has no more, or with other numbers; `only_ended`: of ended trials."""
    after = Trace.of(room.folder)
    problems = []
    for name, rows in before.rows.items():
        if only_ended and name not in before.ends:
            continue
        kept = [numbers(row) for row in after.rows.get(name, [])]
        if kept != [numbers(row) for row in rows]:
            problems.append(f"{name}: the record of {len(rows)} iterations has {len(kept)} now, or other numbers")
        if name in before.ends and after.ends.get(name) != before.ends[name]:
            problems.append(f"{name}: it had ended as {before.ends[name]}, and now as {after.ends.get(name)}")
    return problems


def of_counting(room: Room) -> list[str]:
    """Trials and iterations that are there twice, or not at all."""
    trace = Trace.of(room.folder)
    problems = []
    for name, rows in trace.rows.items():
        if [row["iteration"] for row in rows] != list(range(1, len(rows) + 1)):
            problems.append(f"{name}: recorded iterations {[row['iteration'] for row in rows]}")
        if name not in trace.ends:
            problems.append(f"{name} has no end")
    journal = lines(room.folder / "journal.jsonl")
    ended = Counter(line["trial"] for line in journal if line["event"] == "ended")
    again = Counter(name for line in journal if line["event"] == "again" for name in line["trials"])
    problems += [f"{name} has ended {count} times" for name, count in ended.items() if count > 1 + again[name]]
    if (room.folder / "selection.json").is_file():
        names = Counter(row["trial"] for row in board(room.folder) if row["role"] != "reference")
        firsts = Counter({plan["first"]: 1 for plan in trace.plans.values()})
        if names != firsts:
            problems.append(f"the leaderboard has {dict(names - firsts)} too often, {dict(firsts - names)} too rarely")
    return problems


def offline(room: Room) -> tuple[str, list[str]]:
    """(how many runs are whole, what is wrong) of the runs in the sweep's folder."""
    from gaelp_ray.tracking.offline import read_run

    seen = []
    for directory in sorted((room.folder / "wandb").glob("offline-run-*")):
        run = read_run(directory)
        steps = [row.get("_step", -1) for row in run.history]
        models = [artifact["name"] for artifact in run.artifacts if artifact["type"] == "model"]
        status = str(run.summary.get("status", ""))
        seen.append(Seen(run.id, steps, run.history, status, run.exit_code, models=models))
    return _of_wandb(room, seen)


def online(room: Room, state: Any) -> tuple[str, list[str]]:
    """The same of the runs that a server has; `state` is StandIn.state()."""
    committed = [artifact for artifact in state.artifacts.values() if artifact.state == "COMMITTED"]
    seen = []
    for run in state.runs.values():
        models = [one.path for one in committed if one.type == "model" and one.run in (run.name, run.path, run.id)]
        status = str(run.summary.get("status", ""))
        seen.append(Seen(run.name, run.steps, run.rows, status, run.exit_code, run.state, models))
    pending = [path for path, artifact in state.artifacts.items() if artifact.state != "COMMITTED"]
    told, problems = _of_wandb(room, seen)
    return told, problems + [f"the artifact {path} is not committed" for path in pending] + state.errors


def _of_wandb(room: Room, seen: Iterable[Seen]) -> tuple[str, list[str]]:
    by_id: dict[str, list[Seen]] = {}
    for run in seen:
        by_id.setdefault(run.id, []).append(run)
    sweep_id = json.loads((room.folder / "provenance.json").read_text(encoding="utf-8"))["id"]
    problems, whole = [], 0
    trace = Trace.of(room.folder)
    for name, plan in trace.plans.items():
        begun = name in trace.ends or trace.rows[name]
        for number in range(len(plan["seeds"])):
            id = f"{name}-{sweep_id}" if len(plan["seeds"]) == 1 else f"{name}-s{number}-{sweep_id}"
            if not begun and id not in by_id:
                continue  # it was handed out, and nobody has come to its first row
            found = _of_run(id, by_id.pop(id, []), trace, name, number)
            problems += found
            whole += not found
    selected = by_id.pop(f"{NAME}-select-{sweep_id}", [])
    finished = (room.folder / "selection.json").is_file()
    if len(selected) != finished:
        problems.append(f"the run of the final stage is there {len(selected)} times")
    problems += [
        f"the final stage's run has {run.models} and exit code {run.exit_code}" for run in selected if _bad(run)
    ]
    return f"{whole} runs whole", problems + [f"a run {id} that no trial has" for id in by_id]


def _bad(selected: Seen) -> bool:
    return len(set(selected.models)) != 1 or selected.exit_code != 0


def _of_run(id: str, found: Sequence[Seen], trace: Trace, name: str, number: int) -> list[str]:
    if len(found) != 1:
        return [f"the run {id} is there {len(found)} times"]
    run, rows, status = found[0], trace.rows[name], trace.ends.get(name, {}).get("status", "interrupted")
    problems = []
    if list(run.steps) != [row["iteration"] for row in rows]:
        problems.append(f"{id}: steps {list(run.steps)} of {len(rows)} iterations")
    elif any(not _holds(held, row["runs"][number]) for held, row in zip(run.rows, rows, strict=True)):
        problems.append(f"{id}: other numbers than the record's")
    if run.status != status:
        problems.append(f"{id}: told as {run.status!r}, but it is {status}")
    code = EXIT_CODES.get(status, 130)
    if run.exit_code != code or (run.state and run.state != STATES.get(code, run.state)):
        problems.append(f"{id}: {status}, with exit code {run.exit_code} {run.state}")
    return problems


def _holds(held: Mapping[str, Any], recorded: Mapping[str, float]) -> bool:
    """Whether W&B has every number of a row; what is no number W&B writes in words, or leaves out."""
    return all(held.get(name) == value or not math.isfinite(value) for name, value in recorded.items())
