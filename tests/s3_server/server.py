"""S3's requests as far as pyarrow makes them, answered from memory. Start at StandIn.

Objects whole and in parts, listings in pages, deletion of many at once, and S3's own error documents. Signatures are
not checked; the access key is, so that there is one that may only read and none that is unknown.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import suppress
from email.utils import formatdate
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

KEY, READER, SECRET = "AKIAWRITER", "AKIAREADER", "not-so-secret"
BUCKET = "trials-of-ours"
PAGE = 1000


class StandIn:
    """A server with one empty bucket; use it as a context."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, float]] = {}  # "bucket/key" -> content, when it was written
        self.asked: list[tuple[str, str]] = []  # (method, path) of every request, in order
        self.status = 0  # that every request is answered with, instead of what it asks for
        self.wait = 0.0  # seconds before each answer
        self.left: int | None = None  # requests that are answered before the server fails
        self._uploads: dict[str, dict[int, bytes]] = {}
        self._server = _Server(0, self)
        self.port = int(self._server.server_address[1])
        self._thread: threading.Thread | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        """What a person sets who uses it."""
        return {
            "AWS_ENDPOINT_URL": f"http://{self.host}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "none",
            "AWS_SHARED_CREDENTIALS_FILE": "none",
        }

    def keys(self, below: str = "") -> list[str]:
        """Objects of the bucket below a prefix, without pyarrow's markers of empty folders."""
        start = f"{BUCKET}/{below}"
        return sorted(
            key.removeprefix(start) for key in self.objects.copy() if key.startswith(start) and key[-1] != "/"
        )

    def read(self, key: str) -> bytes:
        return self.objects[f"{BUCKET}/{key}"][0]

    def down(self) -> None:
        """From now on nobody listens, nor answers on a connection that was open; nobody else gets the port."""
        self._end()
        self._server = _Server(self.port, self)

    def up(self) -> None:
        """Listen, at the same port and with the same objects as before."""
        if not self._thread:
            self._server.server_activate()
            self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
            self._thread.start()

    def _end(self) -> None:
        if self._thread:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()
        self._server.hang_up()

    def __enter__(self) -> StandIn:
        self.up()
        return self

    def __exit__(self, *error: object) -> None:
        self.wait = 0.0
        self._end()


class _Server(ThreadingHTTPServer):
    """Bound from the start, so that its port stays its own; listens once it is activated."""

    daemon_threads, allow_reuse_address, block_on_close = True, True, False
    request_queue_size = 128

    def __init__(self, port: int, shop: StandIn) -> None:
        self.shop = shop
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Request, bind_and_activate=False)
        self.server_bind()

    def hang_up(self) -> None:
        """End every connection that a client keeps."""
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client: object) -> None:
        """A client that went away."""


