"""The operator's real reconcilers, cache and engine between a server and a backend in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

from runyard.api.constants import API_VERSION, FINALIZER
from runyard_operator.config import Config
from runyard_operator.context import Context
from runyard_operator.events import EventEmitter
from runyard_operator.handlers.kinds import keys
from runyard_operator.kube.errors import Unavailable
from runyard_operator.metrics import Metrics
from runyard_operator.queue import Key
from runyard_operator.reconcile.experiment import ExperimentReconciler
from runyard_operator.reconcile.unit import UnitReconciler
from runyard_operator.store import Store
from tests.unit.engine.builders import NOW, unit_spec
from tests.unit.engine.outcomes import Outcome
from tests.unit.engine.places import Places, phases_of
from tests.unit.engine.server import NAMESPACE, CrashError, Faults, Name, Object, Server

METRICS = Metrics()
EXP: Name = ("Experiment", "exp")
TERMINAL = ("Succeeded", "Failed", "Cancelled", "Skipped")
MAX_PASSES = 400
"""Far more than the longest history needs; a livelock needs more than any number."""
T = TypeVar("T")


class Wishes:
    """Takes what the reconcilers wish for from their queue."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    def add(self, key: Key) -> None:
        self._operator.wake(key)

    def add_after(self, key: Key, seconds: float) -> None:
        self._operator.wake(key, seconds)


class Operator:
    """One life of the operator process: its cache, its reconcilers, and who is to be woken."""

    def __init__(self, server: Server, places: Places, now: datetime) -> None:
        self.store = Store()
        self.now = now
        self.due: dict[Key, datetime] = {}
        context = Context(
            kube=server,  # type: ignore[arg-type]
            store=self.store,
            queue=Wishes(self),  # type: ignore[arg-type]
            metrics=METRICS,
            config=Config(image="operator"),
            now=lambda: self.now,
            emit=EventEmitter(
                server,  # type: ignore[arg-type]
                now=lambda: self.now,
                clock=lambda: 0.0,
                instance="operator",
            ),
        )
        self._reconcilers: dict[str, ExperimentReconciler | UnitReconciler] = {
            "Experiment": ExperimentReconciler(context, {"job": places}),
            "ExecutionUnit": UnitReconciler(context, {"job": places}),
        }

    def take(self, obj: Object, *, gone: bool = False) -> None:
        """One event of a watch: into the cache, and whoever it concerns is woken."""
        if gone:
            self.store.delete(obj)
        else:
            self.store.put(obj)
        for key in keys(obj, self.store, "runyard-system"):
            self.wake(key)

    def wake(self, key: Key, after: float = 0.0) -> None:
        """Wants a reconcile after that many seconds at the latest."""
        due = self.now + timedelta(seconds=after)
        self.due[key] = min(due, self.due.get(key, due))

    def reconcile(self, key: Key) -> None:
        """One pass, as a worker of the queue runs it."""
        self.due.pop(key, None)
        try:
            again = finish(self._reconcilers[key.kind].reconcile(key))
        except Unavailable:
            again = 5.0
        if again is not None:
            self.wake(key, again)


