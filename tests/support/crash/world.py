"""An API server, a place with jobs, a user, and operators that are killed and come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from runyard.api.constants import API_VERSION, LABEL_UNIT, LABEL_UNIT_UID
from runyard_operator.backends.base import Backend
from runyard_operator.conformance import words
from runyard_operator.conformance.place import Place
from runyard_operator.conformance.reference import ReferenceBackend
from runyard_operator.conformance.words import Died, Job, Trouble
from runyard_operator.kube.resources import RAY
from runyard_operator.queue import Key
from tests.support.crash.life import Bomb, Life
from tests.unit.engine.server import NAMESPACE, Faults, Object, Server

START = datetime(2026, 1, 1, tzinfo=UTC)
SETTLE = 30.0
MAX_PASSES = 600
"""Far more than any story needs; one that is not over by then hangs."""
TERMINAL = ("Succeeded", "Failed", "Cancelled", "Skipped")
EXPERIMENT = ("Experiment", "exp")


class Cluster(Server):
    """The API server in memory; code that is staged is taken and kept, too."""

    async def apply(
        self, manifest: Object, *, manager: str, force: bool = True, subresource: str | None = None
    ) -> Object:
        if subresource is not None:
            return await super().apply(manifest, manager=manager, subresource=subresource)
        return manifest

    def died(self) -> None:
        """The operator has just died; what was stored stays."""


@dataclass(frozen=True)
class Line:
    """What happens at the n-th call of a kind to the place."""

    call: str
    number: int
    trouble: Trouble


@dataclass(frozen=True)
class Step:
    """What the user does, and when."""

    when: Callable[[World], bool]
    then: Callable[[World], None]


@dataclass(frozen=True, kw_only=True)
class Story:
    """One experiment and what happens to it.

    Attributes:
        name: one word for the table.
        about: one line for the table.
        spec: the experiment's.
        steps: what the user does, in order.
        endless: jobs end only when they are told to.
        seconds: how long a job runs at least.
        failing: the names of the jobs that fail.
        end: the phase of each unit in the end; empty when nothing may be left.
    """

    name: str
    about: str
    spec: Object
    steps: tuple[Step, ...] = ()
    endless: bool = False
    seconds: float = 0.0
    failing: frozenset[str] = frozenset()
    end: dict[str, str] = field(default_factory=dict)


@dataclass
class Count:
    """What went wrong, in numbers."""

    runs: int = 0
    double: int = 0
    orphan: int = 0
    lost: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(
            self.runs + other.runs,
            self.double + other.double,
            self.orphan + other.orphan,
            self.lost + other.lost,
        )


class World:
    """One story with its faults, from the experiment's creation until nothing moves any more.

    With `slow`, the place takes a name twice and finds what is new only after a while.
    """

    def __init__(
        self,
        story: Story,
        bomb: Bomb | None = None,
        line: Line | None = None,
        *,
        slow: bool = False,
        server: type[Cluster] = Cluster,
        backend: type[ReferenceBackend] = ReferenceBackend,
    ) -> None:
        self.story = story
        self.bomb = bomb or Bomb()
        self.now = START
        self.server = server(Faults())
        self.deaths = 0
        self._line = line
        self._calls = 0
        self._settle = SETTLE if slow else 0.0
        self._backend = backend
        self._steps = list(story.steps)
        self._orphans: set[str] = set()
        self._running: dict[str, datetime] = {}
        self.place = Place(
            clock=lambda: (self.now - START).total_seconds(),
            unique_names=not slow,
            lag_seconds=SETTLE / 3 if slow else 0.0,
            delay_seconds=SETTLE / 2,
            trouble=self._trouble,
        )
        self.life = self._born()
        manifest = {
            "apiVersion": API_VERSION,
            "kind": EXPERIMENT[0],
            "metadata": {"name": EXPERIMENT[1]},
            "spec": story.spec,
        }
        self.server.add(manifest)

    def run(self) -> Count:
        """Plays the story; what went wrong in it."""
        loop = asyncio.new_event_loop()
        try:
            quiet = any(not self._next(loop) for _ in range(MAX_PASSES))
        finally:
            loop.close()
        return self._count(quiet)

    def jobs(self, state: str | None = None) -> list[Job]:
        """The jobs at the place, all or those in a state."""
        return [each for each in self.place.jobs.values() if state in (None, each.state)]

    def edit(self, field_: str, value: Any) -> None:
        """The user changes a field of the experiment's spec."""
        self.server.patch(EXPERIMENT, [{"op": "add", "path": f"/spec/{field_}", "value": value}])

    def delete(self) -> None:
        """The user deletes the experiment."""
        self.server.remove(EXPERIMENT)

    # How time goes on

    def _next(self, loop: asyncio.AbstractEventLoop) -> bool:
        """The next thing that happens; whether anything did."""
        self._deliver()
        self._note_orphans()
        due = min(((at, key) for key, at in self.life.due.items()), default=None)
        if due is not None and due[0] <= self.now:
            self._pass(due[1], loop)
        elif not (self._act() or self._progress() or self.server.collect_garbage()):
            later = [due[0]] if due is not None else []
            if (arrival := self.place.next_arrival) is not None:
                later.append(START + timedelta(seconds=arrival))
            if not later:
                return False
            self.now = max(min(later), self.now)
            self.place.arrive()
        return True

    def _pass(self, key: Key, loop: asyncio.AbstractEventLoop) -> None:
        self.life.reconcile(key, loop)
        if not self.life.alive:
            self.deaths += 1
            self.server.died()
            self._act()  # nobody waits for the operator to come back
            self.life = self._born()
            self.server.events.clear()
            for obj in list(self.server.objects.values()):
                self.life.take(obj)

    def _born(self) -> Life:
        def backend(point: Callable[[str], None]) -> Backend:
            return self._backend(self.place, settle_seconds=self._settle, point=point)

        return Life(self.server, backend, self.bomb, lambda: self.now)

    def _deliver(self) -> None:
        events, self.server.events = self.server.events, []
        for gone, obj in events:
            self.life.take(obj, gone=gone)

    def _act(self) -> bool:
        if not self._steps or not self._steps[0].when(self):
            return False
        self._steps.pop(0).then(self)
        return True

    def _progress(self) -> bool:
        """One job takes its next step, and the operator hears of it."""
        for job in self.jobs():
            state = self._following(job)
            if state is None:
                continue
            if state == words.RUNNING:
                self._running[job.key] = self.now
            self.place.become(job.key, state)
            unit = job.name.rpartition("/")[2].rpartition("-")[0]
            if state == words.SUCCEEDED:
                self._share(unit)
            self.life.add(Key("ExecutionUnit", NAMESPACE, unit))
            return True
        return False

    def _share(self, name: str) -> None:
        """The cluster that a unit was to make is there, until somebody deletes it."""
        unit = self.server.objects.get(("ExecutionUnit", name))
        if unit is None or "cluster" not in unit["spec"]["executor"].get("ray", {}):
            return
        uid = unit["metadata"]["uid"]
        manifest = {
            "apiVersion": RAY,
            "kind": "RayCluster",
            "metadata": {
                "name": name,
                "labels": {LABEL_UNIT: name, LABEL_UNIT_UID: uid},
                "ownerReferences": [{"uid": uid}],
            },
        }
        if ("RayCluster", name) not in self.server.objects:
            self.server.add(manifest)

    def _following(self, job: Job) -> str | None:
        if job.state == words.WAITING:
            return words.RUNNING
        if job.state == words.STOPPING:
            return words.FAILED  # it has gone then
        lasts = timedelta(seconds=self.story.seconds)
        over = job.state == words.RUNNING and self.now - self._running[job.key] >= lasts
        if not over or self._steps or self.story.endless:
            return None
        fails = job.name.rpartition("/")[2] in self.story.failing
        return words.FAILED if fails else words.SUCCEEDED

    def _trouble(self, call: str) -> Trouble | None:
        if not self.life.alive:
            raise Died
        if self._line is None or call != self._line.call:
            return None
        self._calls += 1
        return self._line.trouble if self._calls == self._line.number else None

    # What came of it

    def _note_orphans(self) -> None:
        """A job that lives has a unit that knows, or can know, of it."""
        units = {obj["metadata"]["uid"] for obj in self.server.objects.values()}
        self._orphans |= {each.key for each in self.place.alive() if each.unit not in units}

    def _count(self, quiet: bool) -> Count:
        """A job that still lives when nothing moves any more is an orphan, too."""
        again = sum(times > 1 for times in self.place.begun.values())
        together = sum(most > 1 for most in self.place.most_alive.values())
        self._orphans |= {each.key for each in self.place.alive()} if quiet else set()
        return Count(1, max(again, together), len(self._orphans), self._lost(quiet))

    def _lost(self, quiet: bool) -> int:
        """Tasks and experiments that did not end, or not as the story has it."""
        found = {
            name: obj["status"].get("phase")
            for (kind, name), obj in self.server.objects.items()
            if kind == "ExecutionUnit"
        }
        wrong: int = sum(found.get(name) != phase for name, phase in self.story.end.items())
        left = 0 if self.story.end else len(self.server.objects)
        ended = all(
            obj["status"].get("phase") in TERMINAL and not obj["metadata"].get("finalizers")
            for obj in self.server.objects.values()
        )
        return wrong + left + int(not ended or not quiet)
