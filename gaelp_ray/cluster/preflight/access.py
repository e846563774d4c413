"""How the launcher gets onto the machines: `auth`, and the key that it names."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

from gaelp_ray.cluster.file import PLACEHOLDER, ClusterFile, Finding

MAGIC = b"openssh-key-v1\0"
"""What a private key of OpenSSH's begins with; the length and the name of its cipher follow."""


def access_findings(file: ClusterFile) -> Iterator[Finding]:
    """What is wrong with `auth`: Ray notices none of it before the first ssh."""
    auth = file.get("auth")
    if auth is None and file.provider != "local":  # Ray has a user for each cloud's images
        return
    if not file.get("auth", "ssh_user"):
        path, key = (("auth",), "ssh_user") if isinstance(auth, dict) else ((), "auth.ssh_user")
        yield Finding(path, f"{key} is missing", "name the user that logs in on the machines")
    private = file.string("auth", "ssh_private_key")
    if private and PLACEHOLDER not in private:
        yield from _key_findings(private)
    elif file.provider == "local" and isinstance(auth, dict) and not private:
        what = "no ssh_private_key, so the head gets none to reach the workers with"
        yield Finding(("auth",), what, "name a key, or make sure that the head has its own", warning=True)
    public = file.string("auth", "ssh_public_key")
    if public and not Path(public).expanduser().is_file():
        yield Finding(("auth", "ssh_public_key"), f"{public} is not there", "name a public key, or leave it out")
    if file.provider == "aws" and private:
        yield from _without_key_name(file)


def _key_findings(written: str) -> Iterator[Finding]:
    path, key = ("auth", "ssh_private_key"), Path(written).expanduser()
    if not key.is_file():
        yield Finding(
            path, f"{written} is not there", f"name your key, or make one: ssh-keygen -t ed25519 -N '' -f {key}"
        )
        return
    if key.stat().st_mode & 0o077:
        mode = f"{key.stat().st_mode & 0o777:04o}"
        yield Finding(path, f"{written} has mode {mode}, and ssh takes a key only from 0600", f"chmod 600 {written}")
    if not os.access(key, os.R_OK):
        yield Finding(path, f"{written} cannot be read", "name a key of your own")
        return
    content = key.read_bytes()
    if b"PRIVATE KEY-----" not in content:
        yield Finding(path, f"{written} holds no private key", "name the file without .pub")
    elif _has_passphrase(content):
        what = f"{written} has a passphrase, which nobody can type on the head, where workers are reached from"
        yield Finding(path, what, "name a key without one, made for this cluster")


def _has_passphrase(content: bytes) -> bool:
    if b"ENCRYPTED" in content:
        return True
    body = b"".join(line for line in content.splitlines() if not line.startswith(b"-----"))
    try:
        decoded = base64.b64decode(body)
    except ValueError:
        return False
    if not decoded.startswith(MAGIC):
        return False
    size = int.from_bytes(decoded[len(MAGIC) : len(MAGIC) + 4], "big")
    return decoded[len(MAGIC) + 4 : len(MAGIC) + 4 + size] != b"none"


def _without_key_name(file: ClusterFile) -> Iterator[Finding]:
    for name in file.node_types:
        config = file.mapping("available_node_types", name, "node_config")
        if not {"KeyName", "UserData"} & config.keys():
            path = ("available_node_types", name, "node_config")
            remedy = "add the name of the key pair, or leave ssh_private_key out: Ray makes a pair"
            yield Finding(path, "a private key is named, but no KeyName", remedy)
