"""How a machine of a cluster is reached: by ssh as the launcher calls it, but that nobody is asked for a password."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaelp_ray.errors import InputError

CONNECT_SECONDS = 8
OPTIONS = (
    "BatchMode=yes",
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "IdentitiesOnly=yes",
    f"ConnectTimeout={CONNECT_SECONDS}",
    "LogLevel=ERROR",
)
FAILED = 255
"""What ssh ends with where it is ssh that failed, and not what it ran."""


@dataclass(frozen=True)
class Login:
    """Who logs in, and by what key; an empty key is ssh's own affair."""

    user: str
    key: str = ""
    proxy: str = ""

    @classmethod
    def of(cls, auth: Mapping[str, Any]) -> Login:
        """From the `auth` of a launcher file; what is no text there is not there."""
        names = ("ssh_user", "ssh_private_key", "ssh_proxy_command")
        user, key, proxy = (auth[name] if isinstance(auth.get(name), str) else "" for name in names)
        return cls(user, key, proxy)

    def words(self, *options: str) -> list[str]:
        """`ssh` with everything that stands before the address; `options` are further ones of its -o."""
        proxy = (f"ProxyCommand={self.proxy}",) if self.proxy else ()
        words = ["ssh", *(word for option in (*OPTIONS, *options, *proxy) for word in ("-o", option))]
        return [*words, *(["-i", str(Path(self.key).expanduser())] if self.key else []), "-l", self.user]


def require_ssh() -> None:
    """Raises InputError where this machine has no ssh."""
    if not shutil.which("ssh"):
        raise InputError("this needs the program ssh on this machine: on Debian, apt-get install openssh-client")


def said_by(login: Login, address: str, script: str, seconds: float) -> tuple[list[str], str]:
    """The lines that a shell script prints on a machine, and why it was not run; empty where it was."""
    words = [*login.words(), address, "bash -s"]
    try:
        done = subprocess.run(words, input=script, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return [], f"no answer within {seconds:g} s: is it up, and the address right?"
    if done.returncode == FAILED:
        return [], f"no ssh: {last_line(done.stderr)}"
    return done.stdout.splitlines(), ""


def last_line(text: str, otherwise: str = "no reason given") -> str:
    """Of what a program complained of."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else otherwise
