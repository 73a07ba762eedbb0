"""kopf as the watcher: no handler here keeps state, writes to an object, or takes any time."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, cast

import kopf

from runyard_operator.config import Config
from runyard_operator.handlers.kinds import WATCHED, keys
from runyard_operator.handlers.life import Watches
from runyard_operator.kube.api import KubeApi, Object
from runyard_operator.kube.errors import Forbidden, KubeError
from runyard_operator.kube.transport import load_configuration, watch_session
from runyard_operator.metrics import Metrics
from runyard_operator.queue import Queue
from runyard_operator.store import Store

logger = logging.getLogger(__name__)

_CRDS: Final = ("apiextensions.k8s.io", "v1", "customresourcedefinitions")
_LATE_CRD: Final = "metadata.name=trainjobs.trainer.kubeflow.org"


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


class Watcher:
    """Feeds the store and the queue from the API server's watches.

    Args:
        config: which namespaces to watch.
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
        store: Store,
        queue: Queue,
        metrics: Metrics,
        watches: Watches,
        rng: random.Random,
    ) -> None:
        self._config = config
        self._store = store
        self._queue = queue
        self._metrics = metrics
        self._watches = watches
        self._rng = rng
        self._stop = asyncio.Event()
        self.running = False

    def stop(self) -> None:
        """Ends `run`."""
        self._stop.set()

    async def run(self, *, scan: bool, started: Callable[[], None] = lambda: None) -> None:
        """Watches until `stop`.

        Args:
            scan: whether to watch CRDs, too, for kinds that are installed later; see `may_scan`.
            started: is called once kopf has taken over the signals of the process, to take them
                back: it would stop itself first, while reconciles are still running.

        Raises:
            Exception: whatever ended kopf; the process cannot go on without watches.
        """
        self.running = True
        # kopf cancels, when it ends, every task that is younger than itself.
        ours = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=self._registry(),
            settings=self._settings(scan=scan),
            clusterwide=not self._config.namespaces,
            namespaces=self._config.namespaces,
            standalone=True,
            # Unused without peering. By itself kopf looks up the user's name, and the image's user
            # has none.
            identity=cast("Any", "runyard-operator"),
            stop_flag=self._stop,
        )
        started()
        await kopf.run_tasks(tasks, ignored=ours)

    async def on_event(self, event: dict[str, Any], **_: Any) -> None:
        """Takes one event of a watch in."""
        obj = cast("Object", event["object"])
        self._metrics.watched(obj["kind"])
        news = self._store.delete(obj) if event["type"] == "DELETED" else self._store.put(obj)
        if news:
            for key in keys(obj, self._store, self._config.operator_namespace):
                self._queue.add(key)

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login)
        handler = cast("Callable[..., Awaitable[None]]", self.on_event)
        for watched in WATCHED:
            place = watched.resource
            kopf.on.event(place.group, place.version, place.plural, registry=registry)(handler)
        return registry

    async def _login(self, **_: Any) -> kopf.AiohttpSession:
        # Read anew each time: kopf asks again when the API server has refused the old credentials.
        configuration = await load_configuration(self._config.kubeconfig)
        streams = len(WATCHED) * len(self._config.scopes) + 1
        session = watch_session(configuration, limit=streams + 8, seen=self._watches.seen)
        return kopf.AiohttpSession(server=configuration.host, aiohttp_session=session)

    def _settings(self, *, scan: bool) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.peering.standalone = True
        settings.scanning.disabled = not scan
        settings.networking.request_timeout = 60
        settings.networking.connect_timeout = 5
        settings.networking.error_backoffs = Backoffs(self._rng)
        settings.watching.chunk_size = 500
        settings.watching.server_timeout = 300
        settings.watching.client_timeout = 330
        settings.watching.inactivity_timeout = 75
        # A worker of kopf's stays with each object that long after its last event.
        settings.queueing.idle_timeout = 1
        settings.watching.field_selectors[_CRDS] = _LATE_CRD
        for watched in WATCHED:
            if watched.selector:
                place = watched.resource
                selectors = settings.watching.label_selectors
                selectors[place.group, place.version, place.plural] = watched.selector
        return settings


async def may_scan(kube: KubeApi, config: Config) -> bool:
    """Whether CRDs may be watched, so that a kind that is installed later is found.

    An operator for some namespaces would also have to watch the namespaces themselves.
    """
    if config.namespaces:
        return False
    try:
        await kube.snapshot(
            "apiextensions.k8s.io/v1", "CustomResourceDefinition", field_selector=_LATE_CRD
        )
    except Forbidden:
        logger.warning("The operator may not list CustomResourceDefinitions")
        return False
    except KubeError as error:
        logger.warning("CustomResourceDefinitions could not be listed: %s", error)
    return True
