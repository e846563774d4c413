"""Where a sweep lies that lies in S3: `s3://bucket/prefix/NAME`, and its working copy on this machine.

    s3://bucket/prefix?endpoint_override=HOST%3APORT&scheme=http     another server than AWS's, as pyarrow writes it

Without that query, AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL names another server. Credentials are the environment's.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from gaelp_ray.errors import StorageError

QUERY = ("endpoint_override", "region", "scheme")
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
WANTED = "write s3://bucket/prefix, or a folder"
CREDENTIALS = "holds credentials: leave them out, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"


def is_remote(place: str | Path) -> bool:
    """Whether a storage, or a sweep's name, is meant as a URL; a Path has lost one of its slashes."""
    return "://" in str(place) or (isinstance(place, Path) and str(place).startswith("s3:/"))


@dataclass(frozen=True)
class Address:
    """A place in a bucket."""

    bucket: str
    path: str  # keys below begin with it and a slash; may be empty
    query: str = ""

    def __post_init__(self) -> None:
        """Raises StorageError for a server with a password: it would be shown, sent, and name a folder."""
        if "@" in self.options.get("endpoint_override", ""):
            raise StorageError(f"the server in AWS_ENDPOINT_URL, or in endpoint_override, {CREDENTIALS}")

    @classmethod
    def parse(cls, text: str | Path) -> Address:
        """Raises StorageError, which never repeats what may be a secret."""
        url = urlsplit(re.sub("^s3:/(?!/)", "s3://", str(text)) if isinstance(text, Path) else str(text))
        if "@" in url.netloc or url.password is not None:
            raise StorageError(f"the storage URL {CREDENTIALS}")
        if url.scheme != "s3":
            raise StorageError(f"{url.scheme}:// is no storage that is known here: {WANTED}")
        if not BUCKET.fullmatch(url.netloc):
            raise StorageError(f"s3://{url.netloc} names no bucket (3 to 63 of a-z, 0-9, dot and dash): {WANTED}")
        parts = [part for part in url.path.split("/") if part]
        if {".", ".."} & set(parts) or url.fragment:
            raise StorageError(f"s3://{url.netloc}{url.path}: neither `.` nor `..` nor `#` may be in it: {WANTED}")
        unknown = [key for key, _ in parse_qsl(url.query, keep_blank_values=True) if key not in QUERY]
        if unknown:
            raise StorageError(f"s3://{url.netloc}{url.path}: unknown after the `?`. Known: {', '.join(QUERY)}")
        return cls(url.netloc, "/".join(parts), url.query)

    def __str__(self) -> str:
        where = f"s3://{self.bucket}/{self.path}".rstrip("/")
        return f"{where}?{self.query}" if self.query else where

    @property
    def shown(self) -> str:
        """As a person types it."""
        return shlex.quote(str(self))

    @property
    def name(self) -> str:
        """Of the sweep that lies here."""
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> Address:
        """The storage that holds the sweep."""
        return replace(self, path=self.path.rpartition("/")[0])

    def child(self, name: str) -> Address:
        """A sweep in this storage. Raises StorageError for what is no name."""
        if not name or "/" in name or name in (".", ".."):
            raise StorageError(f"{name!r} is no sweep's name in {self}: give the name alone")
        return replace(self, path=f"{self.path}/{name}".lstrip("/"))

    @property
    def options(self) -> dict[str, str]:
        """What is known of the server: `endpoint_override` (host and port), `scheme`, `region`."""
        told = dict(parse_qsl(self.query))
        url = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        if url and "endpoint_override" not in told:
            scheme, _, host = url.rpartition("://")
            told |= {"endpoint_override": host.rstrip("/"), "scheme": scheme or "https"}
        return told

    @property
    def resolved(self) -> Address:
        """The same for a process whose environment names another server, or none."""
        return replace(self, query=urlencode({key: told for key, told in self.options.items() if key in QUERY}))

    @property
    def working_copy(self) -> Path:
        """The folder on this machine; two servers do not share one."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        endpoint = self.options.get("endpoint_override", "")
        server = f"@{re.sub('[^A-Za-z0-9.-]', '_', endpoint)}" if endpoint else ""
        return (cache / "gaelp_ray" / "storage" / f"{self.bucket}{server}" / self.path).resolve()
