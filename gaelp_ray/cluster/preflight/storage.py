"""Whether all nodes can see the storage that a sweep is to have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gaelp_ray.cluster.file import ENV_FILE, ClusterFile, Finding

IS_SHARED = "use a folder that all nodes have mounted at the same place, or s3://bucket/prefix"


def storage_findings(file: ClusterFile, storage: str | None) -> Iterator[Finding]:
    """What `storage`, a folder or an s3:// address, lacks on this cluster; nothing where none is asked about."""
    if storage is None:
        return
    if storage.startswith("s3:"):
        yield from _s3_findings(file)
        return
    what = f"--storage {storage}: "
    if file.provider == "local" and file.get("provider", "worker_ips") == []:
        return
    if not Path(storage).is_absolute():
        yield Finding((), f"{what}every node would take it for a folder of its own", IS_SHARED)
    elif file.provider == "local":
        remedy = "make sure that it is one shared folder: --ssh tries it"
        yield Finding((), f"{what}all nodes must see the same files there", remedy, warning=True)
    elif "mount" not in " ".join(text for _, text in file.commands("initialization_commands", "setup_commands")):
        yield Finding((), f"{what}no two machines of a cloud share a folder unless a command mounts one", IS_SHARED)


def _s3_findings(file: ClusterFile) -> Iterator[Finding]:
    """Who gives the nodes the right to write there."""
    if file.provider == "aws":
        head = file.string("head_node_type")
        for name in file.node_types:
            path = ("available_node_types", name, "node_config")
            if name != head and "IamInstanceProfile" not in file.mapping(*path):
                what = "these workers have no rights in S3: Ray gives a profile to the head only"
                yield Finding(
                    path, what, "add IamInstanceProfile: {Name: ...}, with a role that may write to the bucket"
                )
    elif not any("AWS_ACCESS_KEY_ID" in text for text in _env_files(file)) and not _sends_credentials(file):
        what = "nothing that is sent to the nodes gives them rights in S3"
        remedy = f"write AWS_ACCESS_KEY_ID=... and AWS_SECRET_ACCESS_KEY=... to {ENV_FILE}, if they have none"
        yield Finding((), what, remedy, warning=True)


def _env_files(file: ClusterFile) -> Iterator[str]:
    for local in file.mapping("file_mounts").values():
        source = Path(local).expanduser() if isinstance(local, str) and local.endswith(".env") else None
        if source and source.is_file():
            yield source.read_text(encoding="utf-8", errors="replace")


def _sends_credentials(file: ClusterFile) -> bool:
    return any("/.aws" in remote for remote in file.mapping("file_mounts"))
