"""A TCP proxy before the API server that cuts, delays and swallows what goes through it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import yaml


class Way(StrEnum):
    """Which way bytes go."""

    REQUESTS = "requests"
    ANSWERS = "answers"


class Proxy:
    """Serves on a port of its own while the block lasts; TLS goes through it unread.

    Attributes:
        port: on 127.0.0.1.
        cuts: how many connections were cut so far.
        carried: how many bytes went each way so far, those of TLS included.
    """

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        self.cuts = 0
        self.carried = dict.fromkeys(Way, 0)
        self._target = host, port
        self._delay = 0.0
        self._swallowed: frozenset[Way] = frozenset()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._server = self._do(self._listen())
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def delay(self, seconds: float) -> None:
        """From now on, everything takes that much longer."""
        self._delay = seconds

    def swallow(self, *ways: Way) -> None:
        """From now on, bytes that go one of these ways never arrive; connections stay open."""
        self._swallowed = frozenset(ways)

    def cut(self) -> None:
        """Breaks all connections; new ones can be made."""
        self._do(self._cut())

    def calm(self) -> None:
        """Ends all faults; what has lost bytes is cut, since nothing good can come of it."""
        self._delay = 0.0
        if self._swallowed:
            self._swallowed = frozenset()
            self.cut()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _cut(self) -> None:
        self.cuts += len(self._open) // 2
        for each in self._open:
            each.transport.abort()

    async def _close(self) -> None:
        self._server.close()
        await self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        opened = {writer}
        try:
            beyond, onward = await asyncio.open_connection(*self._target)
            self._open.add(onward)
            opened.add(onward)
            await asyncio.gather(
                self._pump(reader, onward, Way.REQUESTS), self._pump(beyond, writer, Way.ANSWERS)
            )
        except (OSError, asyncio.CancelledError):
            pass  # an end like any other, for both sides
        finally:
            for each in opened:
                self._open.discard(each)
                each.transport.abort()
            self._tasks.discard(task)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way
    ) -> None:
        while data := await reader.read(65536):
            if self._delay:
                await asyncio.sleep(self._delay)
            self.carried[way] += len(data)
            if way not in self._swallowed:
                writer.write(data)
                await writer.drain()
        raise ConnectionResetError  # the other direction ends with it


def behind(proxy: Proxy, kubeconfig: Path, copy: Path) -> Path:
    """A copy of the kubeconfig whose way to the API server is the proxy."""
    config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    for each in config["clusters"]:
        each["cluster"]["server"] = f"https://127.0.0.1:{proxy.port}"
    copy.write_text(yaml.safe_dump(config), encoding="utf-8")
    return copy


def address(kubeconfig: Path) -> tuple[str, int]:
    """Host and port of the API server."""
    config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    server = urlsplit(config["clusters"][0]["cluster"]["server"])
    assert server.hostname is not None
    assert server.port is not None
    return server.hostname, server.port
