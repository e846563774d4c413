"""Objects below an address, through pyarrow (Ray's own dependency, imported when it is first needed).

Every request has an end: 3 s without an answer, two attempts. What goes wrong is a StorageError in one line, which
says why and never holds a secret. Start at Bucket.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.remote.address import Address

CONNECT_SECONDS, ANSWER_SECONDS = 2.0, 3.0

REASONS = (
    (r"NO_SUCH_BUCKET|Bucket .* not found|NoSuchBucket", "there is no such bucket"),
    (r"ExpiredToken|EXPIRED_TOKEN|RequestExpired", "the credentials have expired"),
    (
        r"INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT|INVALID_CLIENT_TOKEN|InvalidAccessKey",
        "the credentials are not accepted",
    ),
    (r"SLOW_DOWN|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|status 5\d\d", "the server is not well"),
    (r"resolve host", "its host is not known"),
    (r"NETWORK_CONNECTION|TIMEOUT|curlCode", "the server does not answer"),
)
"""Of what pyarrow says."""

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN")


@dataclass(frozen=True)
class Stat:
    """An object: bytes, and when the server took it (seconds since 1970)."""

    size: int
    when: float


class Bucket:
    """Objects below an address, by their names from there."""

    def __init__(self, address: Address, attempts: int = 2) -> None:
        self.address, self._attempts = address, attempts
        self._root = f"{address.bucket}/{address.path}".rstrip("/")

    def stats(self, below: str = "") -> dict[str, Stat]:
        """Every object, or those below a folder."""
        return {name: stat for name, stat in self._infos(below, True) if stat}

    def folders(self) -> list[str]:
        """Names of the folders at this place."""
        return sorted(name for name, stat in self._infos("", False) if stat is None)

    def _infos(self, below: str, recursive: bool) -> list[tuple[str, Stat | None]]:
        from pyarrow.fs import FileSelector, FileType

        path = f"{self._root}/{below}".rstrip("/")
        with self._told():
            found = self._system.get_file_info(FileSelector(path, recursive=recursive, allow_not_found=True))
        start = len(self._root) + 1
        return [
            (info.path[start:], Stat(info.size, info.mtime.timestamp()) if info.type == FileType.File else None)
            for info in found
        ]

    def stat(self, name: str) -> Stat | None:
        """One object; None where there is none."""
        from pyarrow.fs import FileType

        with self._told():
            info = self._system.get_file_info(f"{self._root}/{name}")
        return Stat(info.size, info.mtime.timestamp()) if info.type == FileType.File else None

    def read(self, name: str) -> bytes | None:
        """An object's bytes; None where there is none."""
        try:
            with self._told(), self._system.open_input_file(f"{self._root}/{name}") as file:
                return bytes(file.read())
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Readers see the old object or the new one."""
        with self._told(), self._system.open_output_stream(f"{self._root}/{name}") as file:
            file.write(content)

    def send(self, name: str, source: Path) -> None:
        """A file as it is now."""
        self.write(name, source.read_bytes())

    def remove(self, name: str) -> None:
        """An object, if there is one."""
        try:
            with self._told():
                self._system.delete_file(f"{self._root}/{name}")
        except FileNotFoundError:
            pass

    def remove_folder(self, name: str) -> None:
        """All objects below a folder."""
        try:
            with self._told():
                self._system.delete_dir(f"{self._root}/{name}")
        except FileNotFoundError:
            pass

    @property
    def _system(self) -> Any:
        options = self.address.options
        return _filesystem(self.address.bucket, tuple(sorted(options.items())), self._attempts, _who())

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except ValueError:  # of pyarrow, before it asks anybody
            named = "AWS_ENDPOINT_URL, or endpoint_override and scheme in the URL"
            raise StorageError(f"{self.address}: no server is named like that: correct {named}") from None
        except OSError as error:
            raise StorageError(f"{self.address}: {_reason(str(error))}") from None


def _reason(text: str) -> str:
    """Why a request failed, in words of ours: pyarrow's name keys of objects, and many lines."""
    for pattern, reason in REASONS:
        if re.search(pattern, text, re.IGNORECASE):
            return reason
    if re.search("ACCESS_DENIED|FORBIDDEN|status 40[13]", text, re.IGNORECASE):
        if not any(map(os.environ.get, KEYS)) and not Path("~/.aws").expanduser().is_dir():
            return "access denied, and there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        return "access denied to these credentials"
    code = re.search(r"AWS Error (\w+(?: \(HTTP status \d+\))?)", text)
    return f"the server refuses it ({code[1]})" if code else "it cannot be reached"


def _who() -> tuple[str | None, ...]:
    """Whoever logs in as somebody else in this process gets other connections."""
    return tuple(map(os.environ.get, KEYS))


@lru_cache(maxsize=8)
def _filesystem(bucket: str, options: tuple[tuple[str, str], ...], attempts: int, who: object) -> Any:
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem, resolve_s3_region

    told = dict(options)
    if "region" not in told:
        told["region"] = "us-east-1" if "endpoint_override" in told else resolve_s3_region(bucket)
    return S3FileSystem(
        **told,
        connect_timeout=CONNECT_SECONDS,
        request_timeout=ANSWER_SECONDS,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=attempts),
        background_writes=False,
        allow_delayed_open=True,  # a small object is one request
    )
