"""A small world for histories: an API server and a backend in memory, and an operator in it.

The operator's parts are the real reconcilers, cache and engine; only what is outside is modelled.
Every call to the outside can crash the operator before or after it took effect, or lose its answer.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from runyard.api import ExperimentStatus, Handle, UnitSpec, UnitStatus
from runyard.api.constants import API_VERSION, FINALIZER, LABEL_EXPERIMENT
from runyard_operator.backends.base import Target, Unreachable
from runyard_operator.config import Config
from runyard_operator.context import Context
from runyard_operator.engine.observation import Observation, State
from runyard_operator.events import EventEmitter
from runyard_operator.handlers.kinds import keys
from runyard_operator.kube.errors import AlreadyExists, Conflict, Invalid, NotFound, Unavailable
from runyard_operator.kube.resources import Ref
from runyard_operator.metrics import Metrics
from runyard_operator.queue import Key
from runyard_operator.reconcile.experiment import ExperimentReconciler
from runyard_operator.reconcile.unit import UnitReconciler
from runyard_operator.store import Store
from tests.unit.engine.builders import unit_spec

Object = dict[str, Any]
Objects = list[Object]
Name = tuple[str, str]
"""Kind and name; everything is in one namespace."""
NAMESPACE = "ns"
METRICS = Metrics()
T = TypeVar("T")


class CrashError(BaseException):
    """The operator dies here; nothing in it may catch this."""


class Fault(StrEnum):
    """What happens at one call to the outside."""

    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    NOT_SENT = "not sent"
    ANSWER_LOST = "answer lost"


@dataclass
class Faults:
    """At most one fault at a time, at the call that is `countdown` calls away."""

    fault: Fault | None = None
    countdown: int = 0

    def around(self, lost: type[Exception]) -> Iterator[None]:
        """Runs before and after the effect of a call; a time-out is raised as `lost`."""
        hit = self.fault if self.countdown == 0 else None
        self.countdown = max(self.countdown - 1, 0)
        if hit is not None:
            self.fault = None
        if hit is Fault.CRASH_BEFORE:
            raise CrashError
        if hit is Fault.NOT_SENT:
            raise self._error(lost)
        yield
        if hit is Fault.CRASH_AFTER:
            raise CrashError
        if hit is Fault.ANSWER_LOST:
            raise self._error(lost)

    @staticmethod
    def _error(lost: type[Exception]) -> Exception:
        return Unreachable("Unreachable", "timeout") if lost is Unreachable else lost("timeout")


@dataclass
class Server:
    """Objects with uid, resourceVersion, generation, finalizers and immutability, as etcd has them.

    `events` are those that no watch has delivered yet; `latched` are the terminal statuses.
    """

    faults: Faults
    objects: dict[Name, Object] = field(default_factory=dict)
    history: dict[Name, list[Object]] = field(default_factory=dict)
    events: list[tuple[bool, Object]] = field(default_factory=list)
    latched: dict[str, Object] = field(default_factory=dict)
    version: int = 0
    writes: int = 0

    # What the reconcilers call

    async def get(self, ref: Ref) -> Object | None:
        for _ in self.faults.around(Unavailable):
            found = copy.deepcopy(self.objects.get((ref.kind, ref.name)))
        return found

    async def list(self, api_version: str, kind: str, **selectors: Any) -> Objects:
        label = selectors["label_selector"].removeprefix(f"{LABEL_EXPERIMENT}=")
        for _ in self.faults.around(Unavailable):
            found = [
                copy.deepcopy(obj)
                for (of, _name), obj in self.objects.items()
                if of == kind and obj["metadata"].get("labels", {}).get(LABEL_EXPERIMENT) == label
            ]
        return found

    async def create(self, manifest: Object) -> Object:
        for _ in self.faults.around(Unavailable):
            stored = self.add(manifest)
        return stored

    async def apply(self, manifest: Object, *, manager: str, subresource: str) -> Object:
        assert (manager, subresource) == ("runyard-operator", "status")
        for _ in self.faults.around(Unavailable):
            stored = self._apply_status(manifest)
        return stored

    async def json_patch(self, ref: Ref, operations: Objects) -> Object:
        for _ in self.faults.around(Unavailable):
            stored = self.patch((ref.kind, ref.name), operations)
        return stored

    async def delete(self, ref: Ref, *, uid: str | None = None) -> bool:
        for _ in self.faults.around(Unavailable):
            found = self.objects.get((ref.kind, ref.name))
            if found is not None and uid not in (None, found["metadata"]["uid"]):
                raise Conflict("another object by now")
            self.remove((ref.kind, ref.name))
        return found is not None

    # What users and controllers do, too

    def add(self, manifest: Object) -> Object:
        """Creates an object with the defaults of its schema."""
        name = manifest["kind"], manifest["metadata"]["name"]
        if name in self.objects:
            raise AlreadyExists(f"{name} exists")
        obj = copy.deepcopy(manifest)
        obj["metadata"].update(uid=f"uid-{self.version}", generation=1, namespace=NAMESPACE)
        obj["status"] = {"observedGeneration": -1}
        return self._store(name, obj)

    def patch(self, name: Name, operations: Objects) -> Object:
        """A JSON patch of an object's metadata or spec."""
        if name not in self.objects:
            raise NotFound(f"{name} is gone")
        old = self.objects[name]
        new = copy.deepcopy(old)
        for operation in operations:
            _operate(new, operation)
        if name[0] == "ExecutionUnit":
            _check_unit(old["spec"], new["spec"])
        added = set(new["metadata"].get("finalizers", [])) - set(
            old["metadata"].get("finalizers", [])
        )
        if added and "deletionTimestamp" in old["metadata"]:
            raise Invalid("no new finalizers on an object that is being deleted")
        if new["spec"] != old["spec"]:
            new["metadata"]["generation"] += 1
        return self._store(name, new)

    def remove(self, name: Name) -> None:
        """Deletes an object, or marks it while finalizers are left."""
        if name not in self.objects or "deletionTimestamp" in self.objects[name]["metadata"]:
            return
        obj = copy.deepcopy(self.objects[name])
        obj["metadata"]["deletionTimestamp"] = "now"
        obj["metadata"]["generation"] += 1
        self._store(name, obj)

    def collect_garbage(self) -> bool:
        """Deletes what has an owner that is gone; whether there was any."""
        before = self.version
        uids = {obj["metadata"]["uid"] for obj in self.objects.values()}
        for name, obj in list(self.objects.items()):
            owners = [owner["uid"] for owner in obj["metadata"].get("ownerReferences", [])]
            if owners and not uids.intersection(owners):
                self.remove(name)
        return self.version != before

    def _apply_status(self, manifest: Object) -> Object:
        metadata = manifest["metadata"]
        name = manifest["kind"], metadata["name"]
        old = self.objects.get(name)
        if old is None:
            raise NotFound(f"{name} is gone")
        for key in ("uid", "resourceVersion"):
            if metadata[key] != old["metadata"][key]:
                raise Conflict(f"{key} of {name} is another one")
        model = UnitStatus if name[0] == "ExecutionUnit" else ExperimentStatus
        status = model.model_validate(manifest["status"])
        obj = {**copy.deepcopy(old), "status": copy.deepcopy(manifest["status"])}
        self._check_latch(obj, status)
        return self._store(name, obj)

    def _check_latch(self, obj: Object, status: UnitStatus | ExperimentStatus) -> None:
        """Terminal is for ever: after it only observedGeneration may be written."""
        uid = obj["metadata"]["uid"]
        frozen = {k: v for k, v in obj["status"].items() if k != "observedGeneration"}
        assert self.latched.get(uid, frozen) == frozen, (self.latched[uid], frozen)
        if status.phase in ("Succeeded", "Failed", "Cancelled", "Skipped"):
            self.latched[uid] = frozen

    def _store(self, name: Name, obj: Object) -> Object:
        old = self.objects.get(name)
        if old is not None and old == obj:
            return copy.deepcopy(old)
        self.version += 1
        self.writes += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        gone = "deletionTimestamp" in obj["metadata"] and not obj["metadata"].get("finalizers")
        if gone:
            self.objects.pop(name, None)
            self.history.pop(name, None)
        else:
            self.objects[name] = obj
            self.history.setdefault(name, []).append(copy.deepcopy(obj))
        self.events.append((gone, copy.deepcopy(obj)))
        return copy.deepcopy(obj)


