"""The typed executor blocks: where and how a task runs. Exactly one is set on a task."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from runyard.api.base import ApiModel, ObjectName, rule, with_rules
from runyard.api.podfields import PodFields
from runyard.api.ray import RayExecutor


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
