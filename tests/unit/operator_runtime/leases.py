"""A Lease as an API server keeps it, and candidates for it whose clocks and lines are scripted."""

from __future__ import annotations

import asyncio
import itertools
import json
import selectors
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NoReturn, TypeVar

from runyard_operator.kube.api import Object
from runyard_operator.kube.errors import AlreadyExists, Conflict, NotFound, Unavailable
from runyard_operator.kube.resources import Ref
from runyard_operator.leadership import Leadership
from runyard_operator.lease import LEASE_API, LEASE_KIND, Record, Terms

T = TypeVar("T")

REF = Ref(LEASE_API, LEASE_KIND, "runyard-operator", "home")
TERMS = Terms(6)


class EndedError(BaseException):
    """The process has ended here."""


class Fault(StrEnum):
    """What becomes of one request."""

    NOT_SENT = "not sent"
    ANSWER_LOST = "answer lost"


class Cluster:
    """Time, and the one Lease, at first empty; every write gets a resourceVersion of its own."""

    def __init__(self) -> None:
        self.time = 0.0
        self.stored: Object | None = {"metadata": {"name": REF.name, "resourceVersion": "0"}}
        self._versions = itertools.count(1)

    @property
    def record(self) -> Record:
        assert self.stored is not None
        return Record.of(self.stored)

    def write(self, manifest: Object, *, new: bool) -> Object:
        """As the API server does it, preconditions included."""
        if new and self.stored is not None:
            raise AlreadyExists("it is there", status=409)
        if not new:
            if self.stored is None:
                raise NotFound("it is gone", status=404)
            version = manifest["metadata"]["resourceVersion"]
            if version != self.stored["metadata"]["resourceVersion"]:
                raise Conflict("it has changed", status=409)
        copy: Object = json.loads(json.dumps(manifest))
        copy["metadata"]["resourceVersion"] = str(next(self._versions))
        self.stored = copy
        return copy


class Line:
    """One candidate's way to the API server; faults are used up one request after the other."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.faults: list[Fault | None] = []
        self.dead = False
        self.before_write: Callable[[], Awaitable[Any]] | None = None
        self.writes = 0

    async def get(self, ref: Ref) -> Object | None:
        assert ref == REF
        await self._silence()
        stored: Object | None = json.loads(json.dumps(self._cluster.stored))
        return self._answer(lambda: stored)

    async def create(self, manifest: Object) -> Object:
        return await self._write(manifest, new=True)

    async def replace(self, manifest: Object) -> Object:
        return await self._write(manifest, new=False)

    async def close(self) -> None:
        return None

    async def _write(self, manifest: Object, *, new: bool) -> Object:
        hook, self.before_write = self.before_write, None
        if hook is not None:
            await hook()
        await self._silence()
        self.writes += 1
        return self._answer(lambda: self._cluster.write(manifest, new=new))

    async def _silence(self) -> None:
        """A dead line: the connection is open, and no answer ever comes."""
        if self.dead:
            await asyncio.get_running_loop().create_future()

    def _answer(self, effect: Callable[[], T]) -> T:
        fault = self.faults.pop(0) if self.faults else None
        if fault is Fault.NOT_SENT:
            raise Unavailable("no way")
        answer = effect()
        if fault is Fault.ANSWER_LOST:
            raise Unavailable("no answer")
        return answer


class Candidate:
    """A process that wants to lead; its monotonic and wall clocks are its own."""

    def __init__(
        self, cluster: Cluster, name: str, *, boot: float = 0.0, skew: float = 0.0
    ) -> None:
        self.cluster = cluster
        self.line = Line(cluster)
        self.ended = ""
        day = datetime(2026, 1, 1, tzinfo=UTC)
        self.leadership = Leadership(
            self.line,
            REF,
            name,
            now=lambda: day + timedelta(seconds=cluster.time + skew),
            terms=TERMS,
            clock=lambda: cluster.time + boot,
            end=self._end,
        )

    def _end(self, why: str) -> NoReturn:
        self.ended = why
        raise EndedError(why)

    async def step(self, *faults: Fault | None) -> bool:
        """One try; whether it is known to have worked."""
        self.line.faults = list(faults)
        try:
            return await self.leadership.step()
        except Unavailable:
            return False
        finally:
            self.line.faults = []

    @property
    def may_write(self) -> bool:
        """Whether a write would go out now."""
        return self.leadership.leading and not self.ended


class _Skipping(selectors.SelectSelector):
    """Waits by moving the time on."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self._cluster = cluster

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout:
            self._cluster.time += timeout
        return ready


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop in the time of a cluster: what sleeps costs nothing."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        super().__init__(_Skipping(cluster))

    def time(self) -> float:
        return self._cluster.time