class Simulation:
    """An operator, what it works on, and what must hold at every moment."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.faults = Faults()
        self.server = Server(self.faults)
        self.places = Places(self.faults, self.server)
        self.restart()

    def begin(self, spec: Object) -> None:
        """A user creates an experiment."""
        self.manifest = experiment("exp", spec)
        self.server.add(self.manifest)

    def restart(self, stale: Name | None = None, age: int = 0) -> None:
        """A new life of the operator.

        The list that it begins with may have one object as it was `age` writes ago, or not at all
        where it is not as old as that.
        """
        self.operator = Operator(self.server, self.places, self.now)
        self.server.events.clear()
        for name, obj in self.server.objects.items():
            past = self.server.history[name][: -age or None] if name == stale else [obj]
            if past:
                self.operator.take(past[-1])

    def run(self, key: Key) -> None:
        """One pass; a crash in it is followed by a restart."""
        try:
            self.operator.reconcile(key)
        except CrashError:
            self.restart()

    def deliver(self, count: int) -> None:
        """The next events of the watch."""
        for gone, obj in self.server.events[:count]:
            self.operator.take(obj, gone=gone)
        del self.server.events[:count]

    def settle(self, passes: int = MAX_PASSES) -> bool:
        """Does what is due, and lets jobs go on when nothing is; whether all came to an end.

        Events and wishes alone must bring everything there.
        """
        for _ in range(passes):
            self.deliver(len(self.server.events))
            self.operator.now = self.now
            due = min(((at, key) for key, at in self.operator.due.items()), default=None)
            if due is not None and due[0] <= self.now:
                self.run(due[1])
            elif woken := self._go_on():
                self.operator.wake(Key("ExecutionUnit", NAMESPACE, woken))
            elif self.server.collect_garbage() or self.places.collect_garbage():
                continue
            elif due is not None:
                self.now = due[0]
            else:
                return True
        return False

    def _go_on(self) -> str | None:
        """The next step of a job; one that is to end does nothing by itself and waits for that.

        So an operator that forgets to cancel never comes to an end.
        """
        waiting = {key for key, job in self.places.jobs.items() if self._is_to_end(job.unit)}
        return self.places.go_on(waiting)

    def _is_to_end(self, unit: str) -> bool:
        found = self.server.objects.get(("ExecutionUnit", unit))
        return found is not None and (
            found["spec"]["cancel"] or "deletionTimestamp" in found["metadata"]
        )

    def units(self) -> list[Name]:
        """The units that exist."""
        return sorted(name for name in self.server.objects if name[0] == "ExecutionUnit")

    # What holds at every moment

    def check(self) -> None:
        """The invariants."""
        twice = {key: times for key, times in self.places.created.items() if times > 1}
        assert not twice, "one job for each attempt, whatever is lost, crashed or repeated"
        again = {name: units for name, units in self.places.started.items() if len(units) > 1}
        assert not again, "one unit that runs for each task, also when it was deleted"
        assert not self.places.premature, "no task starts before its edges are met"
        self._check_jobs()
        self._check_units()

    def _check_jobs(self) -> None:
        """A living job has a unit with our finalizer, and so nothing is ever left behind."""
        alive = Counter(job.uid for job in self.places.jobs.values() if not job.state.over)
        assert max(alive.values(), default=0) <= 1, "one living job for each unit"
        for job in self.places.jobs.values():
            if job.state.over:
                continue
            unit = self.server.objects.get(("ExecutionUnit", job.unit))
            assert unit is not None, job
            assert unit["metadata"]["uid"] == job.uid
            assert has_finalizer(unit)
            assert unit["status"].get("phase") not in TERMINAL, (job, unit)

    def _check_units(self) -> None:
        """An experiment never ends, and never lets go, while one of its units goes on."""
        owners = {obj["metadata"]["uid"]: obj for obj in self.server.objects.values()}
        for name in self.units():
            unit = self.server.objects[name]
            for owner in unit["metadata"].get("ownerReferences", []):
                found = owners.get(owner["uid"])
                if found is None or "completionTime" in found["status"]:
                    assert unit["status"].get("phase") in TERMINAL, unit

    # What holds at the end

    def finish(self) -> None:
        """Faults go on for a while and stop; then all ends in bounded steps, and stays so."""
        self.restart()
        self.settle(passes=40)
        self.faults.fault, self.places.outage, self.places.mood = None, False, None
        self.let_go()
        assert self.settle(), f"still busy: {self.operator.due}"
        self.check()
        for name, obj in self.server.objects.items():
            assert obj["status"].get("phase") in TERMINAL, (name, obj)
            assert not has_finalizer(obj), name
            assert obj["status"]["observedGeneration"] == obj["metadata"]["generation"]
        self.check_result()
        writes = self.server.writes
        self.restart()
        assert self.settle()
        assert self.server.writes == writes, "nothing is done twice"

    def let_go(self) -> None:
        """Nobody holds the experiment back any longer: it is resumed, and what waits is approved.

        A verdict that was given stays.
        """
        if EXP not in self.server.objects:
            return
        spec = self.server.objects[EXP]["spec"]
        given = {each["task"]: each for each in spec["approvals"]}
        for each in spec["tasks"]:
            given.setdefault(each["name"], {"task": each["name"], "verdict": "Approve"})
        self.edit(approvals=list(given.values()), suspend=False, suspendTasks=[])

    def edit(self, **changes: Any) -> None:
        """A user changes fields of the experiment's spec."""
        if EXP in self.server.objects:
            operations = [
                {"op": "add", "path": f"/spec/{name}", "value": value}
                for name, value in changes.items()
            ]
            self.server.patch(EXP, operations)

    def check_result(self) -> None:
        """The end of every task and of the experiment is what its edges and policy ask for."""
        end = self.server.objects.get(EXP)
        if end is None or end["status"]["conditions"][0]["status"] != "True":
            return
        if not end["status"].get("tasks"):
            assert end["status"]["phase"] == "Cancelled", "only a cancel ends it before it begins"
            return
        ends = phases_of(self.server, end)
        assert None not in ends.values(), ends
        for name, phase in ends.items():
            unit = self.server.objects.get(("ExecutionUnit", name))
            assert unit is None or unit["status"]["phase"] == phase, (name, phase, unit)
        outcome = Outcome(end, {name: str(phase) for name, phase in ends.items()})
        outcome.check_tasks()
        assert end["status"]["phase"] == outcome.expected(), (end["status"], ends)


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine that never waits for anything real."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("the world never waits")


def experiment(name: str, spec: Object) -> Object:
    """The manifest of an experiment, as a user creates it."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Experiment",
        "metadata": {"name": name},
        "spec": spec,
    }


def standalone(name: str, *, cancel: bool) -> Object:
    """The manifest of a unit that a user wrote alone."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ExecutionUnit",
        "metadata": {"name": name},
        "spec": unit_spec(cancel=cancel).to_dict(),
    }


def has_finalizer(obj: Object) -> bool:
    """Whether our finalizer is on the object."""
    return FINALIZER in obj["metadata"].get("finalizers", [])
