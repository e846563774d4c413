"""From a request to its answer, without sockets: who asks, what for, and which fault is in the way."""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from graphql import GraphQLError

from wandb_server import artifact_views, artifacts, history, projects, runs
from wandb_server.documents import Document, Node, Schema
from wandb_server.faults import Fault, Faults, Place
from wandb_server.files import download_key
from wandb_server.store import NotHere, Refused, Store

BYTES = "application/octet-stream"
STREAM = re.compile(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream")
NO_ACCESS = {"errors": [{"message": "user is not logged in", "extensions": {"code": "PERMISSION_ERROR"}}], "data": None}


@dataclass(frozen=True)
class Request:
    """What came in; names of headers are in small letters."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The target without query and escapes."""
        return unquote(urlsplit(self.target).path)


@dataclass(frozen=True)
class Response:
    """What goes out."""

    status: int = 200
    body: bytes = b""
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Logged:
    """A request in the log: when it came (seconds of time.monotonic), what for, and the answer's status, if any."""

    at: float
    where: Place
    operation: str
    status: int | None = None


def as_json(content: Any, status: int = 200, **headers: str) -> Response:
    """A response in JSON; underscores in the names of headers are hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, json.dumps(content).encode(), headers=named)


class Service:
    """Answers requests from a store; `key` is the only API key that it accepts."""

    def __init__(self, store: Store, key: str) -> None:
        self.store, self.key = store, key
        self.faults = Faults()
        self.log: list[Logged] = []
        self.schema = _schema(store)

    def answer(self, request: Request) -> Response | None:
        """The response; None is a connection that ends without one."""
        try:
            document, variables = _document(request)
        except GraphQLError as error:
            return as_json({"errors": [{"message": str(error)}]}, 400)
        where = _where(request.path)
        operation = document.name if document else _operation(request, where)
        logged = Logged(time.monotonic(), where, operation)
        with self.store.lock:
            self.store.operations[operation] += 1
            self.log.append(logged)
        response = self._served(request, logged, document, variables)
        logged.status = response.status if response else None
        return response

    def _served(
        self, request: Request, logged: Logged, document: Document | None, variables: Mapping[str, Any]
    ) -> Response | None:
        fault = self.faults.hit(logged.where, logged.operation)
        if fault and fault.kind in ("hang", "slow"):
            fault.wait()
        if fault and fault.kind != "slow":
            return _failure(fault)
        if _is_private(request.path) and not self._knows(request.headers.get("authorization", "")):
            return as_json(NO_ACCESS, 401)
        try:
            with self.store.lock:
                return self._resolved(document, variables) if document else self._other(request)
        except Refused as error:
            told = {"data": None, "errors": [{"message": str(error)}]}
            missing = isinstance(error, NotHere) and not document
            return as_json(told, 404 if missing else 200)

    def _knows(self, authorization: str) -> bool:
        kind, _, given = authorization.partition(" ")
        if kind == "Basic":
            try:
                given = base64.b64decode(given).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return False
        return given == self.key

    def _resolved(self, document: Document, variables: Mapping[str, Any]) -> Response:
        return as_json({"data": document.answer(self.schema, variables)})

    def _other(self, request: Request) -> Response:
        if request.path == "/":
            return Response(body=b"a stand-in for W&B", kind="text/plain")
        stream = STREAM.fullmatch(request.path)
        if stream:
            return as_json(history.receive(self.store.run(*stream.groups()), json.loads(_plain(request))))
        key = download_key(request.path)
        return _stored(self.store, key, request) if request.method == "PUT" else _fetched(self.store, key, request)


def _schema(store: Store) -> Schema:
    changes = {**runs.MUTATIONS, **projects.MUTATIONS, **artifacts.MUTATIONS}
    mutation = {name: partial(_changed, store, change) for name, change in changes.items()}
    kinds: dict[str, Callable[..., Node | None]] = {
        "Run": runs.view,
        "Artifact": artifact_views.artifact,
        "Membership": artifact_views.membership,
        "Collection": artifact_views.collection,
        "Project": projects.project,
        "User": projects.user,
        "Entity": projects.entity,
        "Organization": projects.organization,
    }
    roots = {"query": projects.query_root(store), "mutation": {"__typename": "Mutation", **mutation}}
    return Schema(roots, {kind: partial(view, store) for kind, view in kinds.items()}, store.unknown)


def _changed(store: Store, change: Callable[[Store, Node], Node], asked: Node) -> Node:
    return change(store, asked.get("input", asked))


def _where(path: str) -> Place:
    if path == "/graphql":
        return "graphql"
    if STREAM.fullmatch(path):
        return "filestream"
    return "storage" if path.startswith(("/storage/", "/artifacts")) else "other"


def _operation(request: Request, where: Place) -> str:
    return where if where == "filestream" else f"{request.method} {where}"


def _is_private(path: str) -> bool:
    """Whether a key is needed: addresses of storage are their own secret."""
    return _where(path) in ("graphql", "filestream")


def _document(request: Request) -> tuple[Document | None, Mapping[str, Any]]:
    if request.path != "/graphql":
        return None, {}
    asked = json.loads(_plain(request))
    return Document.parse(asked["query"]), asked.get("variables") or {}


def _plain(request: Request) -> bytes:
    return gzip.decompress(request.body) if request.headers.get("content-encoding") == "gzip" else request.body


def _failure(fault: Fault) -> Response | None:
    if fault.kind != "status":
        return None
    told = {"errors": [{"message": f"injected {fault.status}"}]}
    after = {} if fault.retry_after is None else {"Retry_After": f"{fault.retry_after:g}"}
    return as_json(told, fault.status, **after)


def _stored(store: Store, key: str, request: Request) -> Response:
    digest = hashlib.md5(request.body, usedforsecurity=False).digest()
    announced = request.headers.get("content-md5")
    if announced and base64.b64decode(announced) != digest:
        return as_json({"error": "the body does not have its Content-MD5"}, 400)
    store.blobs[key] = request.body
    return Response(headers={"ETag": digest.hex()})


def _fetched(store: Store, key: str, request: Request) -> Response:
    if key not in store.blobs:
        raise NotHere(f"nothing is stored as {key}")
    body = store.blobs[key]
    span = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if span:
        return Response(206, body[int(span[1]) : int(span[2] or len(body)) + 1], BYTES)
    return Response(body=body, kind=BYTES)
