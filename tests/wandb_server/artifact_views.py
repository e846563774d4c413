"""Artifacts, collections and which version is which in them, as GraphQL shows them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from wandb_server.documents import Link, Node, page
from wandb_server.files import artifact_file, file_node, manifest_file
from wandb_server.filters import matches
from wandb_server.records import Artifact, Collection, now, opaque
from wandb_server.store import Store


def artifact(store: Store, by_id: str) -> Node | None:
    """A version."""
    found = store.artifacts.get(by_id)
    if found is None:
        return None
    homes = [collection for collection in store.collections.values() if by_id in collection.members]
    return {
        **_facts(found),
        "artifactSequence": Link.to("Collection", found.collection),
        "aliases": [_alias(home, name) for home in homes for name in home.aliases_of(by_id)],
        "artifactMemberships": lambda asked: page(homes, asked, lambda home: Link.to("Membership", home.path, by_id)),
        "currentManifest": _manifest(store, found),
        "createdBy": Link.to("Run", found.run) if found.run else None,
        "usedBy": lambda asked: page(
            [run for run in store.runs.values() if by_id in run.used], asked, lambda run: Link.to("Run", run.path)
        ),
        "files": lambda asked: _files(store, found, asked),
        "filesByManifestEntries": lambda asked: _files(
            store, found, {"names": [entry["name"] for entry in asked.get("entries") or []]}
        ),
    }


def _facts(found: Artifact) -> Node:
    return {
        "__typename": "Artifact",
        "id": found.id,
        "digest": found.digest,
        "digestAlgorithm": "MANIFEST_MD5",
        "commitHash": found.id,
        "state": found.state,
        "versionIndex": found.version,
        "description": found.description,
        "metadata": found.metadata,
        "size": sum(file.size for file in found.files.values()),
        "fileCount": len(found.files),
        "historyStep": found.history_step,
        "ttlDurationSeconds": -2,
        "ttlIsInherited": True,
        "tags": [{"__typename": "Tag", "id": opaque("Tag", tag), "name": tag} for tag in found.tags],
        "artifactType": {"__typename": "ArtifactType", "name": found.type},
        "createdAt": found.created_at,
        "updatedAt": found.created_at,
    }


def _manifest(store: Store, found: Artifact) -> Node | None:
    if not found.manifest:
        return None
    return {"id": found.manifest, "file": file_node(store, "wandb_manifest.json", manifest_file(found.manifest))}


def _files(store: Store, found: Artifact, asked: Mapping[str, Any]) -> Node:
    names = [name for name in sorted(found.files) if name in (asked.get("names") or found.files)]
    return page(names, asked, lambda name: artifact_file(store, found, name))


def _alias(home: Collection, name: str) -> Node:
    of = Link.to("Collection", home.path)
    return {
        "__typename": "ArtifactAlias",
        "id": opaque("ArtifactAlias", home.id, name),
        "alias": name,
        "artifactCollection": of,
    }


def membership(store: Store, path: str, by_id: str) -> Node | None:
    """A version as a member of one of its collections, which number and name it each in its own way."""
    home, found = store.collections[path], store.artifact(by_id)
    return {
        "__typename": "ArtifactCollectionMembership",
        "id": opaque("Membership", home.id, by_id),
        "versionIndex": home.members.index(by_id),
        "aliases": [_alias(home, name) for name in home.aliases_of(by_id)],
        "artifactCollection": Link.to("Collection", path),
        "artifact": Link.to("Artifact", by_id),
        "files": lambda asked: _files(store, found, asked),
        "createdAt": found.created_at,
    }


def collection(store: Store, path: str) -> Node | None:
    """The versions under a name, the newest first."""
    home = store.collections.get(path)
    if home is None:
        return None
    known = [store.artifacts[member] for member in reversed(home.members)]
    versions = [one for one in known if one.state == "COMMITTED"]
    return {
        "__typename": "ArtifactPortfolio" if home.portfolio else "ArtifactSequence",
        "id": home.id,
        "name": home.name,
        "description": None,
        "state": "READY",
        "digestAlgorithm": "MANIFEST_MD5",
        "createdAt": home.created_at,
        "updatedAt": home.created_at,
        "project": Link.to("Project", home.entity, home.project),
        "defaultArtifactType": {"__typename": "ArtifactType", "name": home.type},
        "tags": page([], {}, str),
        "aliases": lambda asked: page(home.aliases, asked, lambda name: _alias(home, name)),
        "artifacts": lambda asked: page(
            versions,
            asked,
            lambda one: Link.to("Artifact", one.id),
            version=lambda one: f"v{home.members.index(one.id)}",
        ),
        "latestArtifact": Link.to("Artifact", versions[0].id) if versions else None,
        "artifactMembership": lambda asked: _member(store, path, asked["aliasName"]),
    }


def _member(store: Store, path: str, name: str) -> Link | None:
    home = store.collections.get(path)
    found = store.version(home, name) if home else None
    return Link.to("Membership", path, found.id) if found else None


def in_project(store: Store, owner: str, project: str) -> Node:
    """The fields of a project that are about artifacts. Names are `model`, `model:v3` or `model:best`."""

    def named(asked: Mapping[str, Any]) -> Link | None:
        name, _, alias = asked["name"].partition(":")
        return _member(store, f"{owner}/{project}/{name}", alias or "latest")

    def version(asked: Mapping[str, Any]) -> Link | None:
        found = named(asked)
        return Link.to("Artifact", found.key[1]) if found else None

    def having(kind: str | None) -> Callable[[Mapping[str, Any]], Node]:
        return lambda asked: page(
            _collections(store, (owner, project), kind, asked), asked, lambda one: Link.to("Collection", one.path)
        )

    def type_node(kind: str) -> Node:
        return {
            "__typename": "ArtifactType",
            "id": opaque("ArtifactType", project, kind),
            "name": kind,
            "description": None,
            "createdAt": now(),
            "artifactCollections": having(kind),
            "artifactCollection": lambda asked: Link.to("Collection", f"{owner}/{project}/{asked['name']}"),
        }

    types = sorted({one.type for one in _collections(store, (owner, project), None, {})})
    return {
        "artifact": version,
        "artifactCollectionMembership": named,
        "artifactCollection": lambda asked: Link.to("Collection", f"{owner}/{project}/{asked['name']}"),
        "artifactCollections": having(None),
        "artifactType": lambda asked: type_node(asked["name"]) if asked["name"] in types else None,
        "artifactTypes": lambda asked: page(types, asked, type_node),
    }


def _collections(store: Store, home: tuple[str, str], kind: str | None, asked: Mapping[str, Any]) -> list[Collection]:
    filters = json.loads(asked.get("filters") or "{}")
    here = [one for one in store.collections.values() if (one.entity, one.project) == home]
    return [one for one in here if kind in (None, one.type) and matches(partial(_value, one), filters)]


def _value(one: Collection, name: str) -> Any:
    return getattr(one, name, None)
