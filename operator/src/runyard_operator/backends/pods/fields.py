"""The fields of a pod and of its job that come from the executor block. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from runyard.api.constants import CODE_DIR, JOB_DIR
from runyard.api.podfields import PodFields
from runyard_operator.backends import kueue
from runyard_operator.backends.base import Target
from runyard_operator.backends.pods.labels import labels, marks
from runyard_operator.backends.pods.template import JOB_VOLUME, Fragment, PodConfig, owned
from runyard_operator.engine.checked_fields import by_the_piece

GPU: Final = "nvidia.com/gpu"
SHM_VOLUME: Final = "runyard-shm"
SHM_DIR: Final = "/dev/shm"  # noqa: S108 - the folder that the C library uses for shared memory


def resources(fields: PodFields, gpus: int | None) -> Fragment:
    """Requests, limits and claims of each container of the task.

    Memory is limited to its request by default, and so is what Kubernetes hands out by the piece:
    extended resources, GPUs among them, and huge pages take no other limit.
    """
    requests = {"cpu": fields.cpu, "memory": fields.memory, **fields.extra_resource_requests}
    limits = {"cpu": fields.cpu_limit, "memory": fields.memory_limit or fields.memory}
    if gpus is not None:
        requests[fields.gpu_resource or GPU] = str(gpus)
    limits |= {name: value for name, value in requests.items() if by_the_piece(name)}
    limits |= fields.extra_resource_limits
    parts = {
        name: {key: value for key, value in values.items() if value is not None}
        for name, values in (("requests", requests), ("limits", limits))
    }
    found: Fragment = {name: values for name, values in parts.items() if values}
    if claims := _claims(fields):
        found["claims"] = claims
    return found


def _claims(fields: PodFields) -> list[Fragment]:
    overrides = fields.pod_spec_overrides
    wanted = overrides.resource_claims if overrides is not None else []
    return [{"name": each["name"]} for each in wanted if "name" in each]


def container_fields(fields: PodFields, mounts: Sequence[Fragment] = ()) -> Fragment:
    """What the main container has whatever its executor: its folder, mounts, last words."""
    shm = [{"name": SHM_VOLUME, "mountPath": SHM_DIR}] if fields.shm_size is not None else []
    found: Fragment = {
        "workingDir": CODE_DIR,
        "volumeMounts": [
            {"name": JOB_VOLUME, "mountPath": JOB_DIR},
            *mounts,
            *shm,
            *(
                {k: v for k, v in each.to_dict().items() if v is not False}
                for each in fields.volume_mounts
            ),
        ],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if fields.image_pull_policy is not None:
        found["imagePullPolicy"] = fields.image_pull_policy
    return found


def pod_fields(fields: PodFields, config: PodConfig, *, helps: bool = False) -> Fragment:
    """What the pod itself takes from the executor block and from the configuration.

    A pod that `helps` runs none of the task's containers, and claims no device.
    """
    found: Fragment = {
        "enableServiceLinks": False,
        "automountServiceAccountToken": fields.service_account_name is not None,
    }
    if fields.service_account_name is not None:
        found["serviceAccountName"] = fields.service_account_name
    secrets = dict.fromkeys((*fields.image_pull_secrets, *config.image_pull_secrets))
    if secrets:
        found["imagePullSecrets"] = [{"name": name} for name in secrets]
    if fields.node_selector:
        found["nodeSelector"] = dict(fields.node_selector)
    if fields.tolerations:
        found["tolerations"] = [each.to_dict() for each in fields.tolerations]
    if fields.affinity:
        found["affinity"] = dict(fields.affinity)
    overrides = _overrides(fields)
    if helps:
        overrides.pop("resourceClaims", None)
    return {**found, **overrides}


def volumes(fields: PodFields) -> list[Fragment]:
    """The task's own volumes, and the one behind /dev/shm."""
    found = [_volume(each.to_dict()) for each in fields.volumes]
    if fields.shm_size is not None:
        memory = {"medium": "Memory", "sizeLimit": fields.shm_size}
        found.append({"name": SHM_VOLUME, "emptyDir": memory})
    return found


def child_metadata(target: Target, name: str, fields: PodFields) -> Fragment:
    """The metadata of the attempt's job: the user's labels, those of its queue, and ours over all.

    None of it is for the pods: see `pod_metadata`.
    """
    return {
        "name": name,
        "namespace": target.namespace,
        "labels": {**fields.labels, **kueue.labels(fields), **labels(target)},
        "annotations": {**fields.annotations, **marks(target)},
        "ownerReferences": owned(target),
    }


def pod_metadata(target: Target, fields: PodFields) -> Fragment:
    """The metadata of the task's pods: the user's labels and annotations, and ours over them."""
    return {
        "labels": {**fields.pod_labels, **labels(target)},
        "annotations": {**fields.pod_annotations, **marks(target)},
    }


def _volume(wire: Fragment) -> Fragment:
    # An empty source, `emptyDir: {}`, says something.
    return {key: _clean(value) if isinstance(value, dict) else value for key, value in wire.items()}


def _overrides(fields: PodFields) -> Fragment:
    """What is set of `podSpecOverrides`, as the pod's spec has it."""
    if fields.pod_spec_overrides is None:
        return {}
    found = _clean(fields.pod_spec_overrides.to_dict())
    if "securityContext" in found:
        found["securityContext"] = _clean(found["securityContext"])
    return found


def _clean(source: Fragment) -> Fragment:
    """Without empty lists and texts, which mean "unset"; below, a label's value may be empty."""
    return {key: value for key, value in source.items() if value not in ("", [])}
