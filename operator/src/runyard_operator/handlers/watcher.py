"""kopf as the watcher: no handler here keeps state, writes to an object, or takes any time."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, cast

import aiohttp
import kopf

from runyard_operator.config import Config
from runyard_operator.handlers.kinds import WATCHED, Watched, keys
from runyard_operator.handlers.life import Watches
from runyard_operator.handlers.sync import Sync
from runyard_operator.kube.api import Object
from runyard_operator.kube.resources import Ref
from runyard_operator.kube.transport import load_configuration, watch_session
from runyard_operator.metrics import Metrics
from runyard_operator.queue import Queue
from runyard_operator.store import Store

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 2.0
LACKING_LOOKS: Final = 8
END_SECONDS: Final = 20.0
GOODBYE_SECONDS: Final = 0.5
# A watch that brings nothing for that long is opened anew, whatever its connection says. The API
# server sends a bookmark about once a minute.
SILENT_SECONDS: Final = 75.0


class StuckError(Exception):
    """kopf can neither go on nor end: only a new process helps."""


class Backoffs:
    """Seconds between the tries of a request: for ever, soon at first, and never in step.

    kopf ends the whole process when its last try fails, which helps nobody while the API server
    is down: the watches must simply come back with it.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def __iter__(self) -> Iterator[float]:
        ceiling = 0.5
        while True:
            yield self._rng.uniform(ceiling / 2, ceiling)
            ceiling = min(ceiling * 2, 10.0)


