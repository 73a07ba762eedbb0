"""The process: puts the parts together, starts them in order, and stops them in order."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import random
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from runyard.api.constants import API_VERSION
from runyard.bundles import names
from runyard_operator import __version__
from runyard_operator.bundles import sweep, tokens
from runyard_operator.config import Config, parse
from runyard_operator.context import Context, utc_now
from runyard_operator.events import EventEmitter
from runyard_operator.flags import UsageError
from runyard_operator.handlers import kinds
from runyard_operator.handlers.life import Watches
from runyard_operator.handlers.sync import Sync
from runyard_operator.handlers.watcher import Watcher
from runyard_operator.health import Health
from runyard_operator.kube import ConfigError, HttpKubeApi, KubeApi, Ref, load_configuration
from runyard_operator.leadership import Leadership
from runyard_operator.lease import LEASE_API, LEASE_KIND, Terms
from runyard_operator.logs.archiver import Archiver
from runyard_operator.logs.store import StoreSink
from runyard_operator.logs.token import Tokens
from runyard_operator.logs_json import configure
from runyard_operator.metrics import Metrics
from runyard_operator.queue import Key, Queue
from runyard_operator.reconcile import dispatch
from runyard_operator.store import Store

logger = logging.getLogger(__name__)

GRACE_SECONDS: Final = 10.0
EVENTS_SECONDS: Final = 2.0
WATCH_SECONDS: Final = 5.0

Build = Callable[[Context], Callable[[Key], Awaitable[float | None]]]


class Operator:
    """One operator: all that `run` needs, wired together.

    Args:
        config: the settings.
        kube: the API server.
        build: makes the reconciler from the context.
        metrics: counters; `kube` may report to the same.
        leadership: without it the operator works at once; with it, while it leads. `kube` should
            be fenced by it.
    """

    def __init__(
        self,
        config: Config,
        kube: KubeApi,
        build: Build,
        metrics: Metrics,
        leadership: Leadership | None = None,
    ) -> None:
        clock, rng = time.monotonic, random.Random()  # noqa: S311 - jitter, not a secret
        self._config = config
        self._kube = kube
        self._leadership = leadership
        self._store = Store()
        self._queue = Queue(
            clock=clock,
            rng=rng,
            group=lambda key: kinds.group(key, self._store),
            done=metrics.reconciled,
        )
        metrics.watch(self._queue, self._store)
        metrics.elect(
            lambda: leadership is None or leadership.leading,
            lambda: leadership.transitions if leadership else 0,
        )
        self._emit = EventEmitter(kube, now=utc_now, clock=clock, instance=platform.node())
        self._archiver = self._new_archiver(kube)
        context = Context(
            kube=kube,
            store=self._store,
            queue=self._queue,
            metrics=metrics,
            config=config,
            now=utc_now,
            emit=self._emit,
            archiver=self._archiver,
        )
        if leadership is not None:
            context = replace(context, epoch=lambda: leadership.epoch, fence=leadership.check)
        self._worker = build(context)
        self._watches = Watches(clock, lambda plural: self._sync.ask(plural))
        self._sync = Sync(
            kube=kube,
            store=self._store,
            queue=self._queue,
            config=config,
        )
        self._watcher = Watcher(
            config=config,
            sync=self._sync,
            store=self._store,
            queue=self._queue,
            metrics=metrics,
            watches=self._watches,
            rng=rng,
        )
        self._health = Health(
            kube=kube,
            probe=Ref(API_VERSION, kinds.PROFILE, "livez", config.operator_namespace),
            queue=self._queue,
            metrics=metrics,
            watches=self._watches.look,
            ready=lambda: self._ready and (leadership is None or leadership.seen),
            clock=clock,
            lease=lambda: leadership.since_try() if leadership and self._ready else 0.0,
        )
        self._ready = False
        self._working = False
        self._leading = asyncio.Event()
        # Whatever writes, or keeps the right to write, beside the queue's workers.
        self._acting: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        # A future and not a task: kopf would wait for a task that is younger than itself.
        self._deaf: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def _new_archiver(self, kube: KubeApi) -> Archiver | None:
        """What keeps logs, where there is a store and nobody has switched it off."""
        config = self._config
        if not (config.store_url and config.log_archive):
            return None
        key = tokens.read_key(config.store_key_file)
        service = f"{config.operator_namespace}/{names.STORE_SERVICE}:{names.STORE_PORT}"
        return Archiver(
            kube,
            StoreSink(config.store_url, key),
            location=lambda folder: f"store:{folder}",
            tokens=Tokens(kube, key, service),
            done=lambda done: self._queue.add(Key("ExecutionUnit", done.namespace, done.name)),
            now=utc_now,
        )

    def stop(self) -> None:
        """Ends `run` in good order."""
        self._stop.set()

    async def run(self, *, signals: bool = False) -> bool:
        """Works until `stop`; whether it ended because it was asked to.

        Args:
            signals: whether SIGTERM and SIGINT stop it.

        Raises:
            OSError: the port of the metrics server is taken.
        """
        if signals:
            self._catch()
        host, port = await self._health.start(self._config.http_host, self._config.http_port)
        logger.info("Runyard %s serves metrics and probes on %s:%d", __version__, host, port)
        stopped = asyncio.create_task(self._stop.wait(), name="stop")
        work = asyncio.create_task(self._work(signals), name="work")
        done, _ = await asyncio.wait({stopped, work}, return_when=asyncio.FIRST_COMPLETED)
        await self._finish(work)
        asked = stopped in done
        stopped.cancel()
        if work.done() and not work.cancelled() and (error := work.exception()) is not None:
            logger.critical("The operator cannot go on", exc_info=error)
        return asked

    async def _work(self, signals: bool) -> None:
        """Everything but the order of the end; never returns, but for an error."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._health.run(), name="health")
            await self._sync.prime()
            group.create_task(self._sync.run(), name="sync")
            group.create_task(self._sync.look_beyond(), name="look beyond")
            # kopf cancels, when it ends, every task that is younger than itself. So those of a
            # leader are there before it, and wait.
            self._queue.start(self._worker, self._config.workers, held=True)
            group.create_task(self._queue.join(), name="queue")
            acting = {
                "events": self._emit.run(),
                "sweep": self._sweep(),
                "election": self._elect(),
            }
            if self._leadership is not None:
                acting["lease"] = self._leadership.keep_time()
            self._acting += [group.create_task(each, name=name) for name, each in acting.items()]
            self._ready = True
            await self._watcher.run(started=self._catch if signals else lambda: None)
            self._deaf.set_result(None)

    async def _elect(self) -> None:
        """Lets the work begin, as soon as this process leads, and then keeps the lease."""
        if self._stop.is_set():
            return
        if self._leadership is None:
            self._begin()
            return
        # What the watches bring meanwhile stays in the store alone: the leader deals with it, and
        # the names of all that ever was would pile up in the queue.
        await self._leadership.acquire(waiting=self._queue.forget)
        self._sync.tell_all()
        self._begin()
        await self._leadership.renew()

    def _begin(self) -> None:
        self._working = True
        self._leading.set()
        self._queue.open()

    async def _sweep(self) -> None:
        """Deletes the code that nothing owns, as long as this process leads."""
        await self._leading.wait()
        await sweep.run(self._kube, self._config.scopes, utc_now)

    async def _finish(self, work: asyncio.Task[None]) -> None:
        """Stops in order: take no more work, let it end, report it, and only then go deaf."""
        self._ready = False
        if not self._working:
            await _cancelled(self._acting)  # nobody is to win the election now
        finished = await self._queue.stop(GRACE_SECONDS)
        if not finished:
            logger.warning("Reconciles were cut off after %d s; they are repeated", GRACE_SECONDS)
        if not work.done():
            await self._emit.drain(EVENTS_SECONDS)
        await _cancelled(self._acting)
        if self._archiver is not None:
            await self._archiver.close()
        if self._leadership is not None:
            await self._leadership.release()
            await self._leadership.close()
        await self._health.close()
        self._watcher.stop()
        if self._watcher.running and not work.done():
            await asyncio.wait(
                {work, self._deaf}, timeout=WATCH_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        work.cancel()
        await asyncio.wait({work})
        await self._kube.close()

    def _catch(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)


async def run(config: Config) -> None:
    """Runs the operator until a signal; without one, ends the process with exit code 1.

    Raises:
        ConfigError: there is no way to the API server.
    """
    metrics = Metrics()
    leadership = await _candidate(config, metrics) if config.leader_elect else None
    kube = HttpKubeApi(
        await load_configuration(config.kubeconfig),
        observe=metrics.called,
        fence=leadership.check if leadership is not None else lambda: None,
    )
    operator = Operator(config, kube, dispatch.build, metrics, leadership)
    ended_well = await operator.run(signals=True)
    if asyncio.all_tasks() - {asyncio.current_task()} or not ended_well:
        # Not by way of the event loop's own end: it waits for every task, and one that is stuck
        # may be the reason why we are here.
        logging.shutdown()
        os._exit(0 if ended_well else 1)


async def _candidate(config: Config, metrics: Metrics) -> Leadership:
    return Leadership(
        # Connections of its own: a renewal never waits behind other requests.
        HttpKubeApi(await load_configuration(config.kubeconfig), observe=metrics.called),
        Ref(LEASE_API, LEASE_KIND, config.lease_name, config.operator_namespace),
        # The name of a pod may come again, and a process must not take its last life's lease for
        # its own.
        f"{platform.node()}_{secrets.token_hex(4)}",
        now=lambda: datetime.now(UTC),
        terms=Terms(config.lease_seconds),
    )


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    """Cancels tasks and waits until they have ended."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


def main() -> None:
    """The console command `runyard-operator`."""
    try:
        config = parse(sys.argv[1:], os.environ)
    except UsageError as error:
        sys.exit(f"runyard-operator: {error}")
    configure(config.log_level, config.log_format)
    try:
        asyncio.run(run(config))
    except (ConfigError, OSError) as error:
        sys.exit(f"runyard-operator: {error}")


if __name__ == "__main__":
    main()
