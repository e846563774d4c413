"""What lies in a sweep's folder, and who may write there.

    <storage>/<sweep>/  sweep.yaml (as it ran)  provenance.json  trials/ (Ray's)  wandb/  leaderboard.csv
                        lineage.jsonl (of a population)  selection.json  best/ (model.npz, model.json, card.md)

SweepFolder.create() claims a folder; SweepFolder.open() reads a finished or interrupted one.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gaelp_ray.agents import Agent
from gaelp_ray.checkpoint import load_model, plain, write_json
from gaelp_ray.errors import StorageError, did_you_mean
from gaelp_ray.sweep.lineage import Exploit, read_lineage

SPEC, PROVENANCE, SELECTION, LEADERBOARD = (
    "sweep.yaml",
    "provenance.json",
    "selection.json",
    "leaderboard.csv",
)


@dataclass(frozen=True)
class SweepFolder:
    """One sweep's folder."""

    path: Path

    @property
    def best(self) -> Path:
        """Where the winner's model lies."""
        return self.path / "best"

    @property
    def lineage(self) -> Path:
        """Who went on from whose weights, in a population."""
        return self.path / "lineage.jsonl"

    @property
    def wandb(self) -> Path:
        """Where everything of W&B lies."""
        return self.path / "wandb"

    @classmethod
    def create(cls, storage: Path, name: str, overwrite: bool) -> SweepFolder:
        """Claim the folder of a new sweep. Raises StorageError if it cannot be written or exists already."""
        folder = cls((storage / name).resolve())
        folder.require_free(overwrite)
        if folder.path.exists():
            shutil.rmtree(folder.path)
        folder.path.mkdir()
        return folder

    def require_free(self, overwrite: bool) -> None:
        """Raises StorageError unless the folder can be made here and replaces nothing that it may not."""
        _require_writable(self.path.parent)
        if not self.path.exists():
            return
        if not overwrite:
            raise StorageError(
                f"the sweep {self.path.name!r} exists already in {self.path.parent}: give another name with --name, "
                "or replace it with --overwrite"
            )
        if not self.path.is_dir() or (not (self.path / SPEC).is_file() and any(self.path.iterdir())):
            raise StorageError(f"{self.path} is no sweep's folder, so --overwrite leaves it alone: use --name")

    @classmethod
    def open(cls, storage: Path, name: str) -> SweepFolder:
        """An existing sweep, by its name in `storage` or by its folder. Raises StorageError if there is none."""
        for candidate in (storage / name, Path(name)):
            if (candidate / SPEC).is_file():
                return cls(candidate.resolve())
        known = [folder.path.name for folder in sweeps_in(storage)]
        hint = did_you_mean(name, known) if known else "There is none yet: run `gaelp-ray sweep FILE`."
        raise StorageError(f"no sweep {name!r} in {storage}. {hint}")

    def write_start(self, spec: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
        """What is known before the first trial."""
        (self.path / SPEC).write_text(yaml.safe_dump(plain(spec), sort_keys=False), encoding="utf-8")
        write_json(self.path / PROVENANCE, provenance)

    def write_end(self, selection: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        """The final stage's decision, and the leaderboard."""
        write_json(self.path / SELECTION, selection)
        with (self.path / LEADERBOARD).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            for row in rows:
                cells = {k: json.dumps(plain(v)) if isinstance(v, Mapping) else plain(v) for k, v in row.items()}
                writer.writerow(cells)

    def read_selection(self) -> dict[str, Any]:
        """The decision of a finished sweep. Raises StorageError if it never got there, or the file is damaged."""
        path = self.path / SELECTION
        if not path.is_file():
            raise StorageError(f"the sweep {self.path.name!r} did not finish: run it again with --overwrite")
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StorageError(f"{path} is damaged: {error}") from None
        if not isinstance(record, dict) or not {"winner", "leaderboard", "reason"} <= set(record):
            raise StorageError(f"{path} is damaged: it holds no selection")
        return record

    def read_lineage(self) -> list[Exploit]:
        """Who went on from whose weights; empty without a population."""
        return read_lineage(self.lineage) if self.lineage.is_file() else []

    def is_finished(self) -> bool:
        """Whether the final stage has decided."""
        return (self.path / SELECTION).is_file()


def sweeps_in(storage: Path) -> Iterator[SweepFolder]:
    """Every sweep in a storage folder, by name."""
    if storage.is_dir():
        for path in sorted(storage.iterdir()):
            if (path / SPEC).is_file():
                yield SweepFolder(path.resolve())


def _require_writable(storage: Path) -> None:
    try:
        storage.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=storage):
            pass
    except OSError as error:
        raise StorageError(
            f"cannot write to the storage folder {storage}: {os.strerror(error.errno or 0)}. "
            "Change `storage`, or give another with --storage"
        ) from None


def load_best(sweep: str | Path, storage: str | Path = "results") -> Agent:
    """The agent that won a sweep, ready to act: `load_best("quickstart").act(obs)`.

    Raises StorageError if there is no such finished sweep, ModelError if its model is missing or damaged.
    """
    folder = SweepFolder.open(Path(storage), str(sweep))
    record = folder.read_selection()
    if record["winner"] is None:
        raise StorageError(f"the sweep {folder.path.name!r} has no winner: {record['reason']}")
    return load_model(folder.best).agent
