"""The memory behind the server: runs, artifacts, collections and the bytes of files, under one lock."""

from __future__ import annotations

import copy
import re
import threading
import time
from collections import Counter
from itertools import count
from urllib.parse import quote

from wandb_server.records import Artifact, Collection, Run, State, opaque

ENTITY = "team"
ORGANIZATION = f"{ENTITY}-org"


class Refused(Exception):
    """The server cannot do what a client asks for, and tells it so."""


class NotHere(Refused):
    """Asked for something that the server does not hold."""


class Store:
    """What clients have sent. Whoever calls a method holds `lock`."""

    def __init__(self, url: str, crashed_after: float) -> None:
        self.lock = threading.RLock()
        self.url = url
        self.crashed_after = crashed_after
        self.runs: dict[str, Run] = {}
        self.artifacts: dict[str, Artifact] = {}
        self.collections: dict[str, Collection] = {}
        self.projects: set[tuple[str, str]] = set()
        self.manifests: dict[str, str] = {}
        self.blobs: dict[str, bytes] = {}
        self.operations: Counter[str] = Counter()
        self.unknown: set[str] = set()
        self.errors: list[str] = []
        self.numbers = count(1)

    def blob_url(self, key: str) -> str:
        """Where a client puts and gets the bytes of a key."""
        return f"{self.url}/storage/{quote(key)}"

    def run(self, entity: str | None, project: str | None, name: str) -> Run:
        """Raises NotHere."""
        path = f"{entity or ENTITY}/{project or 'uncategorized'}/{name}"
        if path not in self.runs:
            raise NotHere(f"run {path} not found")
        return self.runs[path]

    def state_of(self, run: Run) -> str:
        """running, finished, failed, or crashed where no heartbeat came for long."""
        silent = time.monotonic() - run.heartbeat > self.crashed_after
        return "crashed" if run.state == "running" and silent else run.state

    def artifact(self, by_id: str | None) -> Artifact:
        """Raises NotHere."""
        if by_id not in self.artifacts:
            raise NotHere(f"artifact {by_id} not found")
        return self.artifacts[by_id]

    def collection(self, path: str, kind: str, portfolio: bool = False) -> Collection:
        """The collection `entity/project/name`, made where there is none."""
        if path not in self.collections:
            entity, project, name = path.split("/", 2)
            self.projects.add((entity, project))
            made = opaque("ArtifactCollection", next(self.numbers))
            self.collections[path] = Collection(made, entity, project, name, kind, portfolio)
        return self.collections[path]

    def version(self, collection: Collection, name: str) -> Artifact | None:
        """The committed artifact of an alias or of `v3`."""
        found = collection.aliases.get(name)
        if not found and re.fullmatch(r"v\d+", name) and int(name[1:]) < len(collection.members):
            found = collection.members[int(name[1:])]
        artifact = self.artifacts.get(found or "")
        return artifact if artifact and artifact.state == "COMMITTED" else None

    def snapshot(self) -> State:
        """A copy that later requests do not change."""
        runs = {path: copy.deepcopy(run) for path, run in self.runs.items()}
        for run in runs.values():
            run.state = self.state_of(run)
            run.logged, run.used = ([self.artifacts[one].path for one in ids] for ids in (run.logged, run.used))
        artifacts = {artifact.path: copy.deepcopy(artifact) for artifact in self.artifacts.values()}
        for artifact in artifacts.values():
            artifact.aliases = self.collections[artifact.collection].aliases_of(artifact.id)
        aliases = {
            path: {alias: self.artifacts[target].path for alias, target in collection.aliases.items()}
            for path, collection in self.collections.items()
        }
        return State(runs, artifacts, aliases, Counter(self.operations), sorted(self.unknown), list(self.errors))
