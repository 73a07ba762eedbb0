"""The parts of a pod that a task may set: environment, volumes, and their sources.

Only what is listed here reaches a pod. A raw pod template would hand every user the operator's
rights; host paths, host networking and privileged containers are left out on purpose.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from runyard.api.base import (
    ATOMIC_LIST,
    INT64,
    ApiModel,
    FreeForm,
    Name,
    ObjectName,
    Quantity,
    map_by,
    rule,
    with_rules,
)

MAX_VALUE = 32768
"""Characters of the value of an environment variable."""
ENV_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
# A rule with a better message would cost more than the API server grants for so many mounts.
_PART = r"([^/:.][^/:]*|\.[^/:.][^/:]*|\.\.[^/:]+)"
Path = Annotated[
    str,
    Field(
        pattern=rf"^(/{_PART})+/?$",
        min_length=2,
        max_length=1024,
        description="An absolute path below '/', without ':' and without '.' and '..' parts.",
    ),
]
RelativePath = Annotated[
    str,
    Field(
        # A part may begin with one dot; '.', '..' and what begins with two dots is left out. As a
        # CEL rule, which could have a message, this is 27 times over the CRD's cost budget.
        pattern=r"^\.?[A-Za-z0-9_+@-][A-Za-z0-9_.+@-]*(/\.?[A-Za-z0-9_+@-][A-Za-z0-9_.+@-]*)*$",
        min_length=1,
        max_length=253,
        description="A relative path with forward slashes; no part of it may be '.' or '..'.",
    ),
]


class KeySelector(ApiModel):
    """One key of a Secret or a ConfigMap in the experiment's namespace."""

    name: ObjectName
    key: str = Field(min_length=1, max_length=253)
    optional: bool = False


class FieldSelector(ApiModel):
    """A field of the pod, for example `status.podIP`."""

    field_path: str = Field(min_length=1, max_length=253)


class EnvVarSource(ApiModel):
    """Where an environment variable's value comes from; exactly one source."""

    model_config = with_rules(
        rule(
            "[has(self.secretKeyRef),has(self.configMapKeyRef),has(self.fieldRef)]"
            ".filter(x, x).size() == 1",
            "set exactly one of secretKeyRef, configMapKeyRef and fieldRef",
        )
    )
    secret_key_ref: KeySelector | None = None
    config_map_key_ref: KeySelector | None = None
    field_ref: FieldSelector | None = None


class EnvVar(ApiModel):
    """An environment variable: a literal value, or a reference. The name's case is kept."""

    model_config = with_rules(
        rule(
            "!(has(self.value) && has(self.valueFrom))",
            "set value or valueFrom, not both",
        )
    )
    name: str = Field(pattern=ENV_NAME, min_length=1, max_length=253)
    value: str | None = Field(
        default=None,
        max_length=MAX_VALUE,
        description="Literal text; ${tasks.NAME.outputs.OUTPUT} is replaced by that output.",
    )
    value_from: EnvVarSource | None = None


class KeyToPath(ApiModel):
    """Puts one key of a ConfigMap or Secret at a relative path, sub-folders included."""

    key: str = Field(min_length=1, max_length=253)
    path: RelativePath


class PersistentVolumeClaimSource(ApiModel):
    """A PersistentVolumeClaim in the experiment's namespace."""

    claim_name: ObjectName
    read_only: bool = False


class ConfigMapSource(ApiModel):
    """A ConfigMap in the experiment's namespace, whole or by `items`."""

    name: ObjectName
    items: Annotated[list[KeyToPath], Field(max_length=256, json_schema_extra=ATOMIC_LIST)] = []


class SecretSource(ApiModel):
    """A Secret in the experiment's namespace, whole or by `items`."""

    secret_name: ObjectName
    items: Annotated[list[KeyToPath], Field(max_length=256, json_schema_extra=ATOMIC_LIST)] = []


class EmptyDirSource(ApiModel):
    """A scratch folder that lives as long as the pod; `Memory` makes it shared memory."""

    medium: Literal["", "Memory"] = ""
    size_limit: Quantity | None = None


