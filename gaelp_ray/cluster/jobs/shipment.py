"""What a job's nodes get of the working directory: files by their paths from it. Start at shipment()."""

from __future__ import annotations

import os
import subprocess
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from gaelp_ray.errors import InputError

OURS = "submitted"
"""Where results are brought to, and no part of what is sent."""

NEVER = frozenset({".git", ".venv", "venv", "__pycache__", "dist", "build", "wandb", "results", OURS, "node_modules"})
"""Folders that are left out where no git says what belongs to the project; so are *.egg-info."""

SECRETS = (
    *(".env*", "*.env", "*.pem", "*.key", ".netrc", "auth_token", "credentials*", ".ssh", ".aws"),
    *("id_rsa*", "id_ed25519*", "id_ecdsa*", "id_dsa*"),
)
"""Names of files and folders that are never sent: a job's files are open to whoever may use the cluster."""

LARGEST_MB = 100.0
EPOCH = (1980, 1, 1, 0, 0, 0)
"""A zip file's first day: what has not changed is not sent twice."""


@dataclass(frozen=True)
class Shipment:
    """Files to send, by their paths there; and paths that were left out, because of their names or as links."""

    files: Mapping[str, Path]
    left_out: tuple[str, ...]

    def pack(self, target: Path, instead: Mapping[str, str]) -> None:
        """Write the zip file that Ray unpacks on each node; `instead` has other texts for some of the files."""
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, path in sorted(self.files.items()):
                entry = zipfile.ZipInfo(name, EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = (path.stat().st_mode & 0o755 | 0o600) << 16
                archive.writestr(entry, instead[name] if name in instead else path.read_bytes())


def shipment(root: Path) -> Shipment:
    """All of a working directory that belongs to it, but for secrets. Raises InputError for one that is too large."""
    if root in (Path.home().resolve(), Path(root.anchor)):
        raise InputError(f"{root} would be sent as a whole: run this in the folder of your project")
    files: dict[str, Path] = {}
    left_out = []
    for name in _of_git(root) if _is_in_git(root) else _found(root):
        path = root / name
        if is_secret(name) or not path.resolve().is_relative_to(root) or path.is_dir():
            left_out.append(name)
        elif path.is_file():  # git also lists what was removed
            files[name] = path
    _require_small(root, files)
    return Shipment(files, tuple(sorted(left_out)))


def is_secret(name: str) -> bool:
    """Whether a path looks like that of a secret."""
    return any(fnmatch(part, pattern) for part in PurePosixPath(name).parts for pattern in SECRETS)


def _is_in_git(root: Path) -> bool:
    try:
        return _git(root, "rev-parse", "--is-inside-work-tree").strip() == "true"
    except (OSError, subprocess.CalledProcessError):
        return False


def _of_git(root: Path) -> Iterator[str]:
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    yield from (name for name in dict.fromkeys(listed.split("\0")) if name and not name.startswith(f"{OURS}/"))


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True).stdout


def _found(root: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(each for each in folders if each not in NEVER and not each.endswith(".egg-info"))
        links = [each for each in folders if (Path(folder) / each).is_symlink()]
        yield from ((Path(folder) / name).relative_to(root).as_posix() for name in [*names, *links])


def _require_small(root: Path, files: Mapping[str, Path]) -> None:
    sizes: Counter[str] = Counter()
    for name, path in files.items():
        sizes[name.split("/")[0]] += path.stat().st_size
    total = sizes.total() / 1e6
    if total > LARGEST_MB:
        largest = ", ".join(f"{name} ({size / 1e6:.0f} MB)" for name, size in sizes.most_common(3))
        raise InputError(
            f"{root} has {total:.0f} MB, and at most {LARGEST_MB:.0f} are sent: {largest}. "
            "Move that elsewhere, or add it to .gitignore"
        )
