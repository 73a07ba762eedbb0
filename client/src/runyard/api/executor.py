"""The typed executor blocks: where and how a task runs. Exactly one is set on a task."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from runyard.api.base import SET_LIST, ApiModel, ObjectName, Quantity, rule, with_rules
from runyard.api.pod import VolumeMounts, Volumes

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
    volumes: Volumes = []
    volume_mounts: VolumeMounts = []
    node_selector: dict[str, LabelValue] = Field(
        default_factory=dict, json_schema_extra={"maxProperties": 32}
    )
    service_account_name: ObjectName | None = Field(
        default=None,
        description="ServiceAccount of the pods; its token is mounted only when one is named.",
    )


class JobExecutor(PodFields):
    """A Kubernetes Job with one pod."""

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
    nprocs_per_node: int | None = Field(
        default=None, ge=1, le=128, description="Processes that torchrun starts on each node."
    )
    gpus_per_node: int | None = Field(
        default=None, ge=1, le=64, description="nvidia.com/gpu of each node's pod."
    )


EXECUTORS = ("job", "trainJob")


class ExecutorDefaults(ApiModel):
    """Values merged under the tasks that use the executor of the same name."""

    job: JobExecutor | None = None
    train_job: TrainJobExecutor | None = None


class Executor(ExecutorDefaults):
    """Where a task runs; exactly one block is set."""

    model_config = with_rules(
        rule(
            "[has(self.job),has(self.trainJob)].filter(x, x).size() == 1",
            "set exactly one executor: job or trainJob",
        )
    )
