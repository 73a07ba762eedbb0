"""The `ray` executor: a RayJob, the cluster that it runs on, and clusters that tasks share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from runyard.api.base import (
    ATOMIC_LIST,
    ApiModel,
    FreeForm,
    Name,
    ObjectName,
    Quantity,
    map_by,
    rule,
    with_rules,
)
from runyard.api.pod import VolumeMount
from runyard.api.podfields import Labels, Marks, PodFields


class RayPort(ApiModel):
    """A port of the head, which its Service shows as well."""

    name: Name
    container_port: int = Field(ge=1, le=65535)


class RayHead(ApiModel):
    """The head of a Ray cluster; the driver runs there."""

    cpu: Quantity | None = Field(default=None, description="1 when unset.")
    cpu_limit: Quantity | None = None
    memory: Quantity | None = Field(default=None, description="2Gi when unset; its limit as well.")
    memory_limit: Quantity | None = None
    gpus: int | None = Field(default=None, ge=1, le=64)
    ray_start_params: Marks = Field(
        default_factory=dict, description="Arguments of `ray start`, for example num-cpus."
    )
    service_type: Literal["ClusterIP", "NodePort", "LoadBalancer"] | None = None
    ports: Annotated[
        list[RayPort],
        Field(
            max_length=16,
            description="Beside Ray's own: gcs-server 6379, dashboard 8265, client 10001.",
            json_schema_extra=map_by("name"),
        ),
    ] = []


class RayWorkerGroup(ApiModel):
    """Workers of one shape; `replicas` of them, or between min and max with the autoscaler."""

    model_config = with_rules(
        rule(
            "(!has(self.minReplicas) || self.minReplicas <= self.replicas) &&"
            " (!has(self.maxReplicas) || self.replicas <= self.maxReplicas)",
            "minReplicas <= replicas <= maxReplicas must hold",
        )
    )
    name: Name = Field(min_length=2, description="At least two characters, as Ray wants it.")
    replicas: int = Field(default=1, ge=0, le=4096)
    min_replicas: int | None = Field(
        default=None, ge=0, le=4096, description="`replicas` when unset; 0 stays 0."
    )
    max_replicas: int | None = Field(
        default=None, ge=0, le=4096, description="`replicas` when unset."
    )
    gpus_per_worker: int | None = Field(default=None, ge=1, le=64)
    cpu: Quantity | None = None
    cpu_limit: Quantity | None = None
    memory: Quantity | None = None
    memory_limit: Quantity | None = None
    ray_start_params: Marks = {}
    volume_mounts: Annotated[
        list[VolumeMount], Field(max_length=16, json_schema_extra=map_by("mountPath"))
    ] = Field(default=[], description="Of the executor's volumes, beside or instead of its mounts.")
    node_selector: Labels = {}
    labels: Labels = Field(default_factory=dict, description="Of the group's pods.")
    annotations: Marks = Field(default_factory=dict, description="Of the group's pods.")


class RayAutoscaler(ApiModel):
    """Lets KubeRay's autoscaler add and remove workers between minReplicas and maxReplicas."""

    idle_timeout_seconds: int | None = Field(default=None, ge=1, le=86_400)
    upscaling_mode: Literal["Default", "Aggressive", "Conservative"] | None = None


class RayClusterFrom(ApiModel):
    """The Ray cluster that another task of the experiment has made."""

    task: Name = Field(description="A task with `ray.cluster` that this one comes after.")
    unit: ObjectName | None = Field(
        default=None, description="Its ExecutionUnit; the operator fills it in."
    )


class RayClusterSpec(ApiModel):
    """Makes the task's Ray cluster one that other tasks share.

    The task runs no script: it has Succeeded when the cluster is ready. The cluster is deleted when
    every task with `clusterFrom` on it has ended, those of `finally` included. How long it may take
    to get ready is for `deadlines.queuedSeconds` to say.
    """


class RayExecutor(PodFields):
    """A RayJob (ray.io/v1): on a Ray cluster of its own, on a shared one, or on one that exists.

    The fields of pods hold for head and workers alike; `cpu` and `memory` are those of each worker
    whose group does not say otherwise.
    """

    model_config = with_rules(
        rule(
            "[has(self.cluster),has(self.clusterFrom),has(self.clusterSelector)]"
            ".filter(x, x).size() <= 1",
            "set at most one of cluster, clusterFrom and clusterSelector",
        )
    )
    ray_version: str | None = Field(
        default=None, pattern=r"^[0-9][0-9A-Za-z.+-]*$", max_length=32, description="The image's."
    )
    head: RayHead | None = None
    worker_groups: Annotated[
        list[RayWorkerGroup], Field(max_length=16, json_schema_extra=map_by("name"))
    ] = []
    autoscaler: RayAutoscaler | None = None
    reuse_volumes_in_worker_groups: bool | None = Field(
        default=None, description="Whether workers get the volumes as well; true when unset."
    )
    pre_ray_start_commands: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=4096)]],
        Field(
            max_length=16,
            description="Shell lines run before `ray start`, on head and workers.",
            json_schema_extra=ATOMIC_LIST,
        ),
    ] = []
    entrypoint_num_cpus: int | None = Field(
        default=None,
        ge=0,
        le=1024,
        description="CPUs that Ray keeps for the driver, which may then run on a worker's node;"
        " unset, it runs on the head and none are kept.",
    )
    entrypoint_num_gpus: int | None = Field(default=None, ge=0, le=64)
    entrypoint_resources: Annotated[
        dict[str, Annotated[int, Field(ge=0)]], Field(json_schema_extra={"maxProperties": 16})
    ] = Field(default_factory=dict, description="Ray's own resources that it keeps likewise.")
    runtime_env: FreeForm | None = Field(
        default=None,
        description="Ray's runtime environment, for example env_vars; packages belong in the task's"
        " `packages`.",
    )
    cluster: RayClusterSpec | None = None
    cluster_from: RayClusterFrom | None = None
    cluster_selector: Labels | None = Field(
        default=None, description="Labels of a RayCluster that exists in the namespace."
    )

    @property
    def borrows(self) -> bool:
        """Whether it runs on a cluster that is not its own."""
        return self.cluster_from is not None or self.cluster_selector is not None

    @property
    def alone(self) -> bool:
        """Whether it has a Ray cluster for itself, which comes and goes with it."""
        return self.cluster is None and not self.borrows
