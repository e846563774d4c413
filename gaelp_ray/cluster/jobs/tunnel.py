"""A tunnel by ssh from a port here to the head's job server, which only the head itself can reach."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from typing import IO

from gaelp_ray.cluster.jobs.head import Head
from gaelp_ray.cluster.ssh import last_line
from gaelp_ray.errors import HeadAway

SECONDS = 20.0
OPTIONS = ("ExitOnForwardFailure=yes", "ServerAliveInterval=5", "ServerAliveCountMax=3", "ControlPath=none")


class Tunnel:
    """Open it as often as it breaks, and close it at the end."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self._ssh: subprocess.Popen[bytes] | None = None

    def open(self) -> str:
        """The job server's URL here. Raises HeadAway where ssh does not get there."""
        self.close()
        port = _free_port()
        forward = f"127.0.0.1:{port}:127.0.0.1:{self.head.port}"
        # `cat` in place of -N: it ends with its input, and so with this process, however that ends.
        words = [*self.head.login.words(*OPTIONS), "-L", forward, self.head.address, "cat"]
        with tempfile.TemporaryFile() as complaints:
            self._ssh = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                start_new_session=True,  # Ctrl-C is for us
            )
            self._wait(self._ssh, port, complaints)
        return f"http://127.0.0.1:{port}"

    def _wait(self, ssh: subprocess.Popen[bytes], port: int, complaints: IO[bytes]) -> None:
        until = time.monotonic() + SECONDS
        while not _listens(port):
            if ssh.poll() is not None or time.monotonic() > until:
                self.close()
                complaints.seek(0)
                reason = last_line(complaints.read().decode(errors="replace"), f"no answer within {SECONDS:.0f} s")
                raise HeadAway(f"{self.head.address}: no ssh: {reason}")
            time.sleep(0.05)

    def close(self) -> None:
        """End the ssh, if there is one."""
        if self._ssh is None:
            return
        ssh, self._ssh = self._ssh, None
        ssh.terminate()
        try:
            ssh.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            ssh.kill()
            ssh.communicate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
