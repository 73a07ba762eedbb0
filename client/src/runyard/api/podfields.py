"""What every in-cluster executor lets a task say about its pods."""

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
)
from runyard.api.pod import PodSpecOverrides, Toleration, VolumeMounts, Volumes

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
