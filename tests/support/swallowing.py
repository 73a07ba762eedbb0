"""A TCP proxy whose connections can die without a sign: open, and no byte ever comes again."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.kubectl import Kubectl


class Swallowing:
    """Forwards to one address; see `swallow`."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._dead = asyncio.Event()
        self.port = 0

    def swallow(self) -> None:
        """From now on nothing comes or goes on the connections that are open now."""
        self._dead.set()
        self._dead = asyncio.Event()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listens on a free port of loopback."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._serve(reader, writer, self._dead)
        self._tasks.discard(task)
        writer.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, dead: asyncio.Event
    ) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        pumps = [
            asyncio.create_task(_pump(reader, far_writer)),
            asyncio.create_task(_pump(far_reader, writer)),
        ]
        death = asyncio.create_task(_until(dead))
        try:
            await asyncio.wait({*pumps, death}, return_when=asyncio.FIRST_COMPLETED)
            for each in pumps:
                each.cancel()
            await asyncio.wait(pumps)
            if death.done():
                # Neither side learns of it until it gives up by itself.
                while await reader.read(65536):
                    pass
        finally:
            for each in (*pumps, death):
                each.cancel()
            far_writer.close()


async def _until(event: asyncio.Event) -> None:
    await event.wait()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


@contextlib.asynccontextmanager
async def swallowing(kube: Kubectl, path: Path) -> AsyncIterator[Swallowing]:
    """A proxy before the API server; the kubeconfig at `path` leads by way of it."""
    config = json.loads(kube.run("config", "view", "--raw", "-o", "json"))
    cluster = config["clusters"][0]["cluster"]
    address = urlsplit(cluster["server"])
    proxy = Swallowing(address.hostname or "", address.port or 443)
    async with proxy.serving():
        cluster["server"] = f"https://127.0.0.1:{proxy.port}"
        await asyncio.to_thread(path.write_text, json.dumps(config))
        yield proxy
