"""An API server in memory, as far as the operator can tell; every call to it can go wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from runyard.api import ExperimentStatus, UnitSpec, UnitStatus
from runyard.api.constants import LABEL_EXPERIMENT
from runyard_operator.backends.base import Unreachable
from runyard_operator.kube.errors import AlreadyExists, Conflict, Invalid, NotFound, Unavailable
from runyard_operator.kube.resources import Ref

Object = dict[str, Any]
Objects = list[Object]
Name = tuple[str, str]
"""Kind and name; everything is in one namespace."""
NAMESPACE = "ns"


def clone(obj: Any) -> Any:
    """A copy, as it comes back from the wire. What is stored is shared and never changed."""
    return json.loads(json.dumps(obj))


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
            found = self.objects.get((ref.kind, ref.name))
        return found

    async def list(self, api_version: str, kind: str, **selectors: Any) -> Objects:
        label = selectors["label_selector"].removeprefix(f"{LABEL_EXPERIMENT}=")
        for _ in self.faults.around(Unavailable):
            found = [
                obj
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
        obj = clone(manifest)
        obj["metadata"].update(uid=f"uid-{self.version}", generation=1, namespace=NAMESPACE)
        obj["status"] = {"observedGeneration": -1}
        return self._store(name, obj)

    def patch(self, name: Name, operations: Objects) -> Object:
        """A JSON patch of an object's metadata or spec."""
        if name not in self.objects:
            raise NotFound(f"{name} is gone")
        old = self.objects[name]
        new = clone(old)
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
        obj = clone(self.objects[name])
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
        obj = {**clone(old), "status": clone(manifest["status"])}
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
            return old
        self.version += 1
        self.writes += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        gone = "deletionTimestamp" in obj["metadata"] and not obj["metadata"].get("finalizers")
        if gone:
            self.objects.pop(name, None)
            self.history.pop(name, None)
        else:
            self.objects[name] = obj
            self.history.setdefault(name, []).append(obj)
        self.events.append((gone, obj))
        return obj


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
            parent[key] = clone(operation["value"])
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
