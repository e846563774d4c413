"""The file stream: rows, summary, console and end of a run as they come in, and rows as they are asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wandb_server.documents import Node
from wandb_server.records import Row, Run, now

HISTORY, EVENTS, SUMMARY = "wandb-history.jsonl", "wandb-events.jsonl", "wandb-summary.json"
FAR = 1 << 62


def receive(run: Run, body: Mapping[str, Any]) -> Node:
    """One request of the file stream, which is also a heartbeat."""
    run.heartbeat, run.heartbeat_at = time.monotonic(), now()
    for file, chunk in (body.get("files") or {}).items():
        _receive_chunk(run, file, chunk["content"], chunk["offset"])
    note_files(run, body.get("uploaded") or [])
    run.state = "running"
    if body.get("complete"):
        run.exit_code = body.get("exitcode") or 0
        run.state = "failed" if run.exit_code else "finished"
    return {"exitcode": None, "limits": {}, "stopped": False}


def _receive_chunk(run: Run, file: str, lines: Sequence[str], offset: int) -> None:
    if file == SUMMARY:
        run.summary = json.loads(lines[-1])
    elif file == HISTORY:
        rows = [json.loads(line) for line in lines]
        run.received += rows
        _place(run.history, rows, offset)
    elif file == EVENTS:
        _place(run.events, [json.loads(line) for line in lines], offset)
    else:
        _place(run.output, lines, offset)


def _place(held: list[Any], new: Sequence[Any], offset: int) -> None:
    held += [None] * (offset + len(new) - len(held))
    held[offset : offset + len(new)] = new


def note_files(run: Run, names: Iterable[str]) -> None:
    """Remember that the run has these files."""
    run.files += [name for name in names if name not in run.files]


def view(run: Run) -> Node:
    """The fields of a run that are about its rows."""
    rows = run.rows
    first = min((row.get("_step", 0) for row in rows), default=None)
    last = max((row.get("_step", 0) for row in rows), default=-1)
    kinds = {
        name: {"typeCounts": [{"type": "number", "count": 1}]} for name in sorted({k for row in rows for k in row})
    }
    events = [event for event in run.events if event]
    return {
        "systemMetrics": json.dumps(events[-1] if events else {}),
        "historyLineCount": len(run.history),
        "eventsLineCount": len(run.events),
        "logLineCount": len(run.output),
        "historyTail": _tail(run.history),
        "eventsTail": _tail(run.events),
        "historyKeys": {"keys": kinds, "lastStep": last},
        "history": lambda asked: [json.dumps(row) for row in _window(rows, asked)],
        "events": lambda asked: [json.dumps(event) for event in _window(events, asked)],
        "sampledHistory": lambda asked: [_sampled(rows, json.loads(spec)) for spec in asked["specs"]],
        # Without files of finished history, the client reads the rows themselves.
        "parquetHistory": {"parquetUrls": [], "liveData": [] if first is None else [{"_step": first}]},
    }


def _tail(rows: Sequence[Row | None]) -> str:
    return json.dumps([json.dumps(row) for row in rows[-1:]])


def _window(rows: Sequence[Row], asked: Mapping[str, Any]) -> list[Row]:
    low, high = asked.get("minStep", 0), asked.get("maxStep", FAR)
    return _thinned([row for row in rows if low <= row.get("_step", 0) < high], asked.get("samples"))


def _sampled(rows: Sequence[Row], spec: Mapping[str, Any]) -> list[Row]:
    low, high = spec.get("minStep", 0), spec.get("maxStep", FAR)
    fitting = [row for row in rows if set(spec["keys"]) <= row.keys() and low <= row.get("_step", 0) <= high]
    return [{name: row[name] for name in spec["keys"]} for row in _thinned(fitting, spec.get("samples"))]


def _thinned(rows: Sequence[Row], samples: int | None) -> list[Row]:
    if not samples or len(rows) <= samples:
        return list(rows)
    return [rows[number * len(rows) // samples] for number in range(samples)]
