"""An HTTP proxy before the API server that answers some requests itself, as a test says."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.support.kubectl import Kubectl

HANG = 0
"""In place of an HTTP status: no answer for as long as the fault lasts."""

_HEADERS = ("Accept", "Content-Type", "User-Agent")


@dataclass(frozen=True, slots=True)
class Fault:
    """Requests of these methods for these resources get this HTTP status, or HANG."""

    status: int
    resources: tuple[str, ...]
    methods: tuple[str, ...] = ("GET",)

    def strikes(self, request: web.BaseRequest) -> bool:
        """Whether the request is one of them; watches count as GET."""
        parts = request.path.split("/")
        return request.method in self.methods and any(each in parts for each in self.resources)


@dataclass(frozen=True, slots=True)
class Request:
    """A request that came in. A GET of a collection is a list, or with `watch` a watch."""

    method: str
    path: str
    query: Mapping[str, str]

    @property
    def reads_once(self) -> bool:
        """Whether it gets or lists."""
        return self.method == "GET" and "watch" not in self.query


class Faulty:
    """Forwards with the credentials of a kubeconfig; `fault` strikes from the moment it is set."""

    def __init__(self, kubeconfig: dict[str, Any], folder: Path) -> None:
        cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
        self._server: str = cluster["server"]
        self._tls = _tls(cluster, user, folder)
        self.fault: Fault | None = None
        self.struck = 0
        self.requests: list[Request] = []
        self.port = 0

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Listens on a free port of loopback, in a thread of its own."""
        ready, done = threading.Event(), threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(self._run(ready, done)))
        thread.start()
        try:
            assert ready.wait(30)
            yield
        finally:
            done.set()
            thread.join(60)

    async def _run(self, ready: threading.Event, done: threading.Event) -> None:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            server = web.Server(lambda request: self._answer(session, request))
            runner = web.ServerRunner(server, shutdown_timeout=1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.port = runner.addresses[0][1]
            ready.set()
            await asyncio.to_thread(done.wait)
            await runner.cleanup()

    async def _answer(
        self, session: aiohttp.ClientSession, request: web.BaseRequest
    ) -> web.StreamResponse:
        self.requests.append(Request(request.method, request.path, dict(request.query)))
        fault = self.fault
        if fault is not None and fault.strikes(request):
            self.struck += 1
            if fault.status != HANG:
                text = json.dumps({"kind": "Status", "message": "as the test has it"})
                return web.Response(status=fault.status, text=text, content_type="application/json")
            while self.fault is fault:  # noqa: ASYNC110 - the test sets it from another thread
                await asyncio.sleep(0.1)
        headers = {name: request.headers[name] for name in _HEADERS if name in request.headers}
        body = await request.read()
        url = self._server + request.raw_path
        async with session.request(request.method, url, headers=headers, data=body or None) as far:
            near = web.StreamResponse(
                status=far.status, headers={"Content-Type": far.headers.get("Content-Type", "")}
            )
            # Either side may leave at any time.
            with contextlib.suppress(aiohttp.ClientError, ConnectionError):
                await near.prepare(request)
                async for chunk in self._chunks(far, request):
                    await near.write(chunk)
                await near.write_eof()
            return near

    async def _chunks(
        self, far: aiohttp.ClientResponse, request: web.BaseRequest
    ) -> AsyncIterator[bytes]:
        """What comes, until a fault strikes: then a stream ends in its middle."""
        while True:
            fault = self.fault
            if fault is not None and fault.strikes(request):
                return
            try:
                async with asyncio.timeout(0.2):
                    chunk = await far.content.readany()
            except TimeoutError:
                continue
            if not chunk:
                return
            yield chunk


def _tls(cluster: dict[str, Any], user: dict[str, Any], folder: Path) -> ssl.SSLContext:
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    parts = ("client-certificate-data", "client-key-data")
    paths = [folder / part for part in parts]
    for part, path in zip(parts, paths, strict=True):
        path.write_bytes(base64.b64decode(user[part]))
    context.load_cert_chain(*map(str, paths))
    return context


@contextlib.contextmanager
def faulty(kube: Kubectl, path: Path) -> Iterator[Faulty]:
    """A proxy before the API server; the kubeconfig at `path` leads by way of it."""
    config = json.loads(kube.run("config", "view", "--raw", "-o", "json"))
    with tempfile.TemporaryDirectory() as folder:
        proxy = Faulty(config, Path(folder))
        with proxy.serving():
            config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{proxy.port}"}
            config["users"][0]["user"] = {}
            path.write_text(json.dumps(config))
            yield proxy
