"""Who went on from whom in a population, as JSON lines in the sweep's folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Exploit:
    """One line of the lineage: `trial` went on from the checkpoint of `source`, with changed parameters.

    iteration: where the trial had come to; source_iteration: that of the checkpoint, where it goes on.
    changed: the trial's own value before, and its new one; copied: the source's values of the same parameters.
    """

    trial: str
    source: str
    iteration: int
    source_iteration: int
    changed: Mapping[str, tuple[Any, Any]]
    copied: Mapping[str, Any]


def write_lineage(path: Path, lineage: Iterable[Exploit]) -> None:
    """One JSON object a line, in the order of what happened."""
    path.write_text("".join(f"{json.dumps(asdict(record))}\n" for record in lineage), encoding="utf-8")


def read_lineage(path: Path) -> list[Exploit]:
    """What write_lineage() wrote; nothing where there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    records = [json.loads(line) for line in lines]
    return [Exploit(**row | {"changed": {k: tuple(v) for k, v in row["changed"].items()}}) for row in records]
