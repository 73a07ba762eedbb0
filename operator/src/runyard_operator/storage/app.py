"""The HTTP application of the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Final

import aiohttp
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from runyard_operator.kube.api import KubeApi
from runyard_operator.storage.backend import Backend
from runyard_operator.storage.bundles import BundleRoutes
from runyard_operator.storage.depot import BUNDLES, Depot
from runyard_operator.storage.logs import LOGS, LogRoutes
from runyard_operator.storage.metrics import StoreMetrics
from runyard_operator.storage.refusals import RefusedError, answer

logger = logging.getLogger(__name__)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_KINDS: Final = ("bundles", "logs")


class Busy:
    """Counts requests, so that a server that ends can let them end first.

    aiohttp's own shutdown breaks off bodies that are being read.
    """

    def __init__(self) -> None:
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Around a request."""
        self._count += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._count -= 1
            if self._count == 0:
                self._idle.set()

    async def ended(self, seconds: float) -> bool:
        """Whether all requests have ended before so many seconds were over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        return self._count == 0


def application(
    depot: Depot,
    kube: KubeApi,
    key: bytes,
    *,
    now: Callable[[], datetime],
    ready: Callable[[], bool] = lambda: True,
    logs: Backend | None = None,
    busy: Busy | None = None,
) -> web.Application:
    """All routes.

    Args:
        depot: the bundles.
        kube: for tickets and manifests.
        key: shared with the operator.
        now: the wall clock.
        ready: whether new requests are welcome.
        logs: where logs lie, if not beside the bundles.
        busy: knows of the requests that are under way.
    """
    metrics = StoreMetrics()
    place = logs or depot.backend
    app = web.Application(middlewares=[_answers(metrics, busy or Busy())])
    BundleRoutes(depot, kube, key, metrics, now).add(app)
    LogRoutes(place, key, metrics).add(app)

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if ready() else web.Response(status=503, text="ending\n")

    async def scrape(_: web.Request) -> web.Response:
        kinds = {}
        for kind, prefix in (("bundles", BUNDLES), ("logs", LOGS)):
            # On the volume alone: to list a bucket at each scrape would cost money.
            found = await depot.backend.entries(prefix)
            kinds[kind] = (len(found), sum(each.size for each in found))
        metrics.holds(kinds, await depot.backend.free())
        body = generate_latest(metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", scrape)
    return app


def _answers(metrics: StoreMetrics, busy: Busy) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Turns refusals into answers, and counts."""

    @web.middleware
    async def middleware(request: web.Request, handler: _Handler) -> web.StreamResponse:
        kind = request.path.split("/")[2] if request.path.startswith("/v1/") else ""
        status = 500
        try:
            with busy.one():
                response = await handler(request)
            status = response.status
        except RefusedError as error:
            status = error.code
            logger.info("%s %s is refused: %s", request.method, request.path, error)
            response = answer(error)
        except web.HTTPException as error:
            status = error.status
            raise
        except (aiohttp.ClientError, ConnectionError) as error:
            status = 400
            logger.info("%s %s broke off: %s", request.method, request.path, error)
            response = web.Response(status=400)
        finally:
            if kind in _KINDS:
                metrics.answered(request.method, kind, status)
        return response

    return middleware
