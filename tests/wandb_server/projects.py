"""What documents begin at: the person who asks, entities, projects, what the server can do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from wandb_server import artifact_views
from wandb_server.documents import Link, Node, page
from wandb_server.filters import matches, ordered
from wandb_server.records import Run, now, opaque
from wandb_server.runs import value_of
from wandb_server.store import ENTITY, ORGANIZATION, Store

FEATURES = (
    "LARGE_FILENAMES",
    "ARTIFACT_TAGS",
    "CLIENT_IDS",
    "ARTIFACT_REGISTRY_SEARCH",
    "ARTIFACT_COLLECTION_MEMBERSHIP_FILES",
    "ARTIFACT_COLLECTION_MEMBERSHIP_FILE_DOWNLOAD_HANDLER",
    "USE_ARTIFACT_WITH_ENTITY_AND_PROJECT_INFORMATION",
    "PROJECT_ARTIFACT_COLLECTION_MEMBERSHIP",
    "ARTIFACT_MEMBERSHIP_IN_LINK_ARTIFACT_RESPONSE",
    "TOTAL_COUNT_IN_FILE_CONNECTION",
    "ARTIFACT_COLLECTIONS_FILTERING_SORTING",
    "MARK_RUN_FILES_UPLOADED",
    "ARTIFACT_V2_DOWNLOAD_HANDLER_SUPPORTS_ARTIFACT_ID",
    "FILESTREAM_GZIP",
)
REGISTRY = "wandb-registry-"


def query_root(store: Store) -> Node:
    """The fields that a query may begin with."""

    def project(asked: Mapping[str, Any]) -> Link:
        return Link.to("Project", asked.get("entityName") or ENTITY, asked["name"])

    def server_id(asked: Mapping[str, Any]) -> Node | None:
        ids = [{"serverID": one.id} for one in store.artifacts.values() if one.client_id == asked["clientID"]]
        return ids[0] if ids else None

    return {
        "__typename": "Query",
        "viewer": Link.to("User"),
        "project": project,
        "model": project,
        "entity": lambda asked: Link.to("Entity", asked.get("name") or ENTITY),
        "organization": Link.to("Organization"),
        "artifact": lambda asked: Link.to("Artifact", asked["id"]),
        "clientIDMapping": server_id,
        "serverInfo": {
            "__typename": "ServerInfo",
            "cliVersionInfo": {"max_cli_version": "9.9.9"},
            "latestLocalVersionInfo": None,
            "features": [{"name": feature, "isEnabled": True} for feature in FEATURES],
        },
    }


def user(_store: Store) -> Node:
    """The one person there is."""
    return {
        "__typename": "User",
        "id": opaque("User", 1),
        "name": ENTITY,
        "username": ENTITY,
        "email": f"{ENTITY}@example.invalid",
        "entity": ENTITY,
        "defaultEntity": Link.to("Entity", ENTITY),
        "flags": "{}",
        "admin": False,
        "deletedAt": None,
        "organizations": [Link.to("Organization")],
        "teams": page([ENTITY], {}, lambda name: Link.to("Entity", name)),
    }


def organization(_store: Store) -> Node:
    """What owns the registries."""
    return {
        "__typename": "Organization",
        "id": opaque("Organization", 1),
        "name": ORGANIZATION,
        "orgEntity": Link.to("Entity", ORGANIZATION),
        "featureFlags": [],
        "coreWeaveOrganizationId": None,
        "advancedRegistryFeatures": {"advancedSearch": False},
    }


def entity(_store: Store, name: str) -> Node:
    """A team, or the organization as an owner of projects."""
    return {
        "__typename": "Entity",
        "id": opaque("Entity", name),
        "name": name,
        "isTeam": True,
        "user": None,
        "entityType": "ORGANIZATION" if name == ORGANIZATION else "TEAM",
        "xxhashDigestsEnabled": False,
        "organization": Link.to("Organization"),
        "project": lambda asked: Link.to("Project", name, asked["name"]),
    }


def project(store: Store, owner: str, name: str) -> Node | None:
    """A project; None before anything was sent to it, unless it is a registry."""
    if (owner, name) not in store.projects and not name.startswith(REGISTRY):
        return None

    def run(asked: Mapping[str, Any]) -> Link:
        return Link.to("Run", f"{owner}/{name}/{asked['name']}")

    def runs(asked: Mapping[str, Any]) -> Node:
        found = ordered(_runs(store, owner, name, asked), asked.get("order") or "+created_at", partial(value_of, store))
        return page(found, asked, lambda run: Link.to("Run", run.path))

    return {
        "__typename": "Project",
        "id": opaque("Project", name, owner),
        "internalId": opaque("ProjectInternalId", 1),
        "name": name,
        "entityName": owner,
        "entity": Link.to("Entity", owner),
        "user": Link.to("User"),
        "createdAt": now(),
        "updatedAt": now(),
        "isBenchmark": False,
        "readOnly": False,
        "description": None,
        "access": "PRIVATE",
        "allowAllArtifactTypesInRegistry": True,
        "run": run,
        "bucket": run,
        "runs": runs,
        "runCount": lambda asked: len(_runs(store, owner, name, asked)),
        **artifact_views.in_project(store, owner, name),
    }


def _runs(store: Store, owner: str, name: str, asked: Mapping[str, Any]) -> list[Run]:
    filters = json.loads(asked.get("filters") or "{}")
    of_project = [run for run in store.runs.values() if (run.entity, run.project) == (owner, name)]
    return [run for run in of_project if matches(partial(value_of, store, run), filters)]


def upsert(store: Store, given: Node) -> Node:
    """`upsertModel`: make a project."""
    owner, name = given.get("entityName") or ENTITY, given["name"]
    store.projects.add((owner, name))
    link = Link.to("Project", owner, name)
    return {"project": link, "model": link, "inserted": True}


MUTATIONS = {"upsertModel": upsert}
