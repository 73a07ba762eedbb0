"""What a pod says of its logs: whose they are, and which containers count. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Object = Mapping[str, Any]

# As runyard.api.constants has them; the models need not be loaded for the sake of a few words.
LABEL_TASK: Final = "runyard.dev/task"
LABEL_MEMBER: Final = "runyard.dev/member"
LABEL_ATTEMPT: Final = "runyard.dev/attempt"
LABEL_RANK: Final = "batch.kubernetes.io/job-completion-index"
LABEL_JOBSET_JOB: Final = "jobset.sigs.k8s.io/replicatedjob-name"
LABEL_RAY_NODE: Final = "ray.io/node-type"
LABEL_RAY_GROUP: Final = "ray.io/group"
_DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
_ROLE: Final = "RUNYARD_ROLE"
_ENDED: Final = ("Succeeded", "Failed")


def log_key(pod_uid: str, container: str) -> str:
    """Names the log of a container for good, wherever it is kept."""
    return f"{pod_uid}/{container}"


def containers_of(pod: Object) -> list[tuple[str, str]]:
    """The containers whose logs are meant, each with its role in a group, the leader first.

    Without a group it is one container without a role: the annotated one, else the first. Init
    containers are meant when they have failed.
    """
    spec = pod["spec"]
    every = [*spec["containers"], *(spec.get("initContainers") or [])]
    roles = [(str(each["name"]), role) for each in every if (role := _role_of(each))]
    annotated = (pod["metadata"].get("annotations") or {}).get(_DEFAULT_CONTAINER)
    return roles or [(str(annotated or every[0]["name"]), "")]


def failed_init_containers(pod: Object) -> list[str]:
    """The init containers, roles of a group aside, that ended with an error."""
    roles = {name for name, _ in containers_of(pod)}
    statuses = (pod.get("status") or {}).get("initContainerStatuses") or []
    return [
        each["name"]
        for each in statuses
        if each["name"] not in roles
        and ((each.get("state") or {}).get("terminated") or {}).get("exitCode")
    ]


def _role_of(container: Mapping[str, Any]) -> str:
    variables: Sequence[Mapping[str, Any]] = container.get("env") or []
    return next((each.get("value") or "" for each in variables if each["name"] == _ROLE), "")


def started(pod: Object, container: str) -> bool:
    """Whether the container runs or has run, so that it has a log."""
    status = pod.get("status") or {}
    kinds = ("containerStatuses", "initContainerStatuses")
    return any(
        "running" in each["state"] or "terminated" in each["state"]
        for kind in kinds
        for each in status.get(kind) or []
        if each["name"] == container
    )


def ended(pod: Object) -> bool:
    """Whether the pod will write no more."""
    return (pod.get("status") or {}).get("phase") in _ENDED


def task_of(pod: Object) -> tuple[str, int | None]:
    """The task and, of a matrix, the member whose pod it is."""
    labels = pod["metadata"].get("labels") or {}
    member = labels.get(LABEL_MEMBER) or ""
    return labels.get(LABEL_TASK) or "", int(member) if member.isdigit() else None


def attempt_of(pod: Object) -> int:
    """The number of the attempt that the pod is of."""
    label = (pod["metadata"].get("labels") or {}).get(LABEL_ATTEMPT) or ""
    return int(label) if label.isdigit() else 0


def place_of(pod: Object) -> tuple[str, str, int, str]:
    """What a newer pod takes over from an older one. Ray's workers have a place of their own."""
    labels = pod["metadata"].get("labels") or {}
    name = pod["metadata"]["name"] if labels.get(LABEL_RAY_NODE) == "worker" else ""
    return (
        labels.get(LABEL_JOBSET_JOB) or "",
        labels.get(LABEL_RAY_NODE) or "",
        rank_of(pod),
        name,
    )


def rank_of(pod: Object) -> int:
    """The completion index; 0 where there is none."""
    label = (pod["metadata"].get("labels") or {}).get(LABEL_RANK) or ""
    return int(label) if label.isdigit() else 0


def ray_role(pod: Object) -> str:
    """The part of a Ray cluster that a pod is: head, or its group and what its name ends with."""
    labels = pod["metadata"].get("labels") or {}
    node = str(labels.get(LABEL_RAY_NODE) or "")
    if node != "worker":
        return node
    return f"{labels.get(LABEL_RAY_GROUP) or node}-{pod['metadata']['name'].rpartition('-')[2]}"


def described(pod: Object) -> Sequence[tuple[str, str, bool, bool]]:
    """The containers whose logs are meant: name, role, whether that is wide, whether it is an init
    container that has failed."""
    labels = pod["metadata"].get("labels") or {}
    ray = ray_role(pod)
    found = [
        (name, role or ray, bool(role) and LABEL_JOBSET_JOB in labels, False)
        for name, role in containers_of(pod)
    ]
    first = found[0][1:3]
    return [*((name, *first, True) for name in failed_init_containers(pod)), *found]
