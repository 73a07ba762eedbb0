"""Checks the fields of executor blocks that no backend could honour as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from runyard.api.constants import GROUP
from runyard.api.executor import TrainJobExecutor
from runyard.api.podfields import PodFields
from runyard.api.task import Work

_HUGE_PAGES: Final = "hugepages-"
_SHM: Final = "/dev/shm"  # noqa: S108 - where the shared memory of `shmSize` goes
_OWN_FIELDS: Final = {"cpu": "cpu and cpuLimit", "memory": "memory and memoryLimit"}
RESERVED: Final = {
    GROUP: "it is Runyard's own",
    "batch.kubernetes.io": "Kubernetes sets it on the pods of a Job",
    "jobset.sigs.k8s.io": "JobSet sets it on the pods of a TrainJob",
    "trainer.kubeflow.org": "it is the Trainer's own",
    "kueue.x-k8s.io": "set queueName and workloadPriorityClass for Kueue",
}
"""Groups whose labels and annotations are not for users, and what to do instead."""


def by_the_piece(resource: str) -> bool:
    """Whether a resource is an extended one or huge pages: its limit must be its request.

    https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/
    """
    return "/" in resource or resource.startswith(_HUGE_PAGES)


def problems(task: Work) -> Iterator[str]:
    """What is wrong, each as the rest of a sentence that begins with the path of the task."""
    block = task.executor.block
    yield from _marks(block)
    yield from _ray_marks(task)
    yield from _resources(block)
    if block.workload_priority_class is not None and block.queue_name is None:
        yield "has a workloadPriorityClass and no queue: set queueName, or leave it out"
    if block.shm_size is not None and any(
        mount.mount_path.rstrip("/") == _SHM for mount in block.volume_mounts
    ):
        yield f"has shmSize and mounts a volume at {_SHM}: keep one of them"
    job = task.executor.job
    if job is not None and task.group is not None and (job.nodes or 1) > 1:
        yield (
            "has a group and executor.job.nodes: a group is one pod there; leave nodes out, or use"
            " executor.trainJob, where each role has its own pods"
        )
    if task.executor.train_job is not None:
        yield from _elastic(task, task.executor.train_job)


def _marks(block: PodFields) -> Iterator[str]:
    for field in ("labels", "annotations", "pod_labels", "pod_annotations"):
        yield from _reserved(getattr(block, field))


def _ray_marks(task: Work) -> Iterator[str]:
    for group in task.executor.ray.worker_groups if task.executor.ray else ():
        yield from _reserved({**group.labels, **group.annotations})


def _reserved(marks: Mapping[str, str]) -> Iterator[str]:
    for key in marks:
        domain, slash, _ = key.partition("/")
        if slash and domain in RESERVED:
            yield f"sets the label or annotation {key!r}, which is reserved: {RESERVED[domain]}"


def _resources(block: PodFields) -> Iterator[str]:
    requests, limits = block.extra_resource_requests, block.extra_resource_limits
    for name in dict.fromkeys((*requests, *limits)):
        if name in _OWN_FIELDS:
            yield f"asks for {name} as an extra resource: use {_OWN_FIELDS[name]}"
        elif by_the_piece(name) and requests.get(name, limits.get(name)) != limits.get(
            name, requests.get(name)
        ):
            yield (
                f"asks for {requests[name]} of {name} and limits it to {limits[name]}: Kubernetes"
                " takes no limit for it but the request; leave the limit out"
            )
    overrides = block.pod_spec_overrides
    for claim in overrides.resource_claims if overrides is not None else ():
        if not isinstance(claim.get("name"), str):
            yield "has a podSpecOverrides.resourceClaims entry without a name: give it one"


def _elastic(task: Work, block: TrainJobExecutor) -> Iterator[str]:
    if block.min_nodes is None:
        return
    if block.min_nodes > (block.num_nodes or 1):
        yield (
            f"has minNodes {block.min_nodes}, more than its {block.num_nodes or 1} numNodes:"
            " lower it"
        )
    launcher = task.launcher.distributed if task.launcher is not None else None
    if launcher is None or not launcher.max_restarts or launcher.rdzv_backend == "static":
        yield (
            "has minNodes, and its launcher cannot go on with fewer nodes: set launcher.torchrun or"
            " launcher.ft with maxRestarts of 1 or more and rdzvBackend c10d"
        )
