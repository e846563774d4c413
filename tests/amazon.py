"""AWS as moto plays it, behind HTTP: any program that is told AWS_ENDPOINT_URL takes it for the real one."""

from __future__ import annotations

import logging
import urllib.request
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"
MADE_UP = {"AWS_ACCESS_KEY_ID": "AKIAMADEUP", "AWS_SECRET_ACCESS_KEY": "made-up"}


class Amazon:
    """A server without anything in it, which accepts every key; use it as a context."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)

    @property
    def host(self) -> str:
        return "{}:{}".format(*self._server.get_host_and_port())

    @property
    def env(self) -> dict[str, str]:
        """What lets a process know no other AWS."""
        return {
            "AWS_ENDPOINT_URL": f"http://{self.host}",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": "none",
            "AWS_SHARED_CREDENTIALS_FILE": "none",
            **MADE_UP,
        }

    def client(self, service: str) -> Any:
        """Boto3's, whatever this process' environment says."""
        key, secret = MADE_UP.values()
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=f"http://{self.host}",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    def __enter__(self) -> Amazon:
        logging.getLogger("werkzeug").setLevel(logging.WARNING)  # which tells of every request
        self._server.start()
        return self

    def __exit__(self, *error: object) -> None:
        # What moto knows belongs to the process, not to the server.
        urllib.request.urlopen(urllib.request.Request(f"http://{self.host}/moto-api/reset", method="POST")).close()
        self._server.stop()
