"""`/v1/logs/<namespace>/<unit uid>/<attempt>/<file>`: the operator writes, a namespace reads."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from typing import Final

from aiohttp import web

from runyard.bundles.names import Refusal, timestamp
from runyard_operator.bundles import tokens
from runyard_operator.storage.backend import Backend, NoSpaceError
from runyard_operator.storage.metrics import StoreMetrics
from runyard_operator.storage.ranges import respond
from runyard_operator.storage.refusals import RefusedError

LOGS: Final = "logs/"
DIGEST_HEADER: Final = "X-Runyard-Digest"
WAIT_SECONDS: Final = 60.0
_PIECE: Final = 1 << 20
_PARTS: Final = {
    "namespace": re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"),
    "unit": re.compile(r"[A-Za-z0-9]([-A-Za-z0-9]{0,62}[A-Za-z0-9])?"),
    "attempt": re.compile(r"[0-9]{1,6}"),
    "file": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"),
}


class LogRoutes:
    """The handlers.

    Args:
        backend: where the logs lie, below `logs/`.
        key: shared with the operator.
        metrics: counts bytes.
    """

    def __init__(self, backend: Backend, key: bytes, metrics: StoreMetrics) -> None:
        self._backend = backend
        self._key = key
        self._metrics = metrics

    def add(self, app: web.Application) -> None:
        """Registers the routes."""
        app.router.add_get("/v1/logs/{namespace}/{unit}", self.list)
        app.router.add_get("/v1/logs/{namespace}/{unit}/{attempt}/{file}", self.get)
        app.router.add_put("/v1/logs/{namespace}/{unit}/{attempt}/{file}", self.put)

    async def put(self, request: web.Request) -> web.Response:
        """Keeps a whole log, in place of what was there; tells its bytes and its digest."""
        path = _path(request, "namespace", "unit", "attempt", "file")
        self._allow(request, tokens.put_logs_token(self._key, path))
        hasher, count = hashlib.sha256(), 0
        try:
            async with self._backend.writing() as incoming:
                while True:
                    async with asyncio.timeout(WAIT_SECONDS):
                        piece = await request.content.read(_PIECE)
                    if not piece:
                        break
                    hasher.update(piece)
                    count += len(piece)
                    await incoming.write(piece)
                digest = f"sha256:{hasher.hexdigest()}"
                _check(request, digest, count)
                await incoming.keep(f"{LOGS}{path}")
        except NoSpaceError as error:
            raise RefusedError(
                507, Refusal.DISK_FULL, "the disk of the store is full: give it a bigger volume"
            ) from error
        except TimeoutError as error:
            raise RefusedError(408, Refusal.CONTENT, "the log stopped coming") from error
        self._metrics.received(count)
        return _json({"sizeBytes": count, "digest": digest})

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The log, or the range that is asked for; HEAD is answered, too."""
        path = _path(request, "namespace", "unit", "attempt", "file")
        self._allow(request, tokens.logs_token(self._key, request.match_info["namespace"]))
        size = await self._backend.size(f"{LOGS}{path}")
        if size is None:
            raise RefusedError(404, Refusal.ABSENT, f"there is no archived log {path}")
        kind = "text/plain; charset=utf-8"
        return await respond(request, self._backend, f"{LOGS}{path}", size, kind)

    async def list(self, request: web.Request) -> web.Response:
        """The files of a unit: `<attempt>/<file>`, bytes, and when they were written."""
        path = _path(request, "namespace", "unit")
        self._allow(request, tokens.logs_token(self._key, request.match_info["namespace"]))
        prefix = f"{LOGS}{path}/"
        found = [
            {
                "name": each.name.removeprefix(prefix),
                "sizeBytes": each.size,
                "modified": timestamp(each.modified),
            }
            for each in await self._backend.entries(prefix)
        ]
        return _json({"files": found})

    def _allow(self, request: web.Request, wanted: str) -> None:
        if not tokens.same(request.headers.get(tokens.HEADER, ""), wanted):
            raise RefusedError(
                403, Refusal.TOKEN, f"the header {tokens.HEADER} does not allow this"
            )


def _path(request: web.Request, *names: str) -> str:
    for name in names:
        if _PARTS[name].fullmatch(request.match_info[name]) is None:
            raise RefusedError(400, Refusal.CONTENT, f"the address has no valid {name}")
    return "/".join(request.match_info[name] for name in names)


def _check(request: web.Request, digest: str, count: int) -> None:
    announced = request.content_length
    wanted = request.headers.get(DIGEST_HEADER, digest)
    if announced is not None and count != announced:
        raise RefusedError(422, Refusal.CONTENT, f"only {count} of {announced} bytes came")
    if not tokens.same(wanted, digest):
        raise RefusedError(422, Refusal.CONTENT, f"the log has the digest {digest}, not {wanted}")


def _json(content: object) -> web.Response:
    return web.Response(text=json.dumps(content), content_type="application/json")
