"""The sockets and threads of the server, and what a test holds of it: start at StandIn."""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
import time
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, cast

from wandb_server.faults import Fault, Kind, Where
from wandb_server.records import Run, State
from wandb_server.service import Logged, Request, Response, Service
from wandb_server.store import ENTITY, Store

KEY = "0123456789abcdef0123456789abcdef01234567"
HOST = "127.0.0.1"
PROMPT = 0.02  # seconds until a server notices that it shall stop


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        response = cast(_Server, self.server).service.answer(request)
        if response is None:
            self.close_connection = True
        else:
            self._send(response)

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        length = str(len(response.body))
        for name, value in {"Content-Type": response.kind, "Content-Length": length, **response.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)
        self.wfile.flush()

    do_GET = do_POST = do_PUT = do_HEAD = _handle


class _Server(ThreadingHTTPServer):
    """Bound from the start, so that its port stays its own; listens from `begin` to `end`."""

    daemon_threads = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int) -> None:
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        super().__init__((HOST, port), _Handler, bind_and_activate=False)
        self.server_bind()

    def server_bind(self) -> None:
        """Bind without asking DNS for a name, as HTTPServer would."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def begin(self, service: Service) -> None:
        """Listen, in a thread."""
        self.service = service
        service.faults.renew()
        self.server_activate()
        self._thread = threading.Thread(target=self.serve_forever, args=(PROMPT,), name="wandb-server")
        self._thread.start()

    def end(self) -> None:
        """Close the port and every connection, and wait for all threads."""
        if self._thread:
            self.shutdown()
            self._thread.join()
            self.service.faults.wake()
        with self._lock:
            for connection in self._connections:
                _hang_up(connection)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nothing; anything else is a mistake of this server's, kept for State.errors."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            with self.service.store.lock:
                self.service.store.errors.append(traceback.format_exc())


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is closed already


class StandIn:
    """A W&B server on a free port of this machine, as a context manager.

    `key` is the API key it accepts; a run without a heartbeat for `crashed_after` seconds reads as crashed.
    """

    def __init__(self, key: str = KEY, crashed_after: float = 300.0) -> None:
        self._server: _Server = _Server(0)
        self._port = self._server.server_port
        self._is_up = False
        self.url = f"http://{HOST}:{self._port}"
        self.key = key
        self._store = Store(self.url, crashed_after)
        self._service = Service(self._store, key)

    def __enter__(self) -> StandIn:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
        self._is_up = False
        self._server.end()

    def env(self) -> dict[str, str]:
        """The variables by which wandb finds this server, and gives up within seconds where it is away."""
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": self.key,
            "WANDB_HTTP_TIMEOUT": "3",
            "WANDB_INIT_TIMEOUT": "10",
            "WANDB_FINISH_TIMEOUT": "10",
            "WANDB__FILE_STREAM_TRANSMIT_INTERVAL": "1",
            "WANDB_SILENT": "true",
            "WANDB_CONSOLE": "off",
            "WANDB_ERROR_REPORTING": "false",
            "NO_PROXY": "*",
        }

    def up(self) -> None:
        """Serve, with the state of before."""
        if not self._is_up:
            self._server.begin(self._service)
            self._is_up = True

    def down(self) -> None:
        """Refuse connections, and end those there are. The state, the faults and the port stay."""
        if self._is_up:
            self._server.end()
            self._server = _Server(self._port)
            self._is_up = False

    def fault(self, where: Where = "any", kind: Kind = "status", **details: Any) -> Fault:
        """From now on requests fail; `details` are the other fields of Fault. Its `hits` counts them."""
        fault = Fault(where, kind, **details)
        self._service.faults.add(fault)
        return fault

    def clear(self) -> None:
        """End all faults."""
        self._service.faults.clear()

    def state(self) -> State:
        """A copy of everything that the server holds."""
        with self._store.lock:
            return self._store.snapshot()

    def run(self, path: str) -> Run:
        """A copy of one run, by `project/id`."""
        return self.state().runs[f"{ENTITY}/{path}"]

    def wait_for(self, condition: Callable[[State], bool], seconds: float = 60.0) -> State:
        """The first state of which the condition holds. Raises TimeoutError after `seconds`."""
        end = time.monotonic() + seconds
        while not condition(state := self.state()):
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds:g} s; so far {dict(state.operations)}")
            time.sleep(PROMPT)
        return state

    def requests(self, where: Where = "any", operation: str | None = None) -> list[Logged]:
        """The requests so far, in the order in which they came."""
        with self._store.lock:
            log = list(self._service.log)
        return [one for one in log if where in ("any", one.where) and operation in (None, one.operation)]