class _NoMemory(kopf.DiffBaseStorage):
    """Keeps kopf from copying each object to tell what has changed in it: nobody asks here."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        return None


class Watcher:
    """Feeds the store and the queue from the API server's watches.

    kopf finds out by itself, once, which kinds the API server has. Asked while the API server is
    starting, it gets half an answer and is deaf to the rest for good; and a kind that is installed
    later it would learn of only with rights on CustomResourceDefinitions. So kopf lives as long as
    it watches just the kinds that are there, and is started anew otherwise.

    Args:
        config: which namespaces to watch.
        sync: knows which kinds are served.
        store: is told of every object.
        queue: is given the keys that an event concerns.
        metrics: counts the events.
        watches: learns of the connections.
        rng: for the jitter of retries.
    """

    def __init__(
        self,
        *,
        config: Config,
        sync: Sync,
        store: Store,
        queue: Queue,
        metrics: Metrics,
        watches: Watches,
        rng: random.Random,
    ) -> None:
        self._config = config
        self._sync = sync
        self._store = store
        self._queue = queue
        self._metrics = metrics
        self._watches = watches
        self._rng = rng
        self._sessions: list[aiohttp.ClientSession] = []
        self._over = asyncio.Event()
        self._stopping = False
        self.running = False

    def stop(self) -> None:
        """Ends `run`."""
        self._stopping = True
        self._over.set()

    async def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Watches until `stop`.

        Args:
            started: is called each time that kopf has taken over the signals of the process, to
                take them back: it would stop itself first, while reconciles are still running.

        Raises:
            StuckError: kopf does not end.
            Exception: whatever ended kopf; the process cannot go on without watches.
        """
        self.running = True
        while not self._stopping:
            # What was there a moment ago may be gone: that, too, ends a life that lacks a watch.
            served = await self._sync.look()
            self._watches.expect(
                each.resource.path(scope) for each in served for scope in self._config.scopes
            )
            self._over.clear()
            guard = asyncio.create_task(self._guard(served), name="watch guard")
            try:
                await self._until_over(served, started)
            except StuckError:
                raise
            except Exception as error:  # the top of the watches: any end of kopf's, for any reason
                if self._stopping:
                    # It was stopped amid its start; there is nothing left to go wrong.
                    logger.debug("kopf ended with an error", exc_info=error)
                elif await self._sync.look() == served:
                    raise
                else:
                    logger.warning("The watches have ended, and begin anew: %s", error)
            else:
                if not self._over.is_set():
                    raise RuntimeError("kopf has ended by itself")
            finally:
                guard.cancel()
                await self._hang_up()

    async def _until_over(self, served: frozenset[Watched], started: Callable[[], None]) -> None:
        over = asyncio.create_task(self._over.wait(), name="watches over")
        life = asyncio.create_task(self._live(served, started), name="kopf")
        await asyncio.wait({over, life}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        done, _ = await asyncio.wait({life}, timeout=END_SECONDS)
        if not done:
            raise StuckError(f"kopf did not end within {END_SECONDS:.0f} s")
        await life

    async def _live(self, served: frozenset[Watched], started: Callable[[], None]) -> None:
        # kopf cancels, when it ends, every task that is younger than itself.
        ours = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=self._registry(served),
            settings=self._settings(),
            clusterwide=not self._config.namespaces,
            namespaces=self._config.namespaces,
            standalone=True,
            # Unused without peering. By itself kopf looks up the user's name, and the image's user
            # has none.
            identity=cast("Any", "runyard-operator"),
            stop_flag=self._over,
        )
        started()
        await kopf.run_tasks(tasks, ignored=ours)

    async def _guard(self, served: frozenset[Watched]) -> None:
        """Ends this life of kopf's when it does not watch what it should."""
        patience = LACKING_LOOKS
        while patience and self._sync.served == served:
            await asyncio.sleep(LOOK_SECONDS)
            lacking = self._watches.lacking()
            patience = patience - 1 if lacking else LACKING_LOOKS
        if patience:
            logger.info("The kinds that are served have changed; the watches begin anew")
        else:
            logger.warning("Not watched: %s; the watches begin anew", ", ".join(sorted(lacking)))
        self._over.set()

    def take_in(self, event: dict[str, Any], **_: Any) -> bool:
        """Takes one event of a watch in; kopf has nothing more to do with it.

        It is the filter of a handler that is never called: kopf's way to a filter costs a fraction
        of its way to a handler, and it is gone for each event of each watch.
        """
        try:
            self._note(cast("Object", event["object"]), gone=event["type"] == "DELETED")
        except Exception:  # as with a handler: the next event, or the next comparison, mends it
            logger.exception("An event could not be taken in")
        return False

    def _note(self, obj: Object, *, gone: bool) -> None:
        self._metrics.watched(obj["kind"])
        before = None if gone else self._store.get(Ref.of(obj))
        if self._store.delete(obj) if gone else self._store.hear(obj):
            for key in keys(obj, self._store, self._config.operator_namespace, before=before):
                self._queue.add(key)

    async def _never(self, **_: Any) -> None:
        """The handler that `take_in` keeps from being called."""

    def _registry(self, served: frozenset[Watched]) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login)
        handler = cast("Callable[..., Awaitable[None]]", self._never)
        take_in = cast("Callable[..., bool]", self.take_in)
        for place in (each.resource for each in served):
            kopf.on.event(
                place.group, place.version, place.plural, registry=registry, when=take_in
            )(handler)
        return registry

    async def _login(self, **_: Any) -> kopf.AiohttpSession:
        # Read anew each time: kopf asks again when the API server has refused the old credentials.
        configuration = await load_configuration(self._config.kubeconfig)
        streams = len(WATCHED) * len(self._config.scopes)
        session = watch_session(configuration, limit=streams + 8, seen=self._watches.seen)
        self._sessions.append(session)
        return kopf.AiohttpSession(server=configuration.host, aiohttp_session=session)

    async def _hang_up(self) -> None:
        """Closes what kopf leaves open when it ends with an error."""
        while self._sessions:
            await self._sessions.pop().close()
        # A watch that is closed amid its stream says goodbye to the server and waits for the
        # answer; the connection is given up only then.
        await asyncio.sleep(GOODBYE_SECONDS)

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.peering.standalone = True
        settings.scanning.disabled = True
        settings.networking.request_timeout = 60
        settings.networking.connect_timeout = 5
        settings.networking.error_backoffs = Backoffs(self._rng)
        settings.watching.chunk_size = 500
        settings.watching.server_timeout = 300
        settings.watching.client_timeout = 330
        settings.watching.inactivity_timeout = SILENT_SECONDS
        # A worker of kopf's stays with each object that long after its last event.
        settings.queueing.idle_timeout = 0.1
        settings.persistence.diffbase_storage = _NoMemory()
        selectors = settings.watching.label_selectors
        for each in WATCHED:
            place = each.resource
            if each.selector:
                selectors[place.group, place.version, place.plural] = each.selector
        return settings
