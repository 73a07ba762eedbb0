"""Events for `kubectl describe`: posted in the background, few, and never of any consequence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from runyard_operator.kube.api import KubeApi, Object
from runyard_operator.kube.errors import KubeError

logger = logging.getLogger(__name__)

EventType = Literal["Normal", "Warning"]

MAX_MESSAGE: Final = 1024  # the API server refuses longer ones
SAME_SECONDS: Final = 60.0
BURST: Final = 100
PER_SECOND: Final = 10.0
COMPONENT: Final = "runyard-operator"


@dataclass(slots=True)
class Bucket:
    """A token bucket: at most `burst` at once and `rate` a second for long."""

    burst: float
    rate: float
    level: float
    filled: float

    def take(self, now: float) -> bool:
        """Takes one token if there is one."""
        self.level = min(self.burst, self.level + (now - self.filled) * self.rate)
        self.filled = now
        if self.level < 1.0:
            return False
        self.level -= 1.0
        return True


class EventEmitter:
    """Posts core/v1 Events about objects.

    The same event about the same object is posted once a minute at most, and a flood is cut off:
    events are for people, and they share the API server's storage with everything else.

    Args:
        kube: the API server.
        now: the wall clock, aware of its time zone.
        clock: monotonic seconds.
        instance: who reports, for example the pod's name.
    """

    def __init__(
        self,
        kube: KubeApi,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        instance: str,
    ) -> None:
        self._kube = kube
        self._now = now
        self._clock = clock
        self._instance = instance
        self._bucket = Bucket(BURST, PER_SECOND, BURST, clock())
        self._recent: dict[tuple[str, str, str, str], float] = {}
        self._waiting: asyncio.Queue[Object] = asyncio.Queue(BURST)

    async def __call__(
        self, obj: Mapping[str, Any], *, type_: EventType, reason: str, message: str
    ) -> bool:
        """Queues an event about `obj` (a dict with apiVersion, kind and metadata).

        Args:
            obj: what it is about.
            type_: Normal or Warning.
            reason: a CamelCase constant.
            message: for people; cut at 1024 characters.

        Returns whether it will be posted.
        """
        now = self._clock()
        same = (obj["metadata"].get("uid", ""), type_, reason, message)
        if now - self._recent.get(same, float("-inf")) < SAME_SECONDS:
            return False
        if self._waiting.full() or not self._bucket.take(now):
            logger.debug("An event was dropped, there are too many: %s %s", reason, message)
            return False
        if len(self._recent) > 10 * BURST:
            self._recent = {k: at for k, at in self._recent.items() if now - at < SAME_SECONDS}
        self._recent[same] = now
        self._waiting.put_nowait(self._event(obj, type_, reason, message))
        return True

    async def run(self) -> None:
        """Posts what is queued, one after the other, for ever."""
        while True:
            event = await self._waiting.get()
            try:
                await self._kube.create(event)
            except KubeError as error:
                # For instance because the namespace is being deleted.
                logger.info("An event could not be posted: %s", error)
            finally:
                self._waiting.task_done()

    async def drain(self, seconds: float) -> None:
        """Waits for what is queued, but not longer than this."""
        try:
            async with asyncio.timeout(seconds):
                await self._waiting.join()
        except TimeoutError:
            logger.info("Some events were not posted before the end")

    def _event(self, obj: Mapping[str, Any], type_: EventType, reason: str, message: str) -> Object:
        metadata = obj["metadata"]
        namespace = metadata.get("namespace", "default")
        time = self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "apiVersion": "v1",
            "kind": "Event",
            # 63: the API server adds a random end and cuts the name if it gets too long.
            "metadata": {"generateName": f"{metadata['name'][:63]}-", "namespace": namespace},
            "involvedObject": {
                "apiVersion": obj["apiVersion"],
                "kind": obj["kind"],
                "name": metadata["name"],
                "namespace": metadata.get("namespace", ""),
                "uid": metadata.get("uid", ""),
                "resourceVersion": metadata.get("resourceVersion", ""),
            },
            "type": type_,
            "reason": reason,
            "message": message[:MAX_MESSAGE],
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._instance[:128],
        }
