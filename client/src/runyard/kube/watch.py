"""A list kept up to date by a Kubernetes watch, through restarts of the API server."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from runyard.kube.client import KubeClient, Object, Resource
from runyard.kube.errors import ApiError, KubeError, UnreachableError

if TYPE_CHECKING:
    from runyard.kube.transport import Stream

_WATCH_SECONDS: Final = 45
# A watch dies silently when a network path does: the server ends each one after _WATCH_SECONDS, so
# a longer silence means that nobody is there.
_IDLE_SECONDS: Final = 60.0
_BACKOFF: Final = (0.2, 0.5, 1.0, 2.0, 3.0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All objects that match, by name."""

    items: dict[str, Object]


@dataclass(frozen=True, slots=True)
class Interrupted:
    """No connection; the watch goes on trying. Ends with the next Snapshot."""

    message: str


@dataclass(frozen=True, slots=True)
class Broken:
    """It cannot go on: the server refuses, or the output has gone."""

    error: KubeError | OSError


Event = Snapshot | Interrupted | Broken


@dataclass(slots=True)
class Watch:
    """Lists, then follows; `events` gives a Snapshot after every change until `stop`."""

    client: KubeClient
    resource: Resource
    namespace: str
    selectors: dict[str, str]
    sleep: Callable[[float], None] = time.sleep
    _items: dict[str, Object] = field(default_factory=dict)
    _version: str = ""
    _stopped: threading.Event = field(default_factory=threading.Event)
    _stream: Stream | None = None
    _failures: int = 0

    def stop(self) -> None:
        """Ends `events` from another thread."""
        self._stopped.set()
        if self._stream is not None:
            self._stream.close()

    def events(self) -> Iterator[Event]:
        """What happens, for as long as it is iterated."""
        while not self._stopped.is_set():
            try:
                yield from self._once()
                self.sleep(_BACKOFF[0])  # a proxy may end each watch at once
            except KubeError as error:
                if self._stopped.is_set():
                    return
                self._version = ""  # what was missed meanwhile is found by listing
                if _too_old(error):
                    self.sleep(_BACKOFF[0])
                    continue
                if not _passing(error):
                    yield Broken(error)
                    return
                yield Interrupted(str(error))
                self.sleep(_BACKOFF[min(self._failures, len(_BACKOFF) - 1)])
                self._failures += 1

    def _once(self) -> Iterator[Snapshot]:
        """A list where needed, then one watch to its end."""
        if not self._version:
            self._list()
            yield Snapshot(dict(self._items))
        for _ in self._changes():
            self._failures = 0
            yield Snapshot(dict(self._items))
        self._failures = 0

    def _list(self) -> None:
        items, self._version = self.client.list_versioned(
            self.resource, self.namespace, self.selectors
        )
        self._items = {each["metadata"]["name"]: each for each in items}

    def _changes(self) -> Iterator[None]:
        query = {
            **self.selectors,
            "watch": "true",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        path = self.resource.path(self.namespace)
        with self.client.stream(path, query, _IDLE_SECONDS) as stream:
            self._stream = stream
            for line in stream.lines():
                if line.strip() and self._take(line):
                    yield

    def _take(self, line: bytes) -> bool:
        """Applies one event; whether the objects changed."""
        try:
            event = json.loads(line)
        except ValueError as error:  # cut off in the middle: the connection broke
            raise UnreachableError(f"the watch ended in the middle of an event: {error}") from error
        kind, item = event["type"], event["object"]
        if kind == "ERROR":
            raise ApiError(int(item.get("code") or 500), item, "GET", "")
        self._version = item["metadata"]["resourceVersion"]
        if kind == "BOOKMARK":
            return False
        name = item["metadata"]["name"]
        if kind == "DELETED":
            self._items.pop(name, None)
        else:
            self._items[name] = item
        return True


def _too_old(error: KubeError) -> bool:
    """Whether the resourceVersion has been compacted away: list again."""
    return isinstance(error, ApiError) and error.code == 410


def _passing(error: KubeError) -> bool:
    """Whether the same request may well succeed a little later."""
    if isinstance(error, ApiError):
        return error.code >= 500 or error.code == 429
    return isinstance(error, UnreachableError)


def pump(watch: Watch, into: queue.Queue[tuple[str, Event]], name: str) -> threading.Thread:
    """Runs the watch in a thread that puts (`name`, event) into the queue."""

    def run() -> None:
        for event in watch.events():
            into.put((name, event))

    thread = threading.Thread(target=run, name=f"watch-{name}", daemon=True)
    thread.start()
    return thread
