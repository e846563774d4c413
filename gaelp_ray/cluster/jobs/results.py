"""What the head has packed of a sweep, brought into a folder here that nothing else is in. Start at Results."""

from __future__ import annotations

import json
import shlex
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gaelp_ray.cluster.jobs.driver import FOLDER
from gaelp_ray.cluster.jobs.head import Head
from gaelp_ray.cluster.jobs.link import Job
from gaelp_ray.cluster.ssh import FAILED, last_line
from gaelp_ray.errors import ClusterError, StorageError, describe

MARK = "submission.json"
"""In a folder of results: which job they are of."""

TRIES, PAUSE_SECONDS, SECONDS = 6, 5.0, 600.0


@dataclass(frozen=True)
class Results:
    """A folder here for one sweep's results."""

    folder: Path

    def require_free(self) -> None:
        """Raises StorageError unless the folder is yet to be made, is empty, or holds results from before."""
        folder = self.folder
        if not folder.exists() or (folder / MARK).is_file() or (folder.is_dir() and not any(folder.iterdir())):
            return
        raise StorageError(
            f"{folder} is there already, and holds no results of a submitted sweep: give another with -o"
        )

    def bring(self, head: Head, job: Job) -> list[str]:
        """Fetch a job's results in place of earlier ones; returns the names of what is there now.

        Raises ClusterError where there are none, or the head cannot be reached, StorageError where they cannot be kept.
        """
        self.require_free()
        with tempfile.TemporaryFile() as file:
            _copy(head, f"{FOLDER}/{job.id}.tar", file)
            return self.keep(file, job, head.file)

    def keep(self, file: IO[bytes], job: Job, cluster: str) -> list[str]:
        """Unpack a tar file of results, as bring() does; `cluster` is what a person calls where it is from."""
        try:
            return self._unpack(file, {"job": job.id, "cluster": cluster, **job.metadata})
        except OSError as error:
            raise StorageError(f"cannot keep the results in {self.folder}: {error.strerror or error}") from None
        except (tarfile.TarError, EOFError, ValueError, ArithmeticError) as error:  # of names and times that are none
            raise ClusterError(f"the results from {cluster} are damaged: {describe(error)}") from None

    def line(self, names: Sequence[str], job: Job) -> str:
        """For a person: what is here, and where the rest is."""
        whole = f"the whole sweep lies in {job.metadata.get('storage', 'its storage')}"
        return f"{self.folder}: {', '.join(names)}; {whole}"

    def _unpack(self, file: IO[bytes], facts: Mapping[str, str]) -> list[str]:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{self.folder.name}-", dir=self.folder.parent) as scratch:
            new = Path(scratch) / "new"
            new.mkdir()
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as archive:
                _extract(archive, new)
            names = sorted(f"{path.name}/" if path.is_dir() else path.name for path in new.iterdir())
            (new / MARK).write_text(json.dumps(facts, indent=2), encoding="utf-8")
            if self.folder.exists():
                self.folder.rename(Path(scratch) / "old")
            new.rename(self.folder)
        return names


def _extract(archive: tarfile.TarFile, folder: Path) -> None:
    """Nothing outside of the folder, no devices, no links out. Raises tarfile.TarError."""
    data_filter = getattr(tarfile, "data_filter", None)  # since Python 3.10.12 and 3.11.4
    if data_filter:
        archive.extraction_filter = data_filter
    else:
        for member in archive.getmembers():
            inside = (folder / member.name).resolve().is_relative_to(folder.resolve())
            if not inside or not (member.isfile() or member.isdir()):
                raise tarfile.ReadError(f"{member.name!r} is no file or folder of it")
    archive.extractall(folder)


def _copy(head: Head, name: str, file: IO[bytes]) -> None:
    """Copy a file of the head's; a connection that breaks is tried again for a while. Raises ClusterError."""
    folder, _, rest = name.partition("/")  # the shell there knows what ~ is, if it is not in quotes
    words = [*head.login.words(), head.address, f"cat {folder}/{shlex.quote(rest)}"]
    for number in range(TRIES):
        if number:
            time.sleep(PAUSE_SECONDS)
        file.seek(0)
        file.truncate()
        try:
            done = subprocess.run(words, stdout=file, stderr=subprocess.PIPE, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise ClusterError(f"{head.address}: {name} did not come within {SECONDS:.0f} s") from None
        if done.returncode == 0:
            return
        if done.returncode != FAILED:
            raise ClusterError(f"{head.address} has packed no results of this job ({name})")
    raise ClusterError(f"{head.address}: no ssh: {last_line(done.stderr.decode(errors='replace'))}")
