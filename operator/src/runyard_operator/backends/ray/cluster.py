"""The Ray cluster of a task: head and worker groups, each pod with the task's code. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

from runyard.api.constants import SCRIPTS_DIR
from runyard.api.podfields import PodFields
from runyard.api.ray import RayExecutor, RayHead, RayWorkerGroup
from runyard_operator.backends.base import Refused, Target
from runyard_operator.backends.pods import code, nodes
from runyard_operator.backends.pods import fields as podfields
from runyard_operator.backends.pods.code import Staged
from runyard_operator.backends.pods.environment import environment as pod_environment
from runyard_operator.backends.pods.template import Fragment, PodConfig
from runyard_operator.engine import reasons

HEAD: Final = "ray-head"
WORKER: Final = "ray-worker"
PRE_START_FILE: Final = "runyard-pre-ray-start.sh"
PORTS: Final[Mapping[str, int]] = {"gcs-server": 6379, "dashboard": 8265, "client": 10001}
"""What the head's Service shows when no port is named; beside others these must be named, too."""
_HEAD_CPU: Final = "1"
_HEAD_MEMORY: Final = "2Gi"
_PARAMETER: Final = re.compile(r"[a-z][a-z0-9-]*")
_OURS: Final = frozenset({"block", "head", "address"})


def cluster_spec(
    target: Target, executor: RayExecutor, staged: Staged, config: PodConfig
) -> Fragment:
    """The spec of a RayCluster, which is also `rayClusterSpec` of a RayJob.

    Raises:
        Refused: the executor names no image, or an argument of `ray start` that is ours.
    """
    if executor.image is None:
        raise Refused(
            reasons.INVALID_SPEC,
            "executor.ray.image is not set: name an image with Ray in the task, in spec.defaults or"
            " in the profile",
        )
    head = executor.head or RayHead()
    found: Fragment = {
        "headGroupSpec": _head(target, executor, head, staged, config),
        "workerGroupSpecs": [
            _workers(target, executor, group, staged, config) for group in executor.worker_groups
        ],
    }
    if executor.ray_version is not None:
        found["rayVersion"] = executor.ray_version
    if executor.autoscaler is not None:
        found["enableInTreeAutoscaling"] = True
        options = executor.autoscaler.to_dict()
        if options:
            found["autoscalerOptions"] = options
    return found


def _head(
    target: Target, executor: RayExecutor, head: RayHead, staged: Staged, config: PodConfig
) -> Fragment:
    pod_fields = executor.model_copy(
        update={
            "cpu": head.cpu or _HEAD_CPU,
            "cpu_limit": head.cpu_limit,
            "memory": head.memory or _HEAD_MEMORY,
            "memory_limit": head.memory_limit,
        }
    )
    container = _container(HEAD, target, pod_fields, head.gpus, executor, staged)
    if head.ports:
        ports = {**PORTS, **{each.name: each.container_port for each in head.ports}}
        container["ports"] = [{"name": k, "containerPort": v} for k, v in ports.items()]
    pod = _pod(target, pod_fields, container, staged, config)
    if executor.autoscaler is not None:
        # The autoscaler is a container of this pod and talks to the API server, by a ServiceAccount
        # that KubeRay makes for it.
        pod["automountServiceAccountToken"] = True
    found: Fragment = {
        "rayStartParams": _parameters("head", head.ray_start_params),
        "template": {"metadata": podfields.pod_metadata(target, pod_fields), "spec": pod},
    }
    if head.service_type is not None:
        found["serviceType"] = head.service_type
    return found


def _workers(
    target: Target, executor: RayExecutor, group: RayWorkerGroup, staged: Staged, config: PodConfig
) -> Fragment:
    pod_fields = executor.model_copy(
        update={
            "cpu": group.cpu or executor.cpu,
            "cpu_limit": group.cpu_limit or executor.cpu_limit,
            "memory": group.memory or executor.memory,
            "memory_limit": group.memory_limit or executor.memory_limit,
            "node_selector": {**executor.node_selector, **group.node_selector},
            "pod_labels": {**executor.pod_labels, **group.labels},
            "pod_annotations": {**executor.pod_annotations, **group.annotations},
            **_volumes(executor, group),
        }
    )
    gpus = group.gpus_per_worker
    container = _container(WORKER, target, pod_fields, gpus, executor, staged)
    least, most = group.min_replicas, group.max_replicas
    return {
        "groupName": group.name,
        "replicas": group.replicas,
        "minReplicas": group.replicas if least is None else least,
        "maxReplicas": group.replicas if most is None else most,
        "rayStartParams": _parameters(group.name, group.ray_start_params),
        "template": {
            "metadata": podfields.pod_metadata(target, pod_fields),
            "spec": _pod(target, pod_fields, container, staged, config),
        },
    }


def _volumes(executor: RayExecutor, group: RayWorkerGroup) -> dict[str, list[Any]]:
    """The group's mounts over the executor's, and the volumes that they need."""
    mounts = {each.mount_path: each for each in group.volume_mounts}
    if executor.reuse_volumes_in_worker_groups is not False:
        mounts = {each.mount_path: each for each in executor.volume_mounts} | mounts
        return {"volumes": executor.volumes, "volume_mounts": list(mounts.values())}
    named = {each.name for each in group.volume_mounts}
    return {
        "volumes": [each for each in executor.volumes if each.name in named],
        "volume_mounts": list(mounts.values()),
    }


def environment(target: Target) -> list[Fragment]:
    """The variables of head and workers: a Ray task has no node ranks."""
    ranks = nodes.environment(target)
    return [each for each in pod_environment(target) if each["name"] not in ranks]


def _container(
    name: str,
    target: Target,
    pod_fields: PodFields,
    gpus: int | None,
    executor: RayExecutor,
    staged: Staged,
) -> Fragment:
    mounts = [] if code.is_bare(target.spec) else code.mounts(target.spec, staged)
    found: Fragment = {
        "name": name,
        "image": executor.image,
        "env": environment(target),
        **podfields.container_fields(pod_fields, mounts),
    }
    resources = podfields.resources(pod_fields, gpus)
    if resources:
        found["resources"] = resources
    if executor.pre_ray_start_commands:
        # KubeRay joins these words with blanks and `&& ulimit ...; ray start ...` to one line for
        # bash. Without the exit, Ray would start after a command that failed.
        script = f"{SCRIPTS_DIR}/{PRE_START_FILE}"
        found["command"] = ["bash", "-e", "-o", "pipefail", script, "||", "exit", "1"]
    return found


def pre_start_script(commands: Sequence[str]) -> str:
    """The file of the commands before `ray start`; the first that fails ends it."""
    return "".join(f"{each}\n" for each in commands)


def _pod(
    target: Target, pod_fields: PodFields, container: Fragment, staged: Staged, config: PodConfig
) -> Fragment:
    return {
        **podfields.pod_fields(pod_fields, config),
        "initContainers": code.init_containers(
            target, staged, pod_fields, pod_fields.image, container["env"], config
        ),
        "containers": [container],
        "volumes": [*code.volumes(target.spec, staged), *podfields.volumes(pod_fields)],
    }


def _parameters(group: str, given: Mapping[str, str]) -> dict[str, str]:
    """Arguments of `ray start`, quoted: KubeRay writes them into a line for bash as they are."""
    for name in given:
        if not _PARAMETER.fullmatch(name) or name in _OURS:
            raise Refused(
                reasons.INVALID_SPEC,
                f"rayStartParams of {group}: {name!r} is no argument of `ray start` that can be set"
                " here: write its name without dashes in front, for example num-cpus",
            )
    return {name: shlex.quote(value) for name, value in given.items()}
