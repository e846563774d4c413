"""Files of runs and artifacts: bytes under a key, and what GraphQL says of them."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from wandb_server.documents import Node
from wandb_server.records import Artifact, Run, now, opaque
from wandb_server.store import NotHere, Store


def run_file(run: Run, name: str) -> str:
    """The key of a run's file."""
    return f"run/{run.path}/{name}"


def content(digest: str) -> str:
    """The key of an artifact's file: its bytes are kept once, by their MD5 (base64)."""
    return f"content/{b64decode(digest).hex()}"


def manifest_file(manifest: str) -> str:
    """The key of a manifest, by its id."""
    return f"manifest/{manifest}"


def known_files(store: Store, run: Run, asked: Mapping[str, Any]) -> list[str]:
    """The uploaded files of a run that have the names, or fit the SQL pattern, that are asked for."""
    pattern = re.escape(asked.get("pattern") or "%").replace("%", ".*")
    wanted = asked.get("names") or run.files
    uploaded = [name for name in run.files if run_file(run, name) in store.blobs]
    return [name for name in uploaded if name in wanted and re.fullmatch(pattern, name)]


def file_node(store: Store, name: str, key: str, digest: str | None = None) -> Node:
    """A file with its addresses."""
    url = store.blob_url(key)
    return {
        "__typename": "File",
        "id": opaque("File", key),
        "name": name,
        "displayName": name,
        "url": url,
        "directUrl": url,
        "uploadUrl": url,
        "uploadHeaders": [],
        "storagePath": key,
        "sizeBytes": len(store.blobs.get(key, b"")),
        "mimetype": "application/octet-stream",
        "updatedAt": now(),
        "digest": digest,
        "md5": digest,
    }


def artifact_file(store: Store, artifact: Artifact, name: str) -> Node:
    """A file of an artifact."""
    digest = artifact.files[name].digest
    return file_node(store, name, content(digest), digest)


def download_key(path: str) -> str:
    """The key behind a path of HTTP: /storage/KEY, or /artifacts/.../MD5 and /artifactsV2/.../MD5/NAME.

    Raises NotHere.
    """
    if path.startswith("/storage/"):
        return path.removeprefix("/storage/")
    digests = [part for part in path.split("/") if re.fullmatch(r"[0-9a-f]{32}", part)]
    if not digests:
        raise NotHere(f"no digest in {path}")
    return f"content/{digests[-1]}"
