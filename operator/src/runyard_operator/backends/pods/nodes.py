"""The pods of a Job with several nodes, and how they find each other. Pure.

Kubernetes gives the pods of an Indexed Job the host names `<job>-<index>`; with a headless Service
and the pods' `subdomain` they are names in the cluster's DNS, `<job>-<index>.<service>`
(https://kubernetes.io/docs/concepts/workloads/controllers/job/#completion-mode).
"""

from __future__ import annotations

from typing import Final

from runyard_operator.backends import naming
from runyard_operator.backends.base import Manifest, Target
from runyard_operator.backends.pods.labels import labels, marks
from runyard_operator.backends.pods.template import Fragment, owned
from runyard_operator.backends.pods.view import INDEX

MASTER_PORT: Final = 29500
"""torch's own default; free, since a pod has all ports for itself."""


def count(target: Target) -> int:
    """How many pods the attempt's Job has; 1 as well when it is no Job."""
    block = target.spec.executor.job
    return (block.nodes if block is not None else None) or 1


def host(target: Target, rank: int) -> str:
    """The name by which the pod of that rank is reached in the namespace."""
    name = naming.job_name(target.name, target.attempt)
    return f"{name}-{rank}.{name}"


def service(target: Target) -> Manifest:
    """The Service that puts the pods' names into DNS; pods find each other before they are ready.

    It belongs to the unit, like all that is made before the Job.
    """
    mine = labels(target)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": naming.job_name(target.name, target.attempt),
            "namespace": target.namespace,
            "labels": mine,
            "annotations": marks(target),
            "ownerReferences": owned(target),
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": mine,
        },
    }


def job_fields(target: Target) -> Fragment:
    """What the Job's spec says about its pods.

    A try is an attempt of the unit: the Job never makes a second pod. With several pods, the first
    that fails makes the Job failed, and the Job controller ends the others.
    """
    nodes = count(target)
    found: Fragment = {"backoffLimit": 0, "completions": nodes, "parallelism": nodes}
    if nodes > 1:
        found["completionMode"] = "Indexed"
    return {**found, "podReplacementPolicy": "Failed"}


def environment(target: Target) -> dict[str, Fragment]:
    """How a program of a Job finds the other nodes: by the names that torch's own launcher gives
    to its processes, and by those from which it takes its options.

    Empty for a Job of one pod that says nothing about its processes.
    """
    block = target.spec.executor.job
    if block is None:
        return {}
    found: dict[str, Fragment] = {}
    launcher = target.spec.launcher.distributed if target.spec.launcher is not None else None
    processes = block.ntasks_per_node or (block.gpus if launcher is not None else None)
    if processes:
        found["PET_NPROC_PER_NODE"] = {"value": str(processes)}
    if count(target) > 1:
        port = (launcher.rdzv_port if launcher is not None else None) or MASTER_PORT
        field = {"fieldPath": f"metadata.annotations['{INDEX}']"}
        values: dict[str, Fragment] = {
            "MASTER_ADDR": {"value": host(target, 0)},
            "MASTER_PORT": {"value": str(port)},
            "NNODES": {"value": str(count(target))},
            "NODE_RANK": {"valueFrom": {"fieldRef": field}},
        }
        found |= values | {f"PET_{name}": value for name, value in values.items()}
    return {name: {"name": name, **value} for name, value in found.items()}