def _operate(obj: Object, operation: Object) -> None:
    """One operation of RFC 6902, as far as the operator uses them."""
    *path, last = operation["path"].removeprefix("/").split("/")
    parent: Any = obj
    for part in path:
        parent = parent[int(part) if isinstance(parent, list) else part]
    key: Any = int(last) if isinstance(parent, list) else last
    match operation["op"]:
        case "test":
            present = key < len(parent) if isinstance(parent, list) else key in parent
            if not present or parent[key] != operation["value"]:
                raise Conflict(f"test of {operation['path']} failed")
        case "add":
            parent[key] = copy.deepcopy(operation["value"])
        case "remove":
            del parent[key]


def _check_unit(old: Object, new: Object) -> None:
    """The rules that the CRD of ExecutionUnit has for changes."""
    before, now = UnitSpec.model_validate(old), UnitSpec.model_validate(new)
    work = ("script", "env", "executor", "outputs", "launcher")
    allowed = (
        (now.cancel or not before.cancel)
        and {gate.name for gate in now.gates} <= {gate.name for gate in before.gates}
        and (before.skip is None or now.skip == before.skip)
        and (before.gates or all(getattr(before, each) == getattr(now, each) for each in work))
    )
    if not allowed:
        raise Invalid("a rule of the CRD forbids this change")


class JobState(StrEnum):
    """How far a job is."""

    WAITING = "Waiting"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"

    @property
    def over(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED)


