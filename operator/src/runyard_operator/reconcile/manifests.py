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
    LABEL_TASK,
    MANAGED_BY,
)
from runyard.api.unit import UnitSpec
from runyard_operator.engine import naming

STATUS_MANAGER: Final = "runyard-operator"

Manifest = dict[str, Any]
Patch = list[dict[str, Any]]
Object = Mapping[str, Any]

_CHANGING: Final = ("script", "env", "gates", "skip", "cancel")
"""The fields of a unit that its experiment may still change."""


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


def unit(experiment: Object, task: str, spec: UnitSpec) -> Manifest:
    """The ExecutionUnit of a task, born with our finalizer: no job can ever precede it."""
    name = experiment["metadata"]["name"]
    return {
        "apiVersion": API_VERSION,
        "kind": "ExecutionUnit",
        "metadata": {
            "name": naming.unit_name(name, task),
            "namespace": experiment["metadata"]["namespace"],
            "labels": {
                LABEL_EXPERIMENT: name,
                LABEL_TASK: task,
                LABEL_MANAGED_BY: MANAGED_BY,
            },
            "finalizers": [FINALIZER],
            "ownerReferences": [owner(experiment)],
        },
        "spec": spec.to_dict(),
    }


def unit_patch(current: Object, uid: str, spec: UnitSpec) -> Patch:
    """The difference between a unit and `spec`, as operations that fail on any other state."""
    wanted = spec.to_dict()
    changes: Patch = [
        {"op": "add", "path": f"/spec/{field}", "value": wanted[field]}
        for field in _CHANGING
        if field in wanted and current["spec"].get(field) != wanted[field]
    ]
    if not changes:
        return []
    return [{"op": "test", "path": "/metadata/uid", "value": uid}, _unchanged(current), *changes]


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
