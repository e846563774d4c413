"""Artifacts as clients make them: created, filled, committed; then used, linked, and given aliases."""

from __future__ import annotations

import json

from wandb_server.documents import Link, Node, page
from wandb_server.files import content, file_node, manifest_file
from wandb_server.records import Artifact, Collection, File, Run, opaque
from wandb_server.store import ENTITY, ORGANIZATION, Refused, Store

LATEST = "latest"


def create(store: Store, given: Node) -> Node:
    """`createArtifact`: a new version, or the committed one of the same digest."""
    name = given.get("artifactCollectionName") or given["artifactCollectionNames"][0]
    kind = given["artifactTypeName"]
    owner = given.get("entityName") or ENTITY  # `wandb sync` sends an empty one
    collection = store.collection(f"{owner}/{given['projectName']}/{name}", kind)
    if collection.type != kind:
        raise Refused(f"{collection.path} has type {collection.type}, not {kind}")
    before = collection.aliases.get(LATEST)
    artifact = _same(store, collection, given) or _made(store, collection, given)
    artifact.asked = [alias["alias"] for alias in given.get("aliases") or []]
    artifact.client_id = given.get("clientID") or artifact.client_id
    if given.get("runName"):
        run = store.run(given["entityName"], given["projectName"], given["runName"])
        artifact.run = artifact.run or run.path
        run.logged += [artifact.id] if artifact.id not in run.logged else []
    if artifact.state == "COMMITTED":
        _settle(store, artifact)
    latest = {"id": collection.id, "latestArtifact": Link.to("Artifact", before) if before else None}
    told = {"id": artifact.id, "state": artifact.state, "artifactSequence": latest}
    return {"__typename": "CreateArtifactPayload", "artifact": told}


def _same(store: Store, collection: Collection, given: Node) -> Artifact | None:
    if not given.get("enableDigestDeduplication"):
        return None
    versions = [store.artifacts[member] for member in collection.members]
    committed = [one for one in versions if one.digest == given["digest"] and one.state == "COMMITTED"]
    return committed[0] if committed else None


def _made(store: Store, collection: Collection, given: Node) -> Artifact:
    made = Artifact(
        id=opaque("Artifact", next(store.numbers)),
        collection=collection.path,
        version=len(collection.members),
        type=collection.type,
        digest=given["digest"],
        client_id=given.get("clientID") or "",
        description=given.get("description"),
        metadata=given.get("metadata") or "{}",
        tags=[tag["tagName"] for tag in given.get("tags") or []],
        history_step=given.get("historyStep"),
    )
    store.artifacts[made.id] = made
    collection.members.append(made.id)
    return made


def _settle(store: Store, artifact: Artifact) -> None:
    collection = store.collections[artifact.collection]
    # An alias names one version: it moves.
    collection.aliases.update(dict.fromkeys([*artifact.asked, LATEST], artifact.id))
    artifact.asked = []


def create_manifest(store: Store, given: Node) -> Node:
    """`createArtifactManifest`."""
    manifest = opaque("ArtifactManifest", next(store.numbers))
    store.manifests[manifest] = given["artifactID"]
    return _placed(store, manifest)


def update_manifest(store: Store, given: Node) -> Node:
    """`updateArtifactManifest`."""
    return _placed(store, given["artifactManifestID"])


def _placed(store: Store, manifest: str) -> Node:
    store.artifact(store.manifests[manifest]).manifest = manifest
    file = file_node(store, "wandb_manifest.json", manifest_file(manifest))
    return {"artifactManifest": {"id": manifest, "file": file}}


def create_files(store: Store, given: Node) -> Node:
    """`createArtifactFiles`: where to put each file; nowhere, if its bytes are here already."""

    def place(asked: Node) -> Node:
        key = content(asked["md5"])
        return {
            **file_node(store, asked["name"], key),
            "uploadUrl": None if key in store.blobs else store.blob_url(key),
            "uploadHeaders": [f"Content-MD5:{asked['md5']}", "Content-Type:application/octet-stream"],
            "uploadMultipartUrls": None,
            "artifact": {"id": asked["artifactID"]},
        }

    return {"files": page(given["artifactFiles"], {}, place)}


