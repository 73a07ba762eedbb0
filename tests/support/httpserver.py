"""A small HTTP server on loopback that answers as a test scripts it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send. With `cut`, the connection breaks after the body."""

    body: bytes = b""
    code: int = 200
    cut: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


Script = Callable[[Request], Answer]


@dataclass(slots=True)
class Served:
    """The running server and what it was asked."""

    url: str
    requests: list[Request] = field(default_factory=list)
    connections: int = 0


@contextmanager
def serving(
    script: Script, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> Iterator[Served]:
    """Serves `script` until the block ends."""
    server = ThreadingHTTPServer((address, 0), BaseHTTPRequestHandler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    served = Served(f"{'https' if tls else 'http'}://{address}:{server.server_address[1]}")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            served.connections += 1

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            split = urlsplit(self.path)
            request = Request(
                self.command,
                split.path,
                {key: values[0] for key, values in parse_qs(split.query).items()},
                dict(self.headers.items()),
                self.rfile.read(length),
            )
            served.requests.append(request)
            answer = script(request)
            self.send_response(answer.code)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            # A cut answer promises more than it sends.
            self.send_header("Content-Length", str(len(answer.body) + (10 if answer.cut else 0)))
            self.end_headers()
            self.wfile.write(answer.body)
            if answer.cut:
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            return None

    for method in ("GET", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.answer)
    server.RequestHandlerClass = Handler
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
