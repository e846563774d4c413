"""A W&B server, asked directly: whether it answers and takes the key, what it holds of a run, what an alias means.

A few GraphQL queries in bounded time, names included, which wandb's own calls do not promise. The queries on runs are
those with which wandb itself finds out whether a run can be resumed. The key is never shown, nor sent elsewhere.
"""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from gaelp_ray.errors import TrackingError
from gaelp_ray.tracking.account import configured_account

VIEWER = "query Viewer { viewer { id username entity } }"
RUN = """query RunState($project: String, $entity: String, $name: String!) {
    model(name: $project, entityName: $entity) {
        bucket(name: $name, missingOk: true) { state config summaryMetrics historyLineCount historyTail }
    }
}"""
ARTIFACT = "query ArtifactState($id: ID!) { artifact(id: $id) { state digest versionIndex } }"
NAMED = """query ArtifactNamed($entity: String!, $project: String!, $name: String!) {
    project(name: $project, entityName: $entity) {
        artifact(name: $name) {
            id versionIndex aliases { alias artifactCollection { name project { name entityName } } }
        }
    }
}"""
ASK_SECONDS, BUSY_SECONDS = 10.0, 60.0
REFUSED, TOO_MANY, IN_TROUBLE = (401, 403), 429, (500, 502, 503, 504)


class ServerBusy(TrackingError):
    """The server is there, but does not serve now: too many requests (`status` 429), or trouble of its own (5xx)."""

    def __init__(self, shown: str, status: int) -> None:
        self.status = status
        why = "too many requests" if status == TOO_MANY else "it is in trouble"
        super().__init__(f"{shown} does not serve now: {why} (HTTP {status})")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the key to another address."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True)
class HeldRun:
    """What a server holds of a run."""

    state: str  # running, finished, failed, crashed, killed
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    rows: int
    last_step: int  # -1 without rows


@dataclass(frozen=True)
class HeldArtifact:
    """What a server holds of one version of an artifact."""

    id: str
    version: str  # v0
    aliases: tuple[str, ...]  # in its own collection


@dataclass(frozen=True)
class Server:
    """The server at `url`, for whoever holds `key`."""

    url: str
    key: str = field(repr=False)

    @classmethod
    def configured(cls) -> Server:
        """The one that wandb would use. Raises TrackingError where no key is set, InputError for a wrong variable."""
        url, key = configured_account()
        if not key:
            raise TrackingError("no W&B key is set (WANDB_API_KEY or `wandb login`)")
        return cls(url, key)

    @property
    def shown(self) -> str:
        """The address without the user and password that it may hold."""
        parts = urllib.parse.urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    def probe(self, seconds: float, patience: float = 0.0) -> None:
        """Whether it answers and takes the key. Raises TrackingError where not, ServerBusy where it may be a moment."""
        if not self.ask(VIEWER, {}, seconds, patience).get("viewer"):
            raise TrackingError(f"{self.shown} does not know the W&B key")

    def run(self, project: str, entity: str | None, id: str) -> HeldRun | None:
        """What it holds of a run, None where it does not know it. Raises TrackingError."""
        found = self.ask(RUN, {"project": project, "entity": entity, "name": id}, ASK_SECONDS, BUSY_SECONDS)
        bucket = (found.get("model") or {}).get("bucket")
        if not bucket:
            return None
        config = json.loads(bucket["config"] or "{}")
        tail = json.loads(bucket["historyTail"] or "[]")
        return HeldRun(
            bucket["state"] or "",
            {name: entry["value"] for name, entry in config.items() if isinstance(entry, Mapping) and "value" in entry},
            json.loads(bucket["summaryMetrics"] or "{}"),
            int(bucket["historyLineCount"] or 0),
            int(json.loads(tail[-1])["_step"]) if tail else -1,
        )

    def committed(self, id: str, digest: str) -> str | None:
        """The version of an artifact, `v0`, where it is there as a whole; None where not. Raises TrackingError."""
        found = self.ask(ARTIFACT, {"id": id}, ASK_SECONDS, BUSY_SECONDS).get("artifact") or {}
        whole = found.get("state") == "COMMITTED" and found.get("digest") == digest
        return f"v{found['versionIndex']}" if whole else None

    def artifact(self, path: str, name: str) -> HeldArtifact | None:
        """The version that `name` (of an alias, `trip-best:best`) means now in `path`, ENTITY/PROJECT; None for none.

        Raises TrackingError.
        """
        entity, _, project = path.partition("/")
        asked = {"entity": entity, "project": project, "name": name}
        found = (self.ask(NAMED, asked, ASK_SECONDS).get("project") or {}).get("artifact")
        if not found:
            return None
        home = (name.partition(":")[0], project, entity)
        aliases = sorted(one["alias"] for one in found["aliases"] or () if _home(one["artifactCollection"]) == home)
        return HeldArtifact(found["id"], f"v{found['versionIndex']}", tuple(aliases))

    def ask(self, query: str, variables: Mapping[str, Any], seconds: float, patience: float = 0.0) -> dict[str, Any]:
        """The data of an answer, within `seconds`. Raises TrackingError in one line.

        A server that cannot serve now is asked again after what it asks for; one that has too many requests is there,
        and is waited for as long as `patience`, if that is longer.
        """
        body = json.dumps({"query": query, "variables": variables}).encode()
        started = time.monotonic()
        while True:
            attempt = _Attempt(self, body)
            try:
                return attempt.result(min(seconds, started + max(seconds, patience) - time.monotonic()))
            except ServerBusy as busy:
                within = max(seconds, patience) if busy.status == TOO_MANY else seconds
                if time.monotonic() + attempt.retry_after >= started + within:
                    raise
                time.sleep(attempt.retry_after)