def commit(store: Store, given: Node) -> Node:
    """`commitArtifact`. Raises Refused where files are missing."""
    artifact = store.artifact(given["artifactID"])
    manifest = store.blobs.get(manifest_file(artifact.manifest or ""))
    if manifest is None:
        raise Refused(f"{artifact.path} has no manifest")
    entries = json.loads(manifest)["contents"]
    lost = [name for name, entry in entries.items() if content(entry["digest"]) not in store.blobs]
    if lost:
        raise Refused(f"files of {artifact.path} were not uploaded: {', '.join(lost)}")
    artifact.files = {name: File(entry["digest"], entry["size"]) for name, entry in entries.items()}
    artifact.state = "COMMITTED"
    _settle(store, artifact)
    return {"artifact": Link.to("Artifact", artifact.id)}


def update(store: Store, given: Node) -> Node:
    """`updateArtifact`: description, metadata, tags."""
    artifact = store.artifact(given["artifactID"])
    artifact.metadata = given.get("metadata") or artifact.metadata
    artifact.description = given.get("description") or artifact.description
    gone = [tag["tagName"] for tag in given.get("tagsToDelete") or []]
    new = [tag["tagName"] for tag in given.get("tagsToAdd") or []]
    artifact.tags = [tag for tag in dict.fromkeys([*artifact.tags, *new]) if tag not in gone]
    return {"artifact": Link.to("Artifact", artifact.id)}


def add_aliases(store: Store, given: Node) -> Node:
    """`addAliases`."""
    for asked in given["aliases"]:
        _asked_collection(store, asked).aliases[asked["alias"]] = store.artifact(given["artifactID"]).id
    return {"success": True}


def delete_aliases(store: Store, given: Node) -> Node:
    """`deleteAliases`: only those that name this artifact."""
    for asked in given["aliases"]:
        aliases = _asked_collection(store, asked).aliases
        if aliases.get(asked["alias"]) == given["artifactID"]:
            del aliases[asked["alias"]]
    return {"success": True}


def _asked_collection(store: Store, asked: Node) -> Collection:
    return store.collections[f"{asked['entityName']}/{asked['projectName']}/{asked['artifactCollectionName']}"]


def use(store: Store, given: Node) -> Node:
    """`useArtifact`: a run says that it reads a version."""
    run: Run = store.run(given["entityName"], given["projectName"], given["runName"])
    artifact = store.artifact(given["artifactID"])
    run.used += [artifact.id] if artifact.id not in run.used else []
    return {"artifact": Link.to("Artifact", artifact.id)}


def link(store: Store, given: Node) -> Node:
    """`linkArtifact`: a version becomes the next one of a portfolio, such as a registry's."""
    artifact = store.artifact(given.get("artifactID") or _by_client(store, given["clientID"]))
    owner = ORGANIZATION if given["projectName"].startswith("wandb-registry-") else given["entityName"]
    path = f"{owner}/{given['projectName']}/{given['artifactPortfolioName']}"
    portfolio = store.collection(path, artifact.type, portfolio=True)
    if artifact.id not in portfolio.members:
        portfolio.members.append(artifact.id)
    asked = [alias["alias"] for alias in given.get("aliases") or []]
    portfolio.aliases.update(dict.fromkeys([*asked, LATEST], artifact.id))
    membership = Link.to("Membership", portfolio.path, artifact.id)
    return {"versionIndex": portfolio.members.index(artifact.id), "artifactMembership": membership}


def _by_client(store: Store, client_id: str) -> str | None:
    return next((artifact.id for artifact in store.artifacts.values() if artifact.client_id == client_id), None)


MUTATIONS = {
    "createArtifact": create,
    "createArtifactManifest": create_manifest,
    "updateArtifactManifest": update_manifest,
    "createArtifactFiles": create_files,
    "commitArtifact": commit,
    "updateArtifact": update,
    "addAliases": add_aliases,
    "deleteAliases": delete_aliases,
    "useArtifact": use,
    "linkArtifact": link,
}
