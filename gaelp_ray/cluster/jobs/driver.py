"""The job's process on the head: runs the command, and packs what a person wants to have of the sweep.

`python -m gaelp_ray.cluster.jobs.driver --job ID --sweep NAME --storage S [--commit C] -- COMMAND...`
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

from gaelp_ray.errors import GaelpError
from gaelp_ray.sweep.provenance import COMMIT
from gaelp_ray.sweep.store.folder import LEADERBOARD, PROVENANCE, SELECTION, SPEC
from gaelp_ray.sweep.store.opening import open_sweep

FOLDER = "~/.gaelp/jobs"
"""Of the head, with a tar file for each job: the only one that a person's machine reads there."""

PACKED = (LEADERBOARD, SELECTION, SPEC, PROVENANCE, "journal.jsonl", "best")
"""Whatever of it there is; so are reports."""

REFUSED = 2
"""The exit code of a command that has started nothing: what lies in the storage is another sweep's."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command that stands behind `--`, and return its exit code."""
    parser = argparse.ArgumentParser()
    for name in ("--job", "--sweep", "--storage"):
        parser.add_argument(name, required=True)
    parser.add_argument("--commit", default="")
    parser.add_argument("command", nargs="+")
    told = parser.parse_args(words)
    code = _run(told.command, told.commit)
    if code != REFUSED:
        try:
            pack(told.job, told.sweep, told.storage)
        except (GaelpError, OSError) as error:
            print(f"error: the results were not packed: {error}", file=sys.stderr)
    return code


def _run(command: Sequence[str], commit: str) -> int:
    """In a process of its own, whose end, however it comes, is not ours."""
    # To stop a job, Ray sends SIGTERM to all of its processes: the sweep takes it for Ctrl-C, and we go on.
    signal.signal(signal.SIGTERM, lambda *_: None)
    environment = {**os.environ, COMMIT: commit} if commit else None
    code = subprocess.run([sys.executable, "-m", "gaelp_ray", *command], env=environment, check=False).returncode
    if code >= 0:
        return code
    print(f"error: the sweep's process was ended by {signal.Signals(-code).name}", file=sys.stderr)
    return 128 - code


def pack(job: str, sweep: str, storage: str) -> None:
    """Write the job's tar file, readable by nobody else. Raises StorageError where there is no such sweep."""
    folder = open_sweep(storage, sweep, is_packed).path
    target = Path(FOLDER).expanduser() / f"{job}.tar"
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_suffix(".part")
    with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for path in sorted(folder.iterdir()):
                if is_packed(path.name):
                    archive.add(path, path.name, filter=_anonymous)
    scratch.replace(target)


def is_packed(name: str) -> bool:
    """Whether a file of the sweep's folder, by its path there, is among the results."""
    first = name.split("/", maxsplit=1)[0]
    return first in PACKED or first.startswith("report")


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    sys.exit(main())
