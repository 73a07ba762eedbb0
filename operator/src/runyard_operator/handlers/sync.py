"""Full lists beside the watches: the store is filled before any worker starts, and corrected later.

A watch that was cut off for long begins anew with a list, and then nobody tells of the objects that
were deleted meanwhile. So each new list of kopf's, and the clock, ask for a comparison here.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from runyard_operator.config import Config
from runyard_operator.handlers.kinds import EXPERIMENT, PROFILES, UNIT, WATCHED, Watched, keys
from runyard_operator.kube.api import KubeApi, Objects
from runyard_operator.kube.errors import Forbidden, KubeError, NotFound
from runyard_operator.queue import Queue
from runyard_operator.store import Store

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = 5.0
RESYNC_SECONDS: Final = 600.0
BEYOND_SECONDS: Final = 15.0


class Sync:
    """Keeps the store complete.

    Args:
        kube: the API server.
        store: what is filled.
        queue: is given the keys of whatever has changed.
        config: which namespaces to list.
    """

    def __init__(self, *, kube: KubeApi, store: Store, queue: Queue, config: Config) -> None:
        self._kube = kube
        self._store = store
        self._queue = queue
        self._config = config
        self._missing: set[Watched] = set()
        self._wanted: set[Watched] = set()
        self._asked = asyncio.Event()
        self.primed = False

    async def prime(self) -> None:
        """Lists every kind once; tries again until all have been read."""
        left = [each for each in WATCHED if not await self._tried(each)]
        while left:
            await asyncio.sleep(RETRY_SECONDS)
            left = [each for each in left if not await self._tried(each)]
        await self._read_shared_profiles()
        self.primed = True
        counts = {each.kind: self._store.count(each.kind) for each in WATCHED}
        logger.info("The cache is filled", extra={"counts": counts})

    def ask(self, plural: str) -> None:
        """Wants a comparison of the kind with this plural soon."""
        self._wanted |= {each for each in WATCHED if each.resource.plural == plural}
        self._asked.set()

    def tell_all(self) -> None:
        """Puts every experiment and unit on the queue: what concerns them may have been missed."""
        for kind in (EXPERIMENT, UNIT):
            self._tell(self._store.list(kind))

    async def run(self) -> None:
        """Compares what was asked for, and everything from time to time; for ever."""
        while True:
            try:
                async with asyncio.timeout(RESYNC_SECONDS):
                    await self._asked.wait()
            except TimeoutError:
                self._wanted = set(WATCHED)
            self._asked.clear()
            wanted, self._wanted = self._wanted, set()
            failed = {each for each in wanted if not await self._tried(each)}
            if failed:
                await asyncio.sleep(RETRY_SECONDS)
                self._wanted |= failed
                self._asked.set()

    @property
    def served(self) -> frozenset[Watched]:
        """The kinds that the API server had when they were last looked for."""
        return frozenset(WATCHED) - self._missing

    async def look(self) -> frozenset[Watched]:
        """Looks for the optional kinds, which come and go; returns what is served now."""
        for watched in WATCHED:
            if watched.optional:
                await self._tried(watched)
        return self.served

    async def look_beyond(self) -> None:
        """Looks, for ever, at what cannot be watched: kinds yet to come, and shared profiles."""
        while True:
            await asyncio.sleep(BEYOND_SECONDS)
            for watched in tuple(self._missing):
                await self._tried(watched)
            await self._read_shared_profiles()

    async def _read_shared_profiles(self) -> None:
        """Kopf watches each kind in each namespace; of the operator's own only this one counts."""
        home = self._config.operator_namespace
        if not self._config.namespaces or home in self._config.namespaces:
            return
        try:
            await self._compare(PROFILES, home)
        except KubeError as error:
            logger.warning("The shared profiles in %s could not be listed: %s", home, error)

    async def _tried(self, watched: Watched) -> bool:
        try:
            for namespace in self._config.scopes:
                await self._compare(watched, namespace)
        except NotFound:
            if watched.optional:
                self._missing.add(watched)
                # The objects went with their kind, and no watch was left to tell.
                self._tell(self._store.drop(watched.kind))
                return True
            logger.error(
                "%s is not served: install the CustomResourceDefinitions of runyard.dev",
                watched.kind,
            )
            return False
        except Forbidden as error:
            if watched.optional:
                # An executor that was left out of the operator's role; refused is not gone.
                if watched not in self._missing:
                    logger.warning("%s is not watched: %s", watched.kind, error)
                self._missing.add(watched)
                return True
            logger.error("The operator's role lacks list on %s: %s", watched.resource.plural, error)
            return False
        except KubeError as error:
            logger.warning("%s could not be listed, trying again: %s", watched.kind, error)
            return False
        self._missing.discard(watched)
        return True

    async def _compare(self, watched: Watched, namespace: str | None) -> None:
        objects, version = await self._kube.snapshot(
            watched.resource.api_version,
            watched.kind,
            namespace=namespace,
            label_selector=watched.selector,
        )
        self._tell(self._store.replace(watched.kind, namespace, objects, version))

    def _tell(self, changed: Objects) -> None:
        for obj in changed:
            for key in keys(obj, self._store, self._config.operator_namespace):
                self._queue.add(key)
