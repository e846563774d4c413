"""Runs: what clients tell about them, and how they are looked at."""

from __future__ import annotations

import json
from typing import Any

from wandb_server import history
from wandb_server.documents import Link, Node, page
from wandb_server.files import file_node, known_files, run_file
from wandb_server.filters import dig
from wandb_server.records import Alert, Run, opaque
from wandb_server.store import ENTITY, Store

INPUTS = {
    "displayName": "display_name",
    "tags": "tags",
    "groupName": "group",
    "jobType": "job_type",
    "notes": "notes",
    "state": "state",
    "host": "host",
    "program": "program",
    "jobProgram": "program",
}
"""Names in `upsertBucket` -> names of Run."""

FILTERS = {
    "displayName": "display_name",
    "jobType": "job_type",
    "createdAt": "created_at",
    "heartbeatAt": "heartbeat_at",
    "groupName": "group",
}
"""Names that filters may use beside those of Run."""


def upsert(store: Store, given: Node) -> Node:
    """`upsertBucket`: make a run, or change what is given of one."""
    run = _known(store, given)
    inserted = run is None
    if run is None:
        run = _made(store, given)
    for name, value in given.items():
        if name in INPUTS and value is not None:
            setattr(run, INPUTS[name], value)
    if given.get("config"):
        config = {name: value["value"] for name, value in json.loads(given["config"]).items()}
        run.internals = config.pop("_wandb", run.internals)
        run.config = config
    if given.get("summaryMetrics"):
        run.summary = json.loads(given["summaryMetrics"])
    return {"__typename": "UpsertBucketPayload", "bucket": Link.to("Run", run.path), "inserted": inserted}


def _known(store: Store, given: Node) -> Run | None:
    if given.get("id"):
        return next((run for run in store.runs.values() if run.id == given["id"]), None)
    path = f"{given.get('entityName') or ENTITY}/{given.get('modelName') or 'uncategorized'}/{given.get('name')}"
    return store.runs.get(path)


def _made(store: Store, given: Node) -> Run:
    number = next(store.numbers)
    entity, project = given.get("entityName") or ENTITY, given.get("modelName") or "uncategorized"
    name = given.get("name") or f"r{number:07d}"
    run = Run(opaque("Run", "v1", name, project, entity), entity, project, name, f"quiet-night-{number}", number)
    store.projects.add((entity, project))
    store.runs[run.path] = run
    return run


def alert(store: Store, given: Node) -> Node:
    """`notifyScriptableRunAlert`."""
    run = store.run(given["entityName"], given["projectName"], given["runName"])
    run.alerts.append(Alert(given["title"], given["text"], given.get("severity", "INFO")))
    return {"success": True}


def create_files(store: Store, given: Node) -> Node:
    """`createRunFiles`: addresses for the files of a run."""
    run = store.run(given["entityName"], given["projectName"], given["runName"])
    history.note_files(run, given["files"])
    files = [{"name": name, "uploadUrl": store.blob_url(run_file(run, name))} for name in given["files"]]
    return {"runID": run.id, "uploadHeaders": [], "files": files}


def mark_files(store: Store, given: Node) -> Node:
    """`markRunFilesUploaded`."""
    run = store.run(given["entityName"], given["projectName"], given["runName"])
    history.note_files(run, given["files"])
    return {"success": True}


def value_of(store: Store, run: Run, name: str) -> Any:
    """What filters and orders mean by a name: a field, `config.lr`, `config.lr.value` or `summary_metrics.roas`."""
    head, _, rest = name.partition(".")
    if head == "config":
        found = dig(run.config, rest)
        return dig(run.config, rest.removesuffix(".value")) if found is None else found
    if head in ("summary_metrics", "summaryMetrics"):
        return dig(run.summary, rest)
    if name == "state":
        return store.state_of(run)
    return getattr(run, FILTERS.get(name, name), None)


def view(store: Store, path: str) -> Node | None:
    """A run as GraphQL shows it."""
    run = store.runs.get(path)
    if run is None:
        return None
    return {
        **_facts(store, run),
        **history.view(run),
        "user": Link.to("User"),
        "project": Link.to("Project", run.entity, run.project),
        "fileCount": len(run.files),
        "files": lambda asked: page(known_files(store, run, asked), asked, lambda name: _file(store, run, name)),
        "outputArtifacts": lambda asked: page(run.logged, asked, lambda one: Link.to("Artifact", one)),
        "inputArtifacts": lambda asked: page(run.used, asked, lambda one: Link.to("Artifact", one)),
    }


def _file(store: Store, run: Run, name: str) -> Node:
    return file_node(store, name, run_file(run, name))


def _facts(store: Store, run: Run) -> Node:
    config = {name: {"value": value, "desc": None} for name, value in {**run.config, "_wandb": run.internals}.items()}
    never = ("commit", "description", "sweepName", "sweep", "repo")
    return {
        "__typename": "Run",
        **dict.fromkeys(never),
        "id": run.id,
        "projectId": "1",
        "name": run.name,
        "displayName": run.display_name,
        "state": store.state_of(run),
        "tags": run.tags,
        "group": run.group,
        "groupName": run.group,
        "jobType": run.job_type,
        "notes": run.notes,
        "host": run.host,
        "program": run.program,
        "config": json.dumps(config),
        "wandbConfig": lambda asked: json.dumps({k: run.internals[k] for k in asked["keys"] if k in run.internals}),
        "summaryMetrics": json.dumps(run.summary),
        "readOnly": False,
        "stopped": False,
        "shouldStop": False,
        "failed": run.state == "failed",
        "running": run.state == "running",
        "createdAt": run.created_at,
        "updatedAt": run.heartbeat_at,
        "heartbeatAt": run.heartbeat_at,
    }


MUTATIONS = {
    "upsertBucket": upsert,
    "notifyScriptableRunAlert": alert,
    "createRunFiles": create_files,
    "markRunFilesUploaded": mark_files,
}
