"""What a sweep leaves in its folder, read without gaelp_ray: who checks a record should not ask who wrote it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLOCK = ("seconds", "cpu_seconds", "memory")
"""What no two runs have in common."""


def lines(path: Path) -> list[dict[str, Any]]:
    """Whole JSON lines."""
    found = []
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        if line.endswith(b"\n"):
            try:
                found.append(json.loads(line))
            except ValueError:
                break
    return found


@dataclass(frozen=True)
class Trace:
    """A sweep's trials by name: their plans and ends as in the journal, the rows of their records."""

    plans: Mapping[str, Mapping[str, Any]]
    ends: Mapping[str, Mapping[str, Any]]
    rows: Mapping[str, list[dict[str, Any]]]
    attempts: list[Mapping[str, Any]]
    events: list[str]

    @classmethod
    def of(cls, folder: Path) -> Trace:
        """Of a sweep's folder as it is now."""
        plans: dict[str, Any] = {}
        ends: dict[str, Any] = {}
        attempts: list[Any] = []
        journal = lines(folder / "journal.jsonl")
        for line in journal:
            if line["event"] == "proposed":
                plans[line["plan"]["name"]] = line["plan"]
            elif line["event"] == "ended":
                ends[line["trial"]] = line["end"]
            elif line["event"] == "attempt":
                attempts.append(line["attempt"])
            elif line["event"] == "again":
                ends = {name: end for name, end in ends.items() if name not in line["trials"]}
        rows = {name: rows_of(folder, name) for name in plans}
        return cls(plans, ends, rows, attempts, [line["event"] for line in journal])

    @property
    def iterations(self) -> int:
        """Recorded so far, of all trials."""
        return sum(map(len, self.rows.values()))


def ended(folder: Path) -> int:
    """How many ends the journal has."""
    return sum(line["event"] == "ended" for line in lines(folder / "journal.jsonl"))


def rows_of(folder: Path, trial: str) -> list[dict[str, Any]]:
    """A trial's recorded iterations."""
    return [line for line in lines(folder / "trials" / trial / "record.jsonl") if "iteration" in line]


def board(folder: Path) -> list[dict[str, Any]]:
    """The leaderboard, without what depends on the clock."""
    rows = json.loads((folder / "selection.json").read_text(encoding="utf-8"))["leaderboard"]
    return [timeless(row) for row in rows]


def decision(folder: Path) -> dict[str, Any]:
    """The rest of selection.json, without the artifact's place in W&B."""
    record = json.loads((folder / "selection.json").read_text(encoding="utf-8"))
    return {name: value for name, value in record.items() if name not in ("leaderboard", "artifact")}


def timeless(row: Mapping[str, Any]) -> dict[str, Any]:
    """A record without what depends on the clock."""
    return {name: value for name, value in row.items() if name not in CLOCK}


def numbers(row: Mapping[str, Any]) -> str:
    """All that one iteration recorded, bit for bit, as text: NaN equals itself there."""
    return json.dumps([row["iteration"], timeless(row["report"]), [timeless(run) for run in row["runs"]]])
