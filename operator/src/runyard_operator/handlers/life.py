"""Proof of life of the watches: when each of them has last brought anything, bookmarks included."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import aiohttp

HOLD_SECONDS: Final = 60.0


@dataclass(slots=True)
class _Stream:
    at: float
    response: aiohttp.ClientResponse | None = None
    received: int = 0


class Watches:
    """Looks at the answers that kopf's session gets.

    An open connection proves nothing: a dead peer or a proxy in between can keep it open for ever.
    Received bytes do, and the API server sends a bookmark about once a minute.

    Args:
        clock: monotonic seconds.
        listed: is told the plural of each kind that kopf begins to list, or that is not served now.
        hold: for how many seconds a 404 is kept back.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        listed: Callable[[str], None],
        *,
        hold: float = HOLD_SECONDS,
    ) -> None:
        self._clock = clock
        self._hold = hold
        self._listed = listed
        self._streams: dict[str, _Stream] = {}

    def expect(self, paths: Iterable[str]) -> None:
        """Expects watches of these URL paths, and no others, to be opened anew.

        A path that was expected before keeps its age: trying again is no proof of life.
        """
        now = self._clock()
        self._streams = {
            path: _Stream(self._streams[path].at if path in self._streams else now)
            for path in paths
        }

    async def seen(self, request: aiohttp.ClientRequest, response: aiohttp.ClientResponse) -> None:
        """Takes note of an answer of the API server.

        A 404 means that a kind has been uninstalled. kopf falls apart over it, and may never come
        to its end; so it is kept waiting for the answer until it has been ended in good order.
        """
        path, query = request.url.path, request.url.query
        if query.get("watch") == "true" and response.status == 200:
            if path in self._streams:
                received = response.content.total_bytes
                self._streams[path] = _Stream(self._clock(), response, received)
        elif "continue" not in query and response.status in (200, 404):
            self._listed(request.url.name)
            if response.status == 404:
                await asyncio.sleep(self._hold)

    def lacking(self) -> frozenset[str]:
        """The expected paths that have not been opened yet."""
        return frozenset(path for path, each in self._streams.items() if each.response is None)

    def look(self) -> dict[str, float]:
        """The age in seconds of the last proof of life, by the URL path of the watch."""
        now = self._clock()
        for stream in self._streams.values():
            if stream.response is None:
                continue
            received = stream.response.content.total_bytes
            if received != stream.received:
                stream.received, stream.at = received, now
        return {path: now - stream.at for path, stream in self._streams.items()}
