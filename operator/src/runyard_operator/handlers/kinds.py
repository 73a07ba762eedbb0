"""The kinds that are watched, and which keys an object of each of them puts on the queue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from runyard.api.constants import API_VERSION, LABEL_EXPERIMENT, LABEL_UNIT, LABEL_UNIT_UID
from runyard.api.experiment import ExperimentPhase
from runyard_operator.kube.api import Object
from runyard_operator.kube.resources import RAY, TRAINER, Ref, Resource, resource
from runyard_operator.queue import Key
from runyard_operator.reconcile import views
from runyard_operator.store import Store

EXPERIMENT: Final = "Experiment"
UNIT: Final = "ExecutionUnit"
PROFILE: Final = "ExecutionProfile"

_ENDED: Final = {
    ExperimentPhase.SUCCEEDED.value,
    ExperimentPhase.FAILED.value,
    ExperimentPhase.CANCELLED.value,
}


@dataclass(frozen=True, slots=True)
class Watched:
    """A kind that is watched.

    Attributes:
        resource: where it is served.
        selector: label selector that the API server applies; None for all objects.
        optional: whether the kind may be missing: the executor that makes it is then refused.
    """

    resource: Resource
    selector: str | None = None
    optional: bool = False

    @property
    def kind(self) -> str:
        return self.resource.kind


PROFILES: Final = Watched(resource(API_VERSION, PROFILE))
WATCHED: Final = (
    Watched(resource(API_VERSION, EXPERIMENT)),
    Watched(resource(API_VERSION, UNIT)),
    PROFILES,
    Watched(resource("batch/v1", "Job"), LABEL_UNIT_UID),
    Watched(resource("v1", "Pod"), LABEL_UNIT_UID),
    Watched(resource(TRAINER, "TrainJob"), LABEL_UNIT_UID, optional=True),
    Watched(resource(RAY, "RayJob"), LABEL_UNIT_UID, optional=True),
    Watched(resource(RAY, "RayCluster"), LABEL_UNIT_UID, optional=True),
)


def keys(
    obj: Object, store: Store, operator_namespace: str, *, before: Object | None = None
) -> Iterator[Key]:
    """Whom the news about an object concerns: itself, and what is above it.

    Args:
        obj: the object as it is now, or as it was last when it is gone.
        store: knows who uses a profile.
        operator_namespace: the namespace of the shared profiles.
        before: an older state, all of whose news have been told.
    """
    metadata = obj["metadata"]
    namespace, labels = metadata.get("namespace", ""), metadata.get("labels") or {}
    match obj["kind"]:
        case "Experiment":
            yield Key(EXPERIMENT, namespace, metadata["name"])
        case "ExecutionUnit":
            yield Key(UNIT, namespace, metadata["name"])
            if LABEL_EXPERIMENT in labels and not _same_to_its_experiment(before, obj):
                yield Key(EXPERIMENT, namespace, labels[LABEL_EXPERIMENT])
        case "ExecutionProfile":
            # Who uses it is known only once the chain of profiles is resolved; profiles are few
            # and change rarely.
            everywhere = namespace == operator_namespace
            for each in store.list(EXPERIMENT, None if everywhere else namespace):
                if each.get("status", {}).get("phase") not in _ENDED:
                    yield Key(EXPERIMENT, each["metadata"]["namespace"], each["metadata"]["name"])
        case _ if LABEL_UNIT in labels:
            yield Key(UNIT, namespace, labels[LABEL_UNIT])


def _same_to_its_experiment(before: Object | None, obj: Object) -> bool:
    if before is None or before["metadata"]["uid"] != obj["metadata"]["uid"]:
        return False
    # The same version twice: it was read in passing, and nobody has been told of it.
    if before["metadata"]["resourceVersion"] == obj["metadata"]["resourceVersion"]:
        return False
    return views.slot_unit(before) == views.slot_unit(obj)


def group(key: Key, store: Store) -> str:
    """The line in the queue: all keys of an experiment take turns with those of the others."""
    experiment = key.name
    if key.kind == UNIT:
        unit = store.get(Ref(API_VERSION, UNIT, key.name, key.namespace))
        labels = (unit or {}).get("metadata", {}).get("labels") or {}
        experiment = labels.get(LABEL_EXPERIMENT, key.name)
    return f"{key.namespace}/{experiment}"