class Volume(ApiModel):
    """A volume that the task's containers can mount; exactly one source."""

    model_config = with_rules(
        rule(
            "[has(self.persistentVolumeClaim),has(self.configMap),has(self.secret),"
            "has(self.emptyDir)].filter(x, x).size() == 1",
            "set exactly one of persistentVolumeClaim, configMap, secret and emptyDir",
        ),
        rule(
            "!self.name.startsWith('runyard-')",
            "volume names that begin with 'runyard-' are reserved: choose another",
        ),
    )
    name: Name
    persistent_volume_claim: PersistentVolumeClaimSource | None = None
    config_map: ConfigMapSource | None = None
    secret: SecretSource | None = None
    empty_dir: EmptyDirSource | None = None


class VolumeMount(ApiModel):
    """Where a volume appears in the container."""

    model_config = with_rules(
        rule(
            "self.mountPath != '/nemo_run' && !self.mountPath.startsWith('/nemo_run/')",
            "/nemo_run belongs to Runyard: mount the volume elsewhere",
        )
    )
    name: Name
    mount_path: Path
    sub_path: RelativePath | None = None
    read_only: bool = False


class Toleration(ApiModel):
    """Lets the pods onto nodes with a taint, as in a pod's `tolerations`."""

    key: str | None = Field(default=None, max_length=317)
    operator: Literal["Exists", "Equal"] | None = None
    value: str | None = Field(default=None, max_length=63)
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = Field(default=None, ge=0, json_schema_extra=INT64)


class HostAlias(ApiModel):
    """An entry of the pods' /etc/hosts."""

    ip: str = Field(max_length=45)
    hostnames: Annotated[
        list[Annotated[str, Field(max_length=253)]],
        Field(max_length=16, json_schema_extra=ATOMIC_LIST),
    ] = []


class PodSecurityContext(ApiModel):
    """Users and groups of the pods' processes. Nothing here adds to what a pod may do."""

    run_as_user: int | None = Field(default=None, ge=0, json_schema_extra=INT64)
    run_as_group: int | None = Field(default=None, ge=0, json_schema_extra=INT64)
    run_as_non_root: bool | None = None
    fs_group: int | None = Field(default=None, ge=0, json_schema_extra=INT64)
    fs_group_change_policy: Literal["OnRootMismatch", "Always"] | None = None
    supplemental_groups: Annotated[
        list[Annotated[int, Field(ge=0)]], Field(max_length=32, json_schema_extra=ATOMIC_LIST)
    ] = []


class PodSpecOverrides(ApiModel):
    """Further fields of a pod's spec, under their Kubernetes names.

    What is not in this list is left out on purpose: it would take rights that the author of an
    experiment need not have (host paths, namespaces and ports of the node, privileges), or undo
    what Runyard relies on (containers, restartPolicy).
    """

    priority_class_name: ObjectName | None = None
    scheduler_name: ObjectName | None = None
    runtime_class_name: ObjectName | None = None
    preemption_policy: Literal["Never", "PreemptLowerPriority"] | None = None
    termination_grace_period_seconds: int | None = Field(
        default=None, ge=0, le=86_400, json_schema_extra=INT64
    )
    security_context: PodSecurityContext | None = None
    topology_spread_constraints: Annotated[
        list[FreeForm], Field(max_length=8, json_schema_extra=ATOMIC_LIST)
    ] = []
    resource_claims: Annotated[
        list[FreeForm],
        Field(
            max_length=8,
            description="Dynamic resource allocation; every container of the task gets all of"
            " them.",
            json_schema_extra=ATOMIC_LIST,
        ),
    ] = []
    host_aliases: Annotated[
        list[HostAlias], Field(max_length=16, json_schema_extra=ATOMIC_LIST)
    ] = []
    dns_policy: Literal["ClusterFirst", "Default", "None"] | None = None
    dns_config: FreeForm | None = None
    share_process_namespace: bool | None = None


Env = Annotated[list[EnvVar], Field(max_length=256, json_schema_extra=map_by("name"))]
Volumes = Annotated[list[Volume], Field(max_length=64, json_schema_extra=map_by("name"))]
VolumeMounts = Annotated[
    list[VolumeMount], Field(max_length=64, json_schema_extra=map_by("mountPath"))
]
