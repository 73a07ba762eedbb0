"""One life of the operator: its cache, its queue and its reconcilers, until it is killed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from runyard_operator.backends.base import Backend
from runyard_operator.config import Config
from runyard_operator.conformance.words import Died
from runyard_operator.context import Context
from runyard_operator.handlers.kinds import keys
from runyard_operator.kube.errors import Unavailable
from runyard_operator.metrics import Metrics
from runyard_operator.queue import Key
from runyard_operator.reconcile import dispatch
from runyard_operator.store import Store
from tests.unit.engine.server import Object

METRICS = Metrics()
RETRY = 5.0
"""Seconds until a failed pass is repeated, where the queue has its backoff."""


class Bomb:
    """Kills at a point, the given times that it is reached, counted over all lives."""

    def __init__(self, point: str = "", hits: frozenset[int] = frozenset()) -> None:
        self.point = point
        self.hits = hits
        self.reached: Counter[str] = Counter()

    def __call__(self, point: str) -> bool:
        self.reached[point] += 1
        return point == self.point and self.reached[point] in self.hits


class Mortal:
    """The API server as a process reaches it: not at all once it is dead."""

    def __init__(self, server: Any, life: Life) -> None:
        self._server = server
        self._life = life

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._server, name)

        async def call(*args: Any, **options: Any) -> Any:
            self._life.check()
            return await method(*args, **options)

        return call


class Life:
    """From a start to a death. `due` is who wants a pass, and when."""

    def __init__(
        self,
        server: Any,
        backend: Callable[[Callable[[str], None]], Backend],
        bomb: Bomb,
        now: Callable[[], datetime],
    ) -> None:
        self.store = Store()
        self.due: dict[Key, datetime] = {}
        self.alive = True
        self._bomb = bomb
        self._now = now
        context = Context(
            kube=Mortal(server, self),
            store=self.store,
            queue=self,  # type: ignore[arg-type]
            metrics=METRICS,
            config=Config(image="operator"),
            now=now,
            emit=_silent,  # type: ignore[arg-type]
            point=self.point,
        )
        place = backend(self.point)
        backends = {"job": place, "ray": place}
        with mock.patch.object(dispatch, "build_backends", return_value=backends):
            self._worker = dispatch.build(context)

    def point(self, name: str) -> None:
        """A point of the work; the process may end here."""
        self.check()
        if self._bomb(name):
            self.alive = False
            raise Died

    def check(self) -> None:
        """Stands before all that reaches the outside.

        Raises:
            Died: nothing goes out any more.
        """
        if not self.alive:
            raise Died

    def take(self, obj: Object, *, gone: bool = False) -> None:
        """One event of a watch: into the cache, and whoever it concerns is woken."""
        if gone:
            self.store.delete(obj)
        else:
            self.store.put(obj)
        for key in keys(obj, self.store, "runyard-system"):
            self.add(key)

    def add(self, key: Key) -> None:
        """As the queue's."""
        self.add_after(key, 0.0)

    def add_after(self, key: Key, seconds: float) -> None:
        """As the queue's."""
        due = self._now() + timedelta(seconds=seconds)
        self.due[key] = min(due, self.due.get(key, due))

    def reconcile(self, key: Key, loop: asyncio.AbstractEventLoop) -> None:
        """One pass, as a worker of the queue runs it; it may be the last of this life."""
        self.due.pop(key, None)
        try:
            again = loop.run_until_complete(self._worker(key))
        except Unavailable:
            again = RETRY
        except BaseException as error:
            # A death in one of several tasks comes out in a group of errors.
            if self.alive and not _is_death(error):
                raise
            self.alive = False
            return
        if again is not None:
            self.add_after(key, again)


def _is_death(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(map(_is_death, error.exceptions))
    return isinstance(error, Died)


async def _silent(*_: object, **__: object) -> None:
    """Events are for people."""
