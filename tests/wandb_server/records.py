"""What the server holds, and what a test sees of it in `StandIn.state()`.

Paths are W&B's: `team/demo/r1` is a run, `team/demo/model` a collection, `team/demo/model:v0` an artifact.
"""

from __future__ import annotations

import base64
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal

Row = dict[str, Any]


def now() -> str:
    """The time as W&B writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def opaque(kind: str, *parts: object) -> str:
    """An id as W&B's GraphQL has them: base64 of `Kind:part:part`."""
    return base64.b64encode(":".join([kind, *map(str, parts)]).encode()).decode()


@dataclass
class Alert:
    """What `run.alert` sent."""

    title: str
    text: str
    level: str


@dataclass
class Run:
    """A run. `name` is what wandb calls its id, `id` is GraphQL's.

    `config` has plain values, without W&B's own `_wandb`, which is `internals`. `history` are the rows where their
    offsets put them (a chunk that is sent again replaces itself), `received` every row as it came in.
    """

    id: str
    entity: str
    project: str
    name: str
    display_name: str
    number: int
    tags: list[str] = field(default_factory=list)
    group: str | None = None
    job_type: str | None = None
    notes: str | None = None
    host: str | None = None
    program: str | None = None
    state: str = "running"
    exit_code: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    internals: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[Row | None] = field(default_factory=list)
    received: list[Row] = field(default_factory=list)
    events: list[Row | None] = field(default_factory=list)
    output: list[str | None] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    created_at: str = field(default_factory=now)
    heartbeat_at: str = field(default_factory=now)
    heartbeat: float = field(default_factory=time.monotonic)

    @property
    def path(self) -> str:
        """`entity/project/name`."""
        return f"{self.entity}/{self.project}/{self.name}"

    @property
    def rows(self) -> list[Row]:
        """`history` without the gaps of rows that are still to come."""
        return [row for row in self.history if row is not None]

    @property
    def steps(self) -> list[int]:
        """The `_step` of every row as it came in: a step that was sent twice is there twice."""
        return [row["_step"] for row in self.received]


@dataclass
class File:
    """An entry of an artifact; `digest` is base64 of the MD5."""

    digest: str
    size: int


@dataclass
class Artifact:
    """One version. `asked` are the aliases it gets when it is committed; `manifest` is the id of its manifest."""

    id: str
    collection: str
    version: int
    type: str
    digest: str
    client_id: str
    state: Literal["PENDING", "COMMITTED"] = "PENDING"
    description: str | None = None
    metadata: str = "{}"
    tags: list[str] = field(default_factory=list)
    run: str | None = None
    history_step: int | None = None
    manifest: str | None = None
    files: dict[str, File] = field(default_factory=dict)
    aliases: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    created_at: str = field(default_factory=now)

    @property
    def path(self) -> str:
        """`entity/project/collection:v0`."""
        return f"{self.collection}:v{self.version}"


@dataclass
class Collection:
    """Versions under one name: a sequence that runs log to, or a portfolio (of a registry) that they are linked to."""

    id: str
    entity: str
    project: str
    name: str
    type: str
    portfolio: bool = False
    members: list[str] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    created_at: str = field(default_factory=now)

    @property
    def path(self) -> str:
        """`entity/project/name`."""
        return f"{self.entity}/{self.project}/{self.name}"

    def aliases_of(self, artifact: str) -> list[str]:
        """The aliases that point to an artifact, by its id."""
        return [alias for alias, target in self.aliases.items() if target == artifact]


@dataclass(frozen=True)
class State:
    """A copy of all that the server holds at a moment.

    runs: by path. artifacts: by path, with their aliases in their own collection. collections: by path, where
    `aliases` says which version each alias names: {"team/demo/model": {"latest": "team/demo/model:v1"}}.
    operations: how often each GraphQL operation, `filestream`, `GET storage` and `PUT storage` was asked for.
    unknown: GraphQL fields that a client asked for and the server does not know. errors: what went wrong in here.
    """

    runs: dict[str, Run]
    artifacts: dict[str, Artifact]
    collections: dict[str, dict[str, str]]
    operations: Counter[str]
    unknown: list[str]
    errors: list[str]
