"""The typed executor blocks: where and how a task runs. Exactly one is set on a task."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from runyard.api.base import (
    ATOMIC_LIST,
    SET_LIST,
    ApiModel,
    FreeForm,
    ObjectName,
    Quantity,
    map_by,
    rule,
    with_rules,
)
from runyard.api.base import Name as LabelName
from runyard.api.pod import PodSpecOverrides, Toleration, VolumeMount, VolumeMounts, Volumes

Marks = Annotated[
    dict[str, Annotated[str, Field(max_length=4096)]],
    Field(json_schema_extra={"maxProperties": 32}),
]
Labels = Annotated[
    dict[str, Annotated[str, Field(max_length=63)]], Field(json_schema_extra={"maxProperties": 32})
]
Resources = Annotated[dict[str, Quantity], Field(json_schema_extra={"maxProperties": 16})]
Image = Annotated[str, Field(min_length=1, max_length=512)]
LabelValue = Annotated[str, Field(max_length=63)]


class PodFields(ApiModel):
    """What every in-cluster executor lets a task say about its pods."""

    image: Image | None = Field(
        default=None, description="Container image; needed here, in the defaults or the profile."
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    image_pull_secrets: Annotated[
        list[ObjectName], Field(max_length=16, json_schema_extra=SET_LIST)
    ] = []
    cpu: Quantity | None = Field(
        default=None, description="CPU request of each pod; of a group, of each role."
    )
    cpu_limit: Quantity | None = Field(
        default=None, description="CPU limit of each pod; of a group, of each role."
    )
    memory: Quantity | None = Field(
        default=None,
        description="Memory request of each pod, and its limit unless memoryLimit; of a group, of"
        " each role.",
    )
    memory_limit: Quantity | None = Field(
        default=None, description="Memory limit of each pod; of a group, of each role."
    )
    gpu_resource: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$",
        max_length=317,
        description="The resource that counts as a GPU; nvidia.com/gpu when unset.",
    )
    extra_resource_requests: Resources = Field(
        default_factory=dict,
        description="Further requests of each pod, for example rdma/ib: 1; extended resources are"
        " limited to their request.",
    )
    extra_resource_limits: Resources = {}
    shm_size: Quantity | None = Field(
        default=None, description="Size of /dev/shm; the container runtime's 64 MiB when unset."
    )
    volumes: Volumes = []
    volume_mounts: VolumeMounts = []
    node_selector: dict[str, LabelValue] = Field(
        default_factory=dict, json_schema_extra={"maxProperties": 32}
    )
    tolerations: Annotated[
        list[Toleration], Field(max_length=32, json_schema_extra=ATOMIC_LIST)
    ] = []
    affinity: FreeForm | None = Field(default=None, description="As in a pod's spec.")
    labels: Labels = Field(
        default_factory=dict, description="Of the Job, TrainJob or RayJob; see podLabels."
    )
    annotations: Marks = {}
    pod_labels: Labels = {}
    pod_annotations: Marks = {}
    pod_spec_overrides: PodSpecOverrides | None = None
    queue_name: LabelValue | None = Field(
        default=None,
        min_length=1,
        description="The LocalQueue of Kueue that admits the job. On a shared Ray cluster it is the"
        " cluster that waits in the queue; what runs there needs none.",
    )
    workload_priority_class: ObjectName | None = Field(
        default=None, description="Kueue's WorkloadPriorityClass; needs queueName."
    )
    service_account_name: ObjectName | None = Field(
        default=None,
        description="ServiceAccount of the pods; its token is mounted only when one is named.",
    )


class JobExecutor(PodFields):
    """A Kubernetes Job: one pod, or `nodes` pods that know each other."""

    nodes: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Pods of an Indexed Job, which reach each other by name; 1 when unset.",
    )
    ntasks_per_node: int | None = Field(
        default=None,
        ge=1,
        le=128,
        description="Processes that a launcher starts on each node; the GPUs when unset, else 1.",
    )

    gpus: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="nvidia.com/gpu of the pod; of a group, of each role.",
    )


class TrainJobExecutor(PodFields):
    """A Kubeflow TrainJob (trainer.kubeflow.org/v1alpha1): `numNodes` pods of one training job."""

    runtime: ObjectName | None = Field(
        default=None,
        description="The training runtime to derive from; torch-distributed when unset.",
    )
    runtime_kind: Literal["ClusterTrainingRuntime", "TrainingRuntime"] | None = Field(
        default=None, description="Kind of the runtime; ClusterTrainingRuntime when unset."
    )
    num_nodes: int | None = Field(default=None, ge=1, le=4096, description="Pods; 1 when unset.")
    min_nodes: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Elastic training: torchrun goes on with this many of the numNodes nodes, while"
        " lost pods are made anew. Needs launcher.torchrun or launcher.ft with maxRestarts.",
    )
    nprocs_per_node: int | None = Field(
        default=None, ge=1, le=128, description="Processes that torchrun starts on each node."
    )
    gpus_per_node: int | None = Field(
        default=None, ge=1, le=64, description="nvidia.com/gpu of each node's pod."
    )


class RayPort(ApiModel):
    """A port of the head, which its Service shows as well."""

    name: LabelName
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
    name: LabelName = Field(min_length=2, description="At least two characters, as Ray wants it.")
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

    task: LabelName = Field(description="A task with `ray.cluster` that this one comes after.")
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


EXECUTORS = ("job", "trainJob", "ray")


class ExecutorDefaults(ApiModel):
    """Values merged under the tasks that use the executor of the same name."""

    job: JobExecutor | None = None
    train_job: TrainJobExecutor | None = None
    ray: RayExecutor | None = None


class Executor(ExecutorDefaults):
    """Where a task runs; exactly one block is set."""

    model_config = with_rules(
        rule(
            "[has(self.job),has(self.trainJob),has(self.ray)].filter(x, x).size() == 1",
            "set exactly one executor: job, trainJob or ray",
        )
    )

    @property
    def block(self) -> PodFields:
        """The one that is set."""
        found = self.job or self.train_job or self.ray
        if found is None:
            raise ValueError("no executor is set")
        return found
