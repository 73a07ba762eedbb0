"""Connections to the API server, against a small HTTP server that behaves like its watches."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from itertools import islice

import aiohttp
import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from runyard_operator.handlers.life import Watches
from runyard_operator.handlers.watcher import Backoffs
from runyard_operator.kube.transport import watch_session

UNITS = "/apis/runyard.dev/v1alpha1/executionunits"


class Server:
    """Streams what is put into `lines`, and keeps the credentials that it was shown."""

    def __init__(self) -> None:
        self.lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.shown: list[str] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.shown.append(request.headers.get("Authorization", ""))
        if request.path != UNITS:
            raise web.HTTPNotFound
        if "watch" not in request.query:
            return web.json_response({"items": []})
        stream = web.StreamResponse()
        await stream.prepare(request)
        while (line := await self.lines.get()) is not None:
            await stream.write(line)
        return stream


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A running server on a free port."""
    here, app = Server(), web.Application()
    app.router.add_get("/{path:.*}", here.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    here.url = f"http://{host}:{port}"
    yield here
    here.lines.put_nowait(None)
    await runner.cleanup()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_only_received_bytes_prove_life(server: Server) -> None:
    """An open watch ages until the server sends something."""
    clock, listed = Clock(), list[str]()
    watches = Watches(clock, listed.append)
    watches.expect([UNITS])
    assert watches.lacking() == {UNITS}
    async with watch_session(Configuration(host=server.url), limit=4, seen=watches.seen) as session:
        async with session.get(f"{server.url}{UNITS}") as answer:
            assert answer.status == 200
        assert listed == ["executionunits"]
        assert watches.lacking() == {UNITS}
        async with session.get(f"{server.url}{UNITS}?watch=true") as answer:
            assert not watches.lacking()
            clock.now += 60.0
            assert watches.look() == {UNITS: 60.0}
            server.lines.put_nowait(b'{"type":"BOOKMARK"}\n')
            await answer.content.readline()
            assert watches.look() == {UNITS: 0.0}
            clock.now += 30.0
            watches.expect([UNITS])
            assert watches.lacking() == {UNITS}
            assert watches.look() == {UNITS: 30.0}
            watches.expect([])
            assert watches.look() == {}


async def test_a_kind_that_went_away_is_looked_at(server: Server) -> None:
    """A 404 asks for a comparison of the kind, a further page of a list does not."""
    listed: list[str] = []
    watches = Watches(Clock(), listed.append, hold=0.0)
    async with watch_session(Configuration(host=server.url), limit=4, seen=watches.seen) as session:
        for path in ("/apis/x/v1/trainjobs?watch=true", f"{UNITS}?continue=abc"):
            async with session.get(f"{server.url}{path}"):
                pass
    assert listed == ["trainjobs"]


async def test_each_request_carries_the_token_of_the_moment(server: Server) -> None:
    """A token that is renewed in its file is used without a new session."""
    configuration = Configuration(host=server.url)
    tokens = iter(("one", "two"))

    def refresh(target: Configuration) -> None:
        target.api_key["BearerToken"] = f"Bearer {next(tokens)}"

    configuration.refresh_api_key_hook = refresh  # type: ignore[assignment]

    async def seen(request: aiohttp.ClientRequest, response: aiohttp.ClientResponse) -> None:
        return None

    async with watch_session(configuration, limit=4, seen=seen) as session:
        for _ in range(2):
            async with session.get(f"{server.url}{UNITS}"):
                pass
    assert server.shown == ["Bearer one", "Bearer two"]


def test_requests_are_tried_again_for_ever() -> None:
    """Pauses begin short, grow to ten seconds, and never end."""
    pauses = list(islice(Backoffs(random.Random(7)), 500))
    assert pauses[0] <= 0.5
    assert 5.0 <= pauses[-1] <= 10.0
    assert len(set(pauses)) > 400