@dataclass
class Job:
    """A job at the backend."""

    handle: Handle
    unit: str
    uid: str
    outputs: tuple[str, ...]
    state: JobState = JobState.WAITING
    terminating: bool = False


@dataclass
class Places:
    """The backend: jobs by key. `mood` is how it takes new submissions.

    `started` counts the jobs of each task of an experiment, by its UID; the jobs of the units in
    `doomed` fail when they are left to themselves.
    """

    faults: Faults
    server: Server
    kind: str = "job"
    jobs: dict[str, Job] = field(default_factory=dict)
    created: Counter[str] = field(default_factory=Counter)
    started: Counter[tuple[str, str]] = field(default_factory=Counter)
    premature: list[str] = field(default_factory=list)
    doomed: frozenset[str] = frozenset()
    outage: bool = False
    mood: type[Exception] | None = None

    async def submit(self, target: Target) -> tuple[Handle, str]:
        if self.outage:
            raise Unreachable("Unreachable", "connection refused")
        for _ in self.faults.around(Unreachable):
            if target.key not in self.jobs:
                if self.mood is not None:
                    raise self.mood("QuotaExceeded", "no")
                self._begin(target)
            handle = self.jobs[target.key].handle
        return handle, "sha256:0"

    async def observe(self, target: Target, handle: Handle | None) -> Observation:
        lost = Observation(state=State.UNKNOWN, message="connection refused")
        if self.outage:
            return lost
        try:
            for _ in self.faults.around(Unreachable):
                seen = self._look(target.key)
        except Unreachable:
            return lost
        return seen

    async def cancel(self, target: Target, handle: Handle | None) -> None:
        if self.outage:
            raise Unreachable("Unreachable", "connection refused")
        for _ in self.faults.around(Unreachable):
            if target.key in self.jobs:
                self.jobs[target.key].terminating = True

    def advance(self, key: str, state: JobState) -> None:
        """The job goes on to this state, unless it is over or on its way out."""
        job = self.jobs[key]
        if job.terminating:
            del self.jobs[key]
        elif not job.state.over:
            job.state = state

    def go_on(self) -> str | None:
        """One job takes its next step towards its end; the unit that is told of it."""
        for key, job in self.jobs.items():
            if job.terminating or not job.state.over:
                running = job.state is JobState.RUNNING
                end = JobState.FAILED if job.unit in self.doomed else JobState.SUCCEEDED
                self.advance(key, end if running else JobState.RUNNING)
                return job.unit
        return None

    def collect_garbage(self) -> bool:
        """Deletes the jobs whose unit is gone; whether there were any."""
        uids = {obj["metadata"]["uid"] for obj in self.server.objects.values()}
        orphans = [key for key, job in self.jobs.items() if job.uid not in uids]
        for key in orphans:
            del self.jobs[key]
        return bool(orphans)

    def _begin(self, target: Target) -> None:
        self.created[target.key] += 1
        unit = self.server.objects.get(("ExecutionUnit", target.name), {"metadata": {}})
        for owner in unit["metadata"].get("ownerReferences", []):
            self.started[owner["uid"], target.name] += 1
        self.premature += _unmet(self.server, target)
        self.jobs[target.key] = Job(
            handle=Handle(kind="Job", name=target.name, uid=f"job-{sum(self.created.values())}"),
            unit=target.name,
            uid=target.uid,
            outputs=tuple(each.name for each in target.spec.outputs),
        )

    def _look(self, key: str) -> Observation:
        job = self.jobs.get(key)
        if job is None:
            return Observation(state=State.ABSENT)
        if job.terminating:
            return Observation(state=State.TERMINATING, handle=job.handle)
        return Observation(
            state=State(str(job.state)),
            handle=job.handle,
            outputs=tuple((name, "1") for name in job.outputs)
            if job.state is JobState.SUCCEEDED
            else (),
        )


def _unmet(server: Server, target: Target) -> list[str]:
    """What must have ended, and has not, before the unit of this target may start."""
    owner = server.objects.get(("Experiment", target.spec.experiment or ""))
    if owner is None or target.spec.task is None:
        return []
    (task,) = [each for each in owner["spec"]["tasks"] if each["name"] == target.spec.task]
    problems = []
    for edge in task["after"]:
        name = f"{target.spec.experiment}-{edge['task']}"
        parent = server.objects.get(("ExecutionUnit", name))
        phase = parent["status"].get("phase") if parent else "Cancelled"
        met = {
            "Succeeded": phase == "Succeeded",
            "Failed": phase == "Failed",
            "Finished": phase in ("Succeeded", "Failed", "Cancelled", "Skipped"),
        }[edge["when"]]
        if not met:
            problems.append(f"{target.name} started while {name} was {phase}, not {edge['when']}")
    return problems


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
            "Experiment": ExperimentReconciler(context),
            "ExecutionUnit": UnitReconciler(context, {"job": places}),
        }

    def take(self, obj: Object, *, gone: bool = False) -> None:
        """One event of a watch: into the cache, and whoever it concerns is woken."""
        obj = copy.deepcopy(obj)
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
