"""A head that is far away, played at the outermost edge: an `ssh` on PATH that runs commands in a home of its own, and
a job server over HTTP that answers as Ray's does. It runs the real entry line in the files that it was sent; what is
not there is Ray. The real thing, `ray up` on several machines and real jobs, is what tests/cluster/live does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

TOKEN = "c0ffee"

SWEEP = {
    "name": "small",
    "method": "random",
    "run_cap": 2,
    "parameters": {"learning_rate": {"min": 1.0e-4, "max": 1.0e-3}},
    "trial": {"market": "airfrance-search", "num_episodes": 64, "batch_size": 64},
}

SSH = """\
#!{python} -SE
import os, socket, subprocess, sys, threading, time
folder, words = {folder!r}, sys.argv[1:]
with open(folder + "/asked", "a") as asked:
    print(*words, file=asked)
address = words[-2]
if os.path.exists(f"{{folder}}/away") or os.path.exists(f"{{folder}}/{{address}}.away"):
    sys.exit(print(f"ssh: connect to host {{address}} port 22: Connection refused", file=sys.stderr) or 255)
if "-L" not in words:
    home = f"{{folder}}/{{address}}"
    os.makedirs(home, exist_ok=True)
    sys.exit(subprocess.run(["bash", "-c", words[-1]], env={{**os.environ, "HOME": home}}, cwd=home).returncode)
_, port, _, target = words[words.index("-L") + 1].split(":")
def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
def serve():
    listening = socket.create_server(("127.0.0.1", int(port)))
    while True:
        here, _ = listening.accept()
        try:
            there = socket.create_connection(("127.0.0.1", int(target)))
        except OSError:
            here.close()
            continue
        for ends in ((here, there), (there, here)):
            threading.Thread(target=pump, args=ends, daemon=True).start()
def cut():
    while not os.path.exists(f"{{folder}}/away"):
        time.sleep(0.02)
    os._exit(255)
for work in (serve, cut):
    threading.Thread(target=work, daemon=True).start()
sys.stdin.buffer.read()
"""


class FarHead:
    """The head: `folder` has the homes of machines by their addresses, and what was asked of ssh."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.home = folder, folder / address
        self.jobs: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, str] = {}
        self.packages: dict[str, bytes] = {}
        self.runs = True  # whether a job's entry line is run, or the test says how it goes on
        self.fails = 0  # so many next requests are answered with 500
        self.looks = 0  # at what jobs have said
        (folder / "bin").mkdir(parents=True)
        (folder / "bin/ssh").write_text(SSH.format(python=sys.executable, folder=str(folder)), encoding="utf-8")
        (folder / "bin/ssh").chmod(0o755)
        python = self.home / ".gaelp/venv/bin/python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
        python.chmod(0o755)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def asked(self) -> list[str]:
        """Command lines of ssh."""
        asked = self.folder / "asked"
        return asked.read_text(encoding="utf-8").splitlines() if asked.exists() else []

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def away(self, is_away: bool = True) -> None:
        """No machine is reached any more, and tunnels break."""
        (self.folder / "away").touch() if is_away else (self.folder / "away").unlink()

    def sent(self, job: str) -> dict[str, str]:
        """The files that a job was sent."""
        with zipfile.ZipFile(BytesIO(self.packages[self.jobs[job]["runtime_env"]["working_dir"]])) as archive:
            return {name: archive.read(name).decode() for name in archive.namelist()}

    def add(self, job: str, sweep: str, **about: Any) -> None:
        """A job that somebody has submitted."""
        metadata = {"sweep": sweep, "storage": "s3://b/x", "file": f"{sweep}.yaml"}
        told = {"entrypoint": "", "status": "RUNNING", "start_time": len(self.jobs) + 1, "metadata": metadata}
        self.jobs[job] = {"type": "SUBMISSION", "submission_id": job, **told, **about}
        self.logs.setdefault(job, "")

    def start(self, request: dict[str, Any]) -> None:
        job = request["submission_id"]
        about = {key: request[key] for key in ("entrypoint", "metadata", "runtime_env")}
        self.add(job, "", **about)
        if self.runs:
            threading.Thread(target=self._run, args=(job,), daemon=True).start()

    def _run(self, job: str) -> None:
        here = self.folder / "unpacked" / job
        for name, text in self.sent(job).items():
            (here / name).parent.mkdir(parents=True, exist_ok=True)
            (here / name).write_text(text, encoding="utf-8")
        environment = {**os.environ, "HOME": str(self.home), **self.jobs[job]["runtime_env"]["env_vars"]}
        done = subprocess.run(
            ["sh", "-c", self.jobs[job]["entrypoint"]],
            cwd=here,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.logs[job] += done.stdout
        self.end(job, done.returncode)

    def end(self, job: str, code: int) -> None:
        status = "SUCCEEDED" if code == 0 else "FAILED"
        self.jobs[job] = {**self.jobs[job], "driver_exit_code": code, "status": status}

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Status and content of what Ray's job server says."""
        if self.fails:
            self.fails -= 1
            return 500, "Traceback ...\nRuntimeError: the agent is away"
        words = path.strip("/").split("/")[1:]
        if words == ["version"]:
            return 200, {"version": "4", "ray_version": "2.60.0"}
        if words[0] == "packages":
            return self._package(method, "://".join(words[1:]), body)
        if len(words) == 1:
            return self._all(method, body)
        return self._one(words[1], words[2:])

    def _package(self, method: str, uri: str, body: bytes) -> tuple[int, Any]:
        if method == "PUT":
            self.packages[uri] = body
        return (200, {}) if uri in self.packages else (404, "no such package")

    def _all(self, method: str, body: bytes) -> tuple[int, Any]:
        if method == "GET":
            return 200, list(self.jobs.values())
        request = json.loads(body)
        self.start(request)
        return 200, {"submission_id": request["submission_id"], "job_id": request["submission_id"]}

    def _one(self, job: str, more: list[str]) -> tuple[int, Any]:
        if job not in self.jobs:
            return 404, f"Job {job} does not exist"
        if more == ["logs"]:
            self.looks += 1
            return 200, {"logs": self.logs[job]}
        if more == ["stop"]:
            self.jobs[job] = {**self.jobs[job], "status": "STOPPED"}
            return 200, {"stopped": True}
        return 200, self.jobs[job]


def _handler(head: FarHead) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                status, content = 401, "Unauthorized: Missing authentication token"
            else:
                status, content = head.answer(self.command, self.path, body)
            data = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = _do

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    return Handler


def until(is_so: Any, seconds: float = 60.0) -> None:
    """Wait for something; fails where it does not come."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def git(folder: Path, *words: str) -> str:
    """Run git there, as somebody."""
    who = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"]
    done = subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()
