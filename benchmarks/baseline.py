"""The package at the commit that benchmarks compare with, and scripts that run with it or with the package as it is.

A script that is given SERVE calls serve(): it answers one request after the other in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import gaelp_ray

COMMIT = "51d7ebc"
SERVE = "serve"
REPOSITORY = Path(__file__).resolve().parent.parent


@contextmanager
def versions() -> Iterator[dict[str, Path]]:
    """{"baseline": folder of the package at COMMIT, "now": folder of the package as it is}.

    Ends the program with one line where the repository's history lacks the commit.
    """
    with tempfile.TemporaryDirectory() as scratch:
        archive, folder = Path(scratch) / "baseline.tar", Path(scratch) / "baseline"
        command = ["git", "archive", "--output", str(archive), COMMIT, "gaelp_ray"]
        made = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        if made.returncode:
            reason = made.stderr.strip().splitlines()[-1:] or ["git archive failed"]
            sys.exit(f"no baseline: {reason[0]}: run this in a clone with its whole history (git fetch --unshallow)")
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        yield {"baseline": folder, "now": Path(gaelp_ray.__file__).parent.parent}


class Server:
    """A script in a process with the package of `folder`; a context manager."""

    def __init__(self, script: str, folder: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        self._process = subprocess.Popen(
            [sys.executable, script, SERVE], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdin and self._process.stdout
        self._requests, self._answers = self._process.stdin, self._process.stdout
        used = Path(self._answer())
        assert used == folder.resolve(), f"{script} runs with {used}, not {folder}"

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._requests.close()
        self._process.wait()
        self._answers.close()

    def ask(self, request: Any) -> Any:
        """The script's answer."""
        print(json.dumps(request), file=self._requests, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        line = self._answers.readline()
        if not line:
            raise RuntimeError(f"{self._process.args} ended with {self._process.wait()}")
        return json.loads(line)


def serve(answer: Callable[[Any], Any]) -> None:
    """Answer requests from standard input, a line of JSON each, until it ends."""
    print(json.dumps(str(Path(gaelp_ray.__file__).resolve().parent.parent)), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
