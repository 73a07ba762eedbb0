"""What the reconcilers write: status, units, and JSON patches with preconditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from runyard.api.base import ApiModel
from runyard.api.constants import (
    API_VERSION,
    FINALIZER,
    LABEL_EXPERIMENT,
    LABEL_MANAGED_BY,
    LABEL_MEMBER,
    LABEL_TASK,
    MANAGED_BY,
)
from runyard.api.unit import UnitSpec
from runyard_operator.engine.effects import UpdateUnit

STATUS_MANAGER: Final = "runyard-operator"

Manifest = dict[str, Any]
Patch = list[dict[str, Any]]
Object = Mapping[str, Any]


def status(obj: Object, new: ApiModel) -> Manifest:
    """The whole status as one apply; the resourceVersion makes a decision on stale news fail."""
    metadata = obj["metadata"]
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "status": new.to_dict(),
    }


def owner(obj: Object) -> dict[str, Any]:
    """The controller reference to an object, for what is made on its behalf."""
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": obj["metadata"]["name"],
        "uid": obj["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def unit(experiment: Object, name: str, spec: UnitSpec) -> Manifest:
    """The ExecutionUnit of a slot, born with our finalizer: no job can ever precede it.

    One that will never have a job needs none.
    """
    owned_by = experiment["metadata"]["name"]
    labels = {
        LABEL_EXPERIMENT: owned_by,
        LABEL_TASK: spec.task or name,
        LABEL_MANAGED_BY: MANAGED_BY,
    }
    if spec.member is not None:
        labels[LABEL_MEMBER] = str(spec.member.index)
    metadata: Manifest = {
        "name": name,
        "namespace": experiment["metadata"]["namespace"],
        "labels": labels,
        "ownerReferences": [owner(experiment)],
    }
    if spec.skip is None and spec.adopted is None:
        metadata["finalizers"] = [FINALIZER]
    return {
        "apiVersion": API_VERSION,
        "kind": "ExecutionUnit",
        "metadata": metadata,
        "spec": spec.to_dict(),
    }


def unit_patch(current: Object, change: UpdateUnit) -> Patch:
    """What a change alters on a unit, as operations that fail on any other state."""
    wanted = {"cancel": change.cancel, "suspend": change.suspend}
    changes: Patch = [
        {"op": "add", "path": f"/spec/{field}", "value": value}
        for field, value in wanted.items()
        if value is not None and current["spec"].get(field, False) != value
    ]
    if not changes:
        return []
    uid = {"op": "test", "path": "/metadata/uid", "value": change.uid}
    return [uid, _unchanged(current), *changes]


def add_finalizer(obj: Object) -> Patch:
    """Puts our finalizer beside those that are there."""
    present = obj["metadata"].get("finalizers", [])
    return [
        _unchanged(obj),
        {"op": "add", "path": "/metadata/finalizers", "value": [*present, FINALIZER]},
    ]


def release_finalizer(obj: Object) -> Patch:
    """Takes our finalizer off, and no other."""
    index = obj["metadata"]["finalizers"].index(FINALIZER)
    path = f"/metadata/finalizers/{index}"
    return [
        {"op": "test", "path": "/metadata/uid", "value": obj["metadata"]["uid"]},
        {"op": "test", "path": path, "value": FINALIZER},
        {"op": "remove", "path": path},
    ]


def _unchanged(obj: Object) -> dict[str, Any]:
    version = obj["metadata"]["resourceVersion"]
    return {"op": "test", "path": "/metadata/resourceVersion", "value": version}
