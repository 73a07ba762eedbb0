"""The HTTP server of `/metrics`, `/livez` and `/readyz`, and the judgement behind the last two."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from runyard_operator.kube.api import KubeApi
from runyard_operator.kube.errors import KubeError, Unavailable
from runyard_operator.kube.resources import Ref
from runyard_operator.metrics import Metrics
from runyard_operator.queue import Queue

LAG_SECONDS: Final = 30.0
RUN_SECONDS: Final = 900.0
# The API server sends a bookmark on each watch about once a minute.
SILENT_SECONDS: Final = 150.0
# While the API server is away, silence proves nothing and a restart would not help; but in the
# end it may be us (stale credentials, a dead resolver), and then only a restart does.
CUT_OFF_SECONDS: Final = 900.0
BEAT_SECONDS: Final = 1.0
PROBE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Signs:
    """What liveness is judged by; ages and durations in seconds."""

    since_beat: float
    longest_run: float
    workers: bool
    watches: Mapping[str, float]
    reachable: bool
    since_lease: float = 0.0


def complaints(signs: Signs) -> list[str]:
    """Why the process should be restarted; empty when it is well."""
    found = []
    if signs.since_beat > LAG_SECONDS:
        found.append(f"the event loop has been stuck for {signs.since_beat:.0f} s")
    if signs.since_lease > LAG_SECONDS:
        found.append(f"the lease has not been looked at for {signs.since_lease:.0f} s")
    if not signs.workers:
        found.append("a worker of the queue has ended")
    if signs.longest_run > RUN_SECONDS:
        found.append(f"a reconcile has been running for {signs.longest_run:.0f} s")
    limit = SILENT_SECONDS if signs.reachable else CUT_OFF_SECONDS
    found += [
        f"the watch {path} has been silent for {age:.0f} s"
        for path, age in sorted(signs.watches.items())
        if age > limit
    ]
    return found


class Health:
    """Collects the signs and serves the verdict.

    Args:
        kube: is asked now and then, to tell a dead watch from an API server that is away.
        probe: what to ask for; it need not exist.
        queue: its workers must be alive.
        metrics: are served, and get the lag of the event loop.
        watches: the age of each watch's last proof of life.
        ready: whether the operator works, or could take over at once.
        lease: seconds since the lease was looked at.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        kube: KubeApi,
        probe: Ref,
        queue: Queue,
        metrics: Metrics,
        watches: Callable[[], Mapping[str, float]],
        ready: Callable[[], bool],
        clock: Callable[[], float],
        lease: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._kube = kube
        self._probe = probe
        self._queue = queue
        self._metrics = metrics
        self._watches = watches
        self._ready = ready
        self._lease = lease
        self._clock = clock
        self._beat = clock()
        self._reachable = True
        self._runner: web.AppRunner | None = None

    def signs(self) -> Signs:
        """The signs as they are now. Before the start is over there are no workers to miss."""
        return Signs(
            since_beat=self._clock() - self._beat,
            longest_run=self._queue.longest_run(),
            workers=self._queue.alive or not self._ready(),
            watches=self._watches(),
            reachable=self._reachable,
            since_lease=self._lease(),
        )

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listens; returns the address and the port, which is a free one for port 0.

        Raises:
            OSError: the port is taken.
        """
        app = web.Application()
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._scrape)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._runner = runner
        await web.TCPSite(runner, host, port).start()
        address: tuple[str, int] = runner.addresses[0][:2]
        return address

    async def run(self) -> None:
        """Measures the event loop and asks the API server now and then, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beats())
            group.create_task(self._probes())

    async def close(self) -> None:
        """Stops listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _beats(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            now = self._clock()
            self._metrics.lag(max(now - self._beat - BEAT_SECONDS, 0.0))
            self._beat = now
            self._watches()  # so that the ages are as fine as this beat

    async def _probes(self) -> None:
        while True:
            try:
                await self._kube.get(self._probe)
            except Unavailable:
                self._reachable = False
            except KubeError:
                self._reachable = True  # a refusal is an answer, too
            else:
                self._reachable = True
            await asyncio.sleep(PROBE_SECONDS)

    async def _livez(self, _: web.Request) -> web.Response:
        found = complaints(self.signs())
        return web.Response(status=503 if found else 200, text="\n".join(found or ["ok"]) + "\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        if self._ready():
            return web.Response(text="ok\n")
        return web.Response(
            status=503, text="the cache is not filled, or the lease cannot be read\n"
        )

    async def _scrape(self, _: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._metrics.registry),
            headers={"Content-Type": CONTENT_TYPE_LATEST},
        )
