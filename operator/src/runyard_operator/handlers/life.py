"""Proof of life of the watches: when each of them has last brought anything, bookmarks included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import aiohttp


@dataclass(slots=True)
class _Stream:
    response: aiohttp.ClientResponse
    received: int
    at: float


class Watches:
    """Looks at the answers that kopf's session gets.

    An open connection proves nothing: a dead peer or a proxy in between can keep it open for ever.
    Received bytes do, and the API server sends a bookmark about once a minute.

    Args:
        clock: monotonic seconds.
        listed: is told the plural of each kind that kopf begins to list, or that is not served now.
    """

    def __init__(self, clock: Callable[[], float], listed: Callable[[str], None]) -> None:
        self._clock = clock
        self._listed = listed
        self._streams: dict[str, _Stream] = {}

    def seen(self, request: aiohttp.ClientRequest, response: aiohttp.ClientResponse) -> None:
        """Takes note of an answer of the API server."""
        watch = request.url.query.get("watch") == "true"
        if watch and response.status == 200:
            path = request.url.path
            self._streams[path] = _Stream(response, response.content.total_bytes, self._clock())
        elif "continue" not in request.url.query and response.status in (200, 404):
            self._listed(request.url.name)

    def look(self) -> dict[str, float]:
        """The age in seconds of the last proof of life, by the URL path of the watch."""
        now = self._clock()
        for stream in self._streams.values():
            received = stream.response.content.total_bytes
            if received != stream.received:
                stream.received, stream.at = received, now
        return {path: now - stream.at for path, stream in self._streams.items()}

    def forget(self, plural: str) -> None:
        """Expects nothing more of a kind that is not served any longer."""
        self._streams = {
            path: stream
            for path, stream in self._streams.items()
            if path.rpartition("/")[2] != plural
        }
