"""Read an offline W&B run back, without a server.

A `.wandb` file is a 7-byte header (":W&B", magic 0xBEE1, version 0) and a LevelDB log: blocks of 32 KiB with chunks
[crc32: 4 bytes][length: 2][type: 1], type 1 a whole record, 2, 3 and 4 its first, middle and last part. Each record
is a protobuf message of wandb's own schema. wandb 0.31 ships no reader of its own.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

from gaelp_ray.errors import StorageError

BLOCK = 32 * 1024
HEADER = struct.Struct("<4sHB")
CHUNK = struct.Struct("<IHB")
WHOLE, FIRST, LAST = 1, 2, 4


@dataclass
class OfflineRun:
    """What one run directory holds. `exit_code` is None where the run never ended."""

    id: str = ""
    name: str = ""
    group: str = ""
    project: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    exit_code: int | None = None


def offline_runs(home: Path) -> list[OfflineRun]:
    """All offline runs below a sweep's wandb folder, in order of their directories' names."""
    return [read_run(directory) for directory in sorted(home.glob("offline-run-*"))]


def read_run(directory: Path) -> OfflineRun:
    """One run directory. Raises StorageError where it holds no readable `.wandb` file."""
    files = sorted(directory.glob("*.wandb"))
    if len(files) != 1:
        raise StorageError(f"{directory} holds {len(files)} .wandb files, not one")
    run = OfflineRun()
    explicit: dict[str, Any] = {}
    for record in _records(files[0]):
        _take(run, explicit, record)
    run.config.pop("_wandb", None)
    # wandb keeps the last value of each history key as its summary, unless the summary was set.
    for row in run.history:
        run.summary |= row
    run.summary |= explicit
    return run


def _take(run: OfflineRun, explicit: dict[str, Any], record: Any) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "run":
        run.id, run.name, run.group = record.run.run_id, record.run.display_name, record.run.run_group
        run.project, run.job_type = record.run.project, record.run.job_type
        run.tags = list(record.run.tags)
        run.config |= _items(record.run.config.update)
    elif kind == "config":
        run.config |= _items(record.config.update)
    elif kind == "history":
        run.history.append(_items(record.history.item))
    elif kind == "summary":
        explicit |= _items(record.summary.update)
    elif kind == "artifact":
        run.artifacts.append(_artifact(record.artifact))
    elif kind == "exit":
        run.exit_code = record.exit.exit_code


def _items(items: Iterable[Any]) -> dict[str, Any]:
    listed = list(items)
    values = json.loads(f"[{','.join([item.value_json for item in listed])}]")  # one text: three times as quick
    return {item.key or ".".join(item.nested_key): value for item, value in zip(listed, values, strict=True)}


def _artifact(record: Any) -> dict[str, Any]:
    return {
        "name": record.name,
        "type": record.type,
        "aliases": list(record.aliases),
        "metadata": json.loads(record.metadata or "{}"),
        "files": [entry.path for entry in record.manifest.contents],
    }


def _records(path: Path) -> Iterator[Any]:
    """Every whole record; a torn end (a killed writer) ends the file there."""
    data = path.read_bytes()
    if len(data) < HEADER.size or HEADER.unpack_from(data) != (b":W&B", 0xBEE1, 0):
        raise StorageError(f"{path} is no W&B run file of a known version")
    parts: list[bytes] = []
    for kind, chunk in _chunks(data):
        parts = [chunk] if kind in (WHOLE, FIRST) else [*parts, chunk]
        if kind in (WHOLE, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(b"".join(parts))
            yield record


def _chunks(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = HEADER.size
    while position + CHUNK.size <= len(data):
        room = BLOCK - position % BLOCK
        if room < CHUNK.size:  # too little for another chunk: padding
            position += room
            continue
        checksum, length, kind = CHUNK.unpack_from(data, position)
        if kind == 0 and length == 0:
            position += room
            continue
        chunk = data[position + CHUNK.size : position + CHUNK.size + length]
        if zlib.crc32(chunk, zlib.crc32(bytes([kind]))) != checksum:
            return
        yield kind, chunk
        position += CHUNK.size + length
