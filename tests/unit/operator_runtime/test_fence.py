"""What stands between the client and the wire: no write goes out unless the fence lets it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from runyard_operator.kube import HttpKubeApi, Ref
from runyard_operator.leadership import NotLeadingError

JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "a", "namespace": "team", "uid": "u", "resourceVersion": "1"},
}
REF = Ref.of(JOB)
UNPINNED = {**JOB, "metadata": {"name": "a", "namespace": "team", "uid": "u"}}

WRITES: dict[str, Callable[[HttpKubeApi], Awaitable[Any]]] = {
    "create": lambda api: api.create(JOB),
    "replace": lambda api: api.replace(JOB),
    "apply": lambda api: api.apply(JOB, manager="m"),
    "apply status": lambda api: api.apply(UNPINNED, manager="m", subresource="status"),
    "patch": lambda api: api.json_patch(REF, []),
    "delete": lambda api: api.delete(REF),
}
READS: dict[str, Callable[[HttpKubeApi], Awaitable[Any]]] = {
    "get": lambda api: api.get(REF),
    "list": lambda api: api.list("batch/v1", "Job", namespace="team"),
    "log": lambda api: api.pod_log(
        Ref("v1", "Pod", "a", "team"), container="c", tail_lines=1, limit_bytes=1
    ),
}


class Server:
    """Answers everything, and keeps the methods of the requests."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.methods.append(request.method)
        return web.json_response({**JOB, "items": []})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A running server on a free port."""
    here, app = Server(), web.Application()
    app.router.add_route("*", "/{path:.*}", here.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    here.url = f"http://{host}:{port}"
    yield here
    await runner.cleanup()


def closed() -> None:
    raise NotLeadingError("closed")


@pytest.mark.parametrize("name", WRITES)
async def test_no_write_passes_a_closed_fence(server: Server, name: str) -> None:
    """Whatever the verb; a read that belongs to it may go out, the write behind it may not."""
    api = HttpKubeApi(Configuration(host=server.url), fence=closed)
    with pytest.raises(NotLeadingError):
        await WRITES[name](api)
    assert set(server.methods) <= {"GET"}
    await api.close()
    api = HttpKubeApi(Configuration(host=server.url))
    await WRITES[name](api)
    assert set(server.methods) - {"GET"}
    await api.close()


@pytest.mark.parametrize("name", READS)
async def test_a_standby_may_read(server: Server, name: str) -> None:
    """It keeps its cache warm."""
    api = HttpKubeApi(Configuration(host=server.url), fence=closed)
    await READS[name](api)
    assert server.methods == ["GET"]
    await api.close()


async def test_the_fence_is_asked_after_the_last_read(server: Server) -> None:
    """A lease that runs out while the resourceVersion is read stops the write that follows."""

    def closes() -> None:
        if server.methods:
            closed()

    api = HttpKubeApi(Configuration(host=server.url), fence=closes)
    with pytest.raises(NotLeadingError):
        await WRITES["apply status"](api)
    assert server.methods == ["GET"]
    await api.close()
