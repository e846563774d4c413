"""A file of Ray's cluster launcher as somebody wrote it, with the line of everything in it, and nothing filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaelp_ray.errors import ClusterFileError, SweepFileError
from gaelp_ray.sweep.format.document import Document, KeyPath, read_document

PLACEHOLDER = "CHANGE-ME"
"""What our own files say where only their reader knows."""

TOKEN = "~/.ray/auth_token"
"""Where Ray looks for its token, here and on every node."""

ENV_FILE = "~/.gaelp.env"
"""What is secret, such as WANDB_API_KEY: lines of NAME=value, mode 0600, here and on every node."""

WHEELS = "dist/cluster"
"""Where `gaelp-ray cluster prepare` puts what nodes install from, in the repository."""

COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)

KUBERNETES = re.compile(r"^kind:\s*[\"']?(\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Finding:
    """One thing about a key, and what to do; a warning does not keep the cluster from coming up."""

    path: KeyPath
    what: str
    remedy: str
    warning: bool = False
    line: int | None = None  # where it is known better than from the path


@dataclass(frozen=True)
class ClusterFile:
    """The file. Whatever has another type than it should have is not there for whoever asks."""

    document: Document
    text: str

    @property
    def where(self) -> str:
        """The path, as it was given."""
        return self.document.where

    @property
    def provider(self) -> str:
        """Ray's word for who has the machines: local, aws, gcp, ..."""
        return self.string("provider", "type")

    @property
    def hosts(self) -> tuple[str, tuple[str, ...]]:
        """Addresses of the head and of the workers, of provider local; those never edited are left out."""
        head, *workers = (
            "" if PLACEHOLDER in address else address
            for address in (self.string("provider", "head_ip"), *self.strings("provider", "worker_ips"))
        )
        return head, tuple(filter(None, workers))

    @property
    def node_types(self) -> Mapping[str, Mapping[str, Any]]:
        """`available_node_types` that are mappings."""
        types = self.mapping("available_node_types")
        return {name: about for name, about in types.items() if isinstance(about, dict)}

    def get(self, *path: str | int) -> Any:
        """What stands at a path; None where nothing does."""
        value: Any = self.document.data
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def mapping(self, *path: str) -> Mapping[str, Any]:
        """The mapping at a path; empty where there is none."""
        value = self.get(*path)
        return value if isinstance(value, dict) else {}

    def string(self, *path: str) -> str:
        """The text at a path; empty where there is none."""
        value = self.get(*path)
        return value if isinstance(value, str) else ""

    def strings(self, *path: str) -> list[str]:
        """The texts of the list at a path."""
        value = self.get(*path)
        return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []

    def number(self, *path: str) -> int | None:
        """The whole number at a path."""
        value = self.get(*path)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def commands(self, *keys: str) -> Iterator[tuple[KeyPath, str]]:
        """Shell commands below these keys, at the top and in node types, each with its path."""
        holders: list[KeyPath] = [(), *(("available_node_types", name) for name in self.node_types)]
        for holder in holders:
            for key in keys:
                written = self.get(*holder, key)
                for number, command in enumerate(written if isinstance(written, list) else ()):
                    if isinstance(command, str):
                        yield (*holder, key, number), command

    def place(self, finding: Finding) -> tuple[int, int]:
        """Line and column, from 1: of the key, or of the innermost one around it that was written."""
        if finding.line is not None:
            return finding.line, 1
        path = finding.path
        while path not in self.document.marks:
            path = path[:-1]
        return self.document.marks[path]


def read_cluster_file(path: Path) -> ClusterFile:
    """Read a launcher file. Raises ClusterFileError where it is none: no YAML, or a manifest of Kubernetes."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""  # read_document() says why
    kind = KUBERNETES.search(text)
    if kind and re.search(r"^apiVersion:", text, re.MULTILINE):
        what = f"a Kubernetes manifest ({kind[1]}), which KubeRay reads and Ray's launcher does not"
        raise ClusterFileError([f"{path}: {what}. Check it with `kubectl apply --dry-run=server -f {path}`"])
    try:
        document = read_document(path, "cluster file", "cluster_name, provider, auth, ...", variables=False)
    except SweepFileError as error:
        raise ClusterFileError(error.problems) from None
    if not {"provider", "cluster_name"} & document.data.keys():
        what = "no file of Ray's cluster launcher: it has neither a provider nor a cluster_name"
        raise ClusterFileError([f"{path}:1:1: {what}. Our cluster.yaml is a start"])
    return ClusterFile(document, text)