class _Request(BaseHTTPRequestHandler):
    protocol_version, wbufsize = "HTTP/1.1", -1  # an answer in one piece
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(30)
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def handle_expect_100(self) -> bool:
        going = super().handle_expect_100()
        self.wfile.flush()  # or the client waits for a second
        return going

    def log_message(self, *words: object) -> None:
        """Silent."""

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def _handle(self) -> None:
        shop = self.server.shop
        body = self._body()
        url = urlsplit(self.path)
        query = {name: found[0] for name, found in parse_qs(url.query, keep_blank_values=True).items()}
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        shop.asked.append((self.command, unquote(url.path)))
        if shop.wait:
            time.sleep(shop.wait)
        who = re.search(r"Credential=([^/]*)/", self.headers.get("Authorization", ""))
        changes = self.command in ("PUT", "DELETE", "POST")
        if shop.left is not None and (left := shop.left) <= 0:
            self._refuse(503, "SlowDown")
            return
        shop.left = None if shop.left is None else left - 1
        if shop.status:
            self._refuse(shop.status, "SlowDown" if shop.status == 503 else "ExpiredToken")
        elif not who or who[1] not in (KEY, READER) or (changes and who[1] != KEY):
            self._refuse(403, "AccessDenied")
        elif bucket != BUCKET:
            self._refuse(404, "NoSuchBucket")
        elif not key:
            self._bucket(query, body)
        else:
            self._object(f"{bucket}/{key}", query, body)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _handle

    def _body(self) -> bytes:
        """HTTP's chunks, and within them AWS's, whose trailer is left out."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            raw = b"".join(iter(self._chunk, b""))
        else:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "aws-chunked" not in self.headers.get("Content-Encoding", ""):
            return raw
        body = b""
        while True:
            head, _, raw = raw.partition(b"\r\n")
            length = int(head.partition(b";")[0], 16)
            if not length:
                return body
            body, raw = body + raw[:length], raw[length + 2 :]

    def _chunk(self) -> bytes:
        content = self.rfile.read(int(self.rfile.readline(), 16))
        self.rfile.readline()
        return content

    def _bucket(self, query: dict[str, str], body: bytes) -> None:
        if self.command == "GET":
            self._answer(200, self._listing(query), Content_Type="application/xml")
        elif "delete" in query:
            for found in ElementTree.fromstring(body).iter():
                if found.tag.endswith("Key"):
                    self.server.shop.objects.pop(f"{BUCKET}/{found.text}", None)
            self._answer(200, b"<DeleteResult></DeleteResult>")
        else:
            self._answer(200, x_amz_bucket_region="us-east-1")

    def _listing(self, query: dict[str, str]) -> bytes:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after, most = query.get("continuation-token", ""), min(int(query.get("max-keys", PAGE)), PAGE)
        found: dict[str, str] = {}
        for path, (content, when) in sorted(self.server.shop.objects.copy().items()):
            key = path.removeprefix(f"{BUCKET}/")
            if not key.startswith(prefix):
                continue
            head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            if cut:
                name = prefix + head + cut
                found[name] = f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
            else:
                stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(when))
                found[key] = (
                    f"<Contents><Key>{escape(key)}</Key><LastModified>{stamp}</LastModified>"
                    f"<ETag>{md5(content).hexdigest()}</ETag><Size>{len(content)}</Size></Contents>"
                )
        names = [name for name in sorted(found) if name > after]
        more = len(names) > most
        token = f"<NextContinuationToken>{escape(names[most - 1])}</NextContinuationToken>" if more else ""
        inner = "".join(found[name] for name in names[:most])
        count = f"<KeyCount>{len(names[:most])}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>"
        return f'<?xml version="1.0"?><ListBucketResult>{count}{token}{inner}</ListBucketResult>'.encode()

    def _object(self, path: str, query: dict[str, str], body: bytes) -> None:
        shop = self.server.shop
        if self.command == "PUT" and "uploadId" in query:
            shop._uploads[query["uploadId"]][int(query["partNumber"])] = body
            self._answer(200, ETag=md5(body).hexdigest())
        elif self.command == "PUT":
            shop.objects[path] = (body, time.time())
            self._answer(200, ETag=md5(body).hexdigest())
        elif self.command == "POST" and "uploads" in query:
            upload = f"upload-{len(shop._uploads)}"
            shop._uploads[upload] = {}
            self._answer(
                200,
                f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>".encode(),
            )
        elif self.command == "POST":
            parts = shop._uploads[query["uploadId"]]
            shop.objects[path] = (b"".join(parts[n] for n in sorted(parts)), time.time())
            self._answer(200, b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")
        elif self.command == "DELETE":
            shop.objects.pop(path, None)
            self._answer(204)
        else:
            self._content(path)

    def _content(self, path: str) -> None:
        found = self.server.shop.objects.get(path)
        if found is None:
            self._refuse(404, "NoSuchKey")
            return
        content, when = found
        about = {"ETag": md5(content).hexdigest(), "Last_Modified": formatdate(when, usegmt=True)}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted and self.command == "GET":
            first, last = int(wanted[1]), min(int(wanted[2]), len(content) - 1)
            about["Content_Range"] = f"bytes {first}-{last}/{len(content)}"
            self._answer(206, content[first : last + 1], **about)
        elif self.command == "HEAD":
            self.send_response(200)
            for name, value in {"Content_Length": str(len(content)), **about}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
        else:
            self._answer(200, content, **about)
