"""`/v1/bundles/<digest>`: POST asks, PUT sends, both with a ticket; GET reads, with a token."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Final

from aiohttp import StreamReader, web

from runyard.bundles import names
from runyard.bundles.names import Refusal
from runyard_operator.bundles import tokens
from runyard_operator.kube.api import KubeApi
from runyard_operator.storage import manifests, tickets
from runyard_operator.storage.depot import Depot, bundle_name
from runyard_operator.storage.metrics import StoreMetrics
from runyard_operator.storage.ranges import respond
from runyard_operator.storage.refusals import RefusedError

AT_ONCE: Final = 8
"""Uploads that are taken in at the same time; others wait."""
_DIGEST: Final = re.compile(r"(sha256:)?(?P<hex>[0-9a-f]{64})")
_PIECE: Final = 1 << 20


class BundleRoutes:
    """The handlers.

    Args:
        depot: the bundles.
        kube: for tickets and manifests.
        key: shared with the operator.
        metrics: counts uploads.
        now: the wall clock.
    """

    def __init__(
        self,
        depot: Depot,
        kube: KubeApi,
        key: bytes,
        metrics: StoreMetrics,
        now: Callable[[], datetime],
    ) -> None:
        self._depot = depot
        self._kube = kube
        self._key = key
        self._metrics = metrics
        self._now = now
        self._places = asyncio.Semaphore(AT_ONCE)

    def add(self, app: web.Application) -> None:
        """Registers the routes."""
        app.router.add_get("/v1/bundles/{digest}", self.get)
        app.router.add_post("/v1/bundles/{digest}", self.claim)
        app.router.add_put("/v1/bundles/{digest}", self.put)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The archive; HEAD is answered, too."""
        digest = _digest(request)
        token = request.headers.get(tokens.HEADER, "")
        if not tokens.same(token, tokens.get_token(self._key, digest)):
            raise RefusedError(
                403, Refusal.TOKEN, f"the header {tokens.HEADER} does not allow to read {digest}"
            )
        size = await self._depot.size(digest)
        if size is None:
            raise _absent(digest)
        return await respond(
            request, self._depot.backend, bundle_name(digest), size, "application/gzip"
        )

    async def claim(self, request: web.Request) -> web.Response:
        """Whether the namespace has sent it before; then its manifest is there afterwards.

        Where it must be sent, what would be refused is refused now, if the size is told.
        """
        digest = _digest(request)
        namespace = await self._namespace(request, digest)
        size = await self._depot.claimed(namespace, digest)
        if size is None:
            if names.SIZE_HEADER in request.headers:
                await self._depot.check(namespace, digest, _size(request))
            raise _absent(digest)
        await manifests.ensure(self._kube, self._key, namespace, digest, size, self._now())
        return _told(digest, size)

    async def put(self, request: web.Request) -> web.Response:
        """Takes the archive in."""
        digest = _digest(request)
        namespace = await self._namespace(request, digest)
        announced = request.content_length
        if announced is None:
            raise RefusedError(411, Refusal.CONTENT, "the header Content-Length is missing")
        async with self._places:
            size = await self._depot.receive(
                namespace, digest, announced, lambda: _pieces(request.content)
            )
        self._metrics.received(announced)
        await manifests.ensure(self._kube, self._key, namespace, digest, size, self._now())
        return _told(digest, size)

    async def _namespace(self, request: web.Request, digest: str) -> str:
        header = request.headers.get(names.TICKET_HEADER, "")
        return await tickets.check(self._kube, header, digest, self._now())


def _digest(request: web.Request) -> str:
    found = _DIGEST.fullmatch(request.match_info["digest"])
    if found is None:
        raise RefusedError(
            400, Refusal.CONTENT, "the address must end with sha256: and 64 hexadecimal digits"
        )
    return f"sha256:{found['hex']}"


def _size(request: web.Request) -> int:
    said = request.headers.get(names.SIZE_HEADER, "")
    if not (said.isascii() and said.isdecimal() and len(said) < 16):
        raise RefusedError(400, Refusal.CONTENT, f"the header {names.SIZE_HEADER} is no number")
    return int(said)


def _absent(digest: str) -> RefusedError:
    return RefusedError(
        404, Refusal.ABSENT, f"the store does not have {digest}: push it with runyard code push"
    )


def _told(digest: str, size: int) -> web.Response:
    text = json.dumps({"digest": digest, "size": size})
    return web.Response(text=text, content_type="application/json")


async def _pieces(content: StreamReader) -> AsyncIterator[bytes]:
    while piece := await content.read(_PIECE):
        yield piece
