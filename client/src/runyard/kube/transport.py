"""HTTP to one API server: TLS, proxy, connection reuse, streams. Knows nothing of objects."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.parse import urlencode, urlsplit

from runyard import __version__
from runyard.kube.connection import (
    HttpsConnection,
    proxy_headers,
    proxy_of,
    tls_context,
    translated,
)
from runyard.kube.credentials import Credentials, resolve
from runyard.kube.errors import ApiError, ConfigError, UnreachableError, api_error
from runyard.kube.kubeconfig import Access

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 60.0
_CHUNK: Final = 65536
_NONE: Final[Mapping[str, str]] = MappingProxyType({})

Query = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    """A whole, successful answer."""

    code: int
    body: bytes


class Transport:
    """Requests to the API server of `access`; safe to use from several threads."""

    def __init__(self, access: Access, environ: Mapping[str, str]) -> None:
        self.access = access
        self._base = urlsplit(access.server)
        if self._base.scheme not in ("http", "https") or not self._base.hostname:
            raise ConfigError(f"the server {access.server!r} of {access.source} is not a URL")
        self._proxy = proxy_of(access, self._base, environ)
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._credentials: Credentials | None = None
        self._context: ssl.SSLContext | None = None

    def request(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout: float = READ_SECONDS,
        headers: Mapping[str, str] = _NONE,
    ) -> Response:
        """Sends one request and reads the whole answer.

        `headers` come beside the usual ones, or in their place.

        Raises:
            ApiError: the server refused.
            UnreachableError: no answer came.
        """
        try:
            return self._request(method, path, query, body, content_type, timeout, headers)
        except ApiError as error:
            if error.code != 401 or self.access.user.exec is None:
                raise
            self._renew()
            return self._request(method, path, query, body, content_type, timeout, headers)

    def close(self) -> None:
        """Closes the connections that wait for a next request."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _request(
        self,
        method: str,
        path: str,
        query: Query | None,
        body: bytes | None,
        content_type: str,
        timeout: float,
        headers: Mapping[str, str],
    ) -> Response:
        connection, reused = self._connection(timeout)
        try:
            response = self._send(connection, method, path, query, body, content_type, headers)
        except UnreachableError:
            connection.close()
            if not reused:
                raise
            # The server may close an idle connection at any moment; a fresh one tells the truth.
            self.close()
            return self._request(method, path, query, body, content_type, timeout, headers)
        try:
            with translated(self.access):
                data = response.read()
        except UnreachableError:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.append(connection)
        if not 200 <= response.status < 300:
            raise api_error(response.status, data, method, path)
        return Response(response.status, data)

    def send(
        self,
        path: str,
        body: Iterator[bytes],
        size: int,
        timeout: float = READ_SECONDS,
        headers: Mapping[str, str] = _NONE,
    ) -> Response:
        """Sends `size` bytes by PUT, piece by piece, on a connection of its own.

        Raises:
            ApiError: the server refused; perhaps before it had read all.
            UnreachableError: no answer came.
        """
        connection = self._new(timeout)
        usual = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        try:
            self._begin(connection, "PUT", path, None, {**usual, **headers})
            with translated(self.access):
                # Who refuses closes, often in the middle of the body: the answer is there to read.
                with suppress(BrokenPipeError, ConnectionResetError):
                    for piece in body:
                        connection.send(piece)
                response = connection.getresponse()
                data = response.read()
        finally:
            connection.close()
        if not 200 <= response.status < 300:
            raise api_error(response.status, data, "PUT", path)
        return Response(response.status, data)

    def stream(
        self,
        path: str,
        query: Query | None = None,
        idle: float = READ_SECONDS,
        headers: Mapping[str, str] = _NONE,
    ) -> Stream:
        """Opens an answer that is read line by line while it comes.

        `idle` is the longest silence in seconds before the connection counts as dead.

        Raises:
            ApiError: the server refused.
            UnreachableError: no answer came.
        """
        connection = self._new(idle)
        try:
            response = self._send(connection, "GET", path, query, None, "", headers)
            if response.status not in (200, 206):
                with translated(self.access):
                    data = response.read()
                raise api_error(response.status, data, "GET", path)
        except BaseException:
            connection.close()
            raise
        return Stream(self.access, connection, response)

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        query: Query | None,
        body: bytes | None,
        content_type: str,
        headers: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        if body is not None:
            usual = {"Content-Type": content_type, "Content-Length": str(len(body))}
            headers = {**usual, **headers}
        self._begin(connection, method, path, query, headers, body)
        with translated(self.access):
            return connection.getresponse()

    def _begin(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        query: Query | None,
        headers: Mapping[str, str],
        body: bytes | None = None,
    ) -> None:
        target = self._base.path.rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
        own = {"User-Agent": f"runyard/{__version__}", "Accept": "application/json, */*"}
        authorised = self._authorised().headers
        with translated(self.access):
            connection.putrequest(method, target)
            for name, value in (*{**own, **headers}.items(), *authorised):
                connection.putheader(name, value)
            connection.endheaders(body)

    def _connection(self, timeout: float) -> tuple[http.client.HTTPConnection, bool]:
        with self._lock:
            if self._idle:
                connection = self._idle.pop()
                connection.sock.settimeout(timeout)
                return connection, True
        return self._new(timeout), False

    def _new(self, timeout: float) -> http.client.HTTPConnection:
        """A connected connection whose reads wait for `timeout` seconds."""
        host, port = self._base.hostname or "", self._base.port
        target = self._proxy or self._base
        connection: http.client.HTTPConnection
        if self._base.scheme == "http":
            connection = http.client.HTTPConnection(host, port or 80, timeout=CONNECT_SECONDS)
        else:
            connection = HttpsConnection(
                target.hostname or "",
                target.port or (443 if self._proxy is None else 8080),
                timeout=CONNECT_SECONDS,
                context=self._tls(),
            )
            connection.verified_name = self.access.tls_server_name or host
            if self._proxy is not None:
                connection.set_tunnel(host, port or 443, proxy_headers(self._proxy))
        try:
            with translated(self.access):
                connection.connect()
        except UnreachableError:
            connection.close()
            raise
        connection.sock.settimeout(timeout)
        return connection

    def _authorised(self) -> Credentials:
        with self._lock:
            if self._credentials is None or self._credentials.expired:
                self._credentials = resolve(self.access)
                self._context = None
            elif self.access.user.token_file is not None:  # the kubelet renews it
                self._credentials = resolve(self.access)
            return self._credentials

    def _renew(self) -> None:
        with self._lock:
            self._credentials = None
        self.close()

    def _tls(self) -> ssl.SSLContext:
        credentials = self._authorised()
        with self._lock:
            if self._context is None:
                self._context = tls_context(self.access, credentials)
            return self._context


class Stream:
    """Lines of an answer that is still being sent. Close it, or use it in a `with`."""

    def __init__(
        self,
        access: Access,
        connection: http.client.HTTPConnection,
        response: http.client.HTTPResponse,
    ) -> None:
        self._access = access
        self._connection = connection
        self._response = response

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the answer from any thread: a read that waits returns at once."""
        if self._connection.sock is not None:
            with suppress(OSError):
                self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def lines(self) -> Iterator[bytes]:
        """Each line without its line feed, as it comes; the last one may lack one.

        Raises:
            UnreachableError: the connection broke, or was silent for too long.
        """
        rest = b""
        for chunk in self.chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def chunks(self) -> Iterator[bytes]:
        """The answer's bytes in pieces, as they come.

        Raises:
            UnreachableError: the connection broke, or was silent for too long.
        """
        while True:
            with translated(self._access):
                # read1 returns what is there; read would wait until the buffer is full.
                chunk = self._response.read1(_CHUNK)
            if not chunk:
                if self._response.length:  # read1 takes an early end for the end
                    raise UnreachableError("the API server's answer broke off")
                return
            yield chunk
