"""What the launcher sends: the sources of `file_mounts`, whose absence Ray notices as a traceback."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from gaelp_ray.cluster.file import ENV_FILE, PLACEHOLDER, TOKEN, WHEELS, ClusterFile, Finding

PREPARE = "run `gaelp-ray cluster prepare`, which makes it"
SECRET = re.compile(r"(\.env|auth_token|\.netrc|credentials|\.pem)$")
ASSIGNMENT = re.compile(r"\s*(#.*|(export\s+)?[A-Za-z_]\w*=.*)?")


def mount_findings(file: ClusterFile) -> Iterator[Finding]:
    """Sources that are missing, empty, or open to others."""
    for remote, local in file.mapping("file_mounts").items():
        path = ("file_mounts", remote)
        if not isinstance(local, str):
            yield Finding(path, f"{local!r} is no path", "write the path of a file or folder here")
        elif PLACEHOLDER not in local:
            if not remote.startswith(("/", "~/")):
                yield Finding(path, f"{remote} is no place on a node", "begin it with / or ~/")
            source = Path(local).expanduser()
            if not source.exists():
                yield Finding(path, f"{local} is not there", _remedy(file, local))
            else:
                yield from _source_findings(path, local, source)


def _remedy(file: ClusterFile, local: str) -> str:
    if local in (WHEELS, TOKEN, ENV_FILE):
        return PREPARE
    beside = Path(file.where).resolve().parent
    for folder in (beside, beside.parent):
        if not local.startswith(("/", "~")) and (folder / local).exists():
            return f"run this in {folder}: paths begin where the command runs"
    return "make it, or take the line out"


def _source_findings(path: tuple[str, str], local: str, source: Path) -> Iterator[Finding]:
    if not os.access(source, os.R_OK):
        yield Finding(path, f"{local} cannot be read", f"chmod u+r {local}")
        return
    if source.is_dir():
        if not any(source.iterdir()):
            yield Finding(path, f"the folder {local} is empty", PREPARE if local == WHEELS else "fill it")
        return
    if not SECRET.search(local):
        return
    mode = source.stat().st_mode & 0o777
    if mode & 0o077:
        yield Finding(path, f"{local} has mode {mode:04o}, so that others may read it", f"chmod 600 {local}")
    if local.endswith("auth_token") and not source.read_bytes().strip():
        yield Finding(path, f"{local} is empty", f"remove it, and {PREPARE}")
    if local.endswith(".env"):
        yield from _assignments(path, local, source)


def _assignments(path: tuple[str, str], local: str, source: Path) -> Iterator[Finding]:
    """The file is read by bash, which runs whatever is no assignment. What it says is never shown."""
    for number, line in enumerate(source.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not ASSIGNMENT.fullmatch(line):
            yield Finding(path, f"line {number} of {local} is no NAME=value, and bash would run it", "mend it")