class _Attempt:
    """One request, in a thread: a socket's timeout bounds neither the search for a name nor an answer in drops."""

    def __init__(self, server: Server, body: bytes) -> None:
        self._server, self._body = server, body
        self._answer: bytes | None = None
        self._error: Exception | None = None
        self.retry_after = 1.0

    def result(self, seconds: float) -> dict[str, Any]:
        thread = threading.Thread(target=self._send, args=(max(seconds, 0.1),), name="question to W&B", daemon=True)
        thread.start()
        thread.join(seconds)
        if self._error is not None:
            raise self._failure(self._error) from None
        if self._answer is None:
            raise TrackingError(f"{self._server.shown} does not answer (timed out)")
        return self._data(self._answer)

    def _send(self, seconds: float) -> None:
        server = self._server
        address = urllib.parse.urlsplit(server.url)
        plain = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
        headers = {
            "Authorization": "Basic " + base64.b64encode(f"api:{server.key}".encode()).decode(),
            "Content-Type": "application/json",
            "User-Agent": "gaelp_ray",
        }
        try:
            request = urllib.request.Request(f"{plain}/graphql", self._body, headers)
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=seconds) as answer:
                self._answer = answer.read()
        except (OSError, ValueError, HTTPException) as error:
            self._error = error

    def _failure(self, error: Exception) -> TrackingError:
        shown = self._server.shown
        if not isinstance(error, urllib.error.HTTPError):
            return TrackingError(f"{shown} does not answer ({getattr(error, 'reason', error)})")
        if error.code in REFUSED:
            return TrackingError(f"{shown} refuses the W&B key (HTTP {error.code})")
        if error.code in (TOO_MANY, *IN_TROUBLE):
            self.retry_after = _seconds(error.headers.get("Retry-After"))
            return ServerBusy(shown, error.code)
        return TrackingError(f"{shown} is no W&B server, or of another version (HTTP {error.code})")

    def _data(self, answer: bytes) -> dict[str, Any]:
        shown = self._server.shown
        try:
            content = json.loads(answer)
        except ValueError:
            content = None
        if not isinstance(content, dict) or not {"data", "errors"} & content.keys():
            raise TrackingError(f"{shown} is no W&B server: its answer is no GraphQL, perhaps that of a proxy")
        if not isinstance(content.get("data"), dict):
            raise TrackingError(f"{shown} did not answer the question: {_first_line(content.get('errors'))}")
        return dict(content["data"])


def _home(collection: Mapping[str, Any]) -> tuple[str, str, str]:
    return collection["name"], collection["project"]["name"], collection["project"]["entityName"]


def _seconds(retry_after: str | None) -> float:
    """The header as seconds; it may also be a date, which nobody sends here."""
    try:
        return max(float(retry_after or 1.0), 0.1)
    except ValueError:
        return 1.0


def _first_line(errors: Any) -> str:
    first = errors[0] if isinstance(errors, list) and errors else errors
    text = str(first.get("message", first) if isinstance(first, Mapping) else first).strip()
    return text.splitlines()[0][:200] if text else "no reason given"
