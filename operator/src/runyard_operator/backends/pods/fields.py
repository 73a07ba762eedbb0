"""The fields of a pod that come from the executor block. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from runyard.api.constants import CODE_DIR, JOB_DIR
from runyard.api.executor import PodFields
from runyard_operator.backends.pods.template import JOB_VOLUME, Fragment, PodConfig

GPU: Final = "nvidia.com/gpu"


def resources(fields: PodFields, gpus: int | None) -> Fragment:
    """Requests and limits of each container of the task; memory is limited to its request by
    default."""
    requests = {"cpu": fields.cpu, "memory": fields.memory}
    limits = {"cpu": fields.cpu_limit, "memory": fields.memory_limit or fields.memory}
    if gpus is not None:
        requests[GPU] = limits[GPU] = str(gpus)
    parts = {
        name: {key: value for key, value in values.items() if value is not None}
        for name, values in (("requests", requests), ("limits", limits))
    }
    return {name: values for name, values in parts.items() if values}


def container_fields(fields: PodFields, mounts: Sequence[Fragment] = ()) -> Fragment:
    """What the main container has whatever its executor: its folder, mounts, last words."""
    found: Fragment = {
        "workingDir": CODE_DIR,
        "volumeMounts": [
            {"name": JOB_VOLUME, "mountPath": JOB_DIR},
            *mounts,
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


def pod_fields(fields: PodFields, config: PodConfig) -> Fragment:
    """What the pod itself takes from the executor block and from the configuration."""
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
    return found


def volumes(fields: PodFields) -> list[Fragment]:
    """The task's own volumes."""
    return [_volume(each.to_dict()) for each in fields.volumes]


def _volume(wire: Fragment) -> Fragment:
    return {key: _clean(value) if isinstance(value, dict) else value for key, value in wire.items()}


def _clean(source: Fragment) -> Fragment:
    """Without empty lists and texts, which mean "unset"."""
    return {key: value for key, value in source.items() if value not in ("", [])}
