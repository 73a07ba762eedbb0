"""A task as a TrainJob, built with the Trainer's own models. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runyard.api.executor import TrainJobExecutor
from runyard_operator.backends import kueue, naming
from runyard_operator.backends.base import Manifest, Plan, Target
from runyard_operator.backends.planning import block_of, plan
from runyard_operator.backends.pods import code, fields, placement
from runyard_operator.backends.pods.template import PodConfig
from runyard_operator.backends.trainjob import gang
from runyard_operator.backends.trainjob.runtime import derive
from runyard_operator.kube.resources import TRAINER


def render(target: Target, source: Mapping[str, Any], config: PodConfig) -> Plan:
    """The exact request for the attempt: its runtime, then its TrainJob.

    Raises:
        Refused: the runtime cannot run the task, or its inline files cannot be packed.
    """
    block = block_of(target, "trainJob", TrainJobExecutor)
    staged = code.stage(target)
    runtime = derive(target, block, source, staged, config)
    return plan(target, staged, [runtime, _train_job(target, block)])


def _train_job(target: Target, block: TrainJobExecutor) -> Manifest:
    # Hundreds of models, for all that a pod can say: loading them takes longer than the rest of the
    # operator, and many never need one.
    from kubeflow_trainer_api import models

    name = naming.trainjob_name(target.name, target.attempt)
    leader = gang.leader_of(target)
    main = gang.container(target, block, leader)
    # With claims the runtime has them all: see there.
    per_node = main["resources"] if "claims" not in main["resources"] else {}
    trainer = models.TrainerV1alpha1Trainer(
        image=main["image"],
        command=main["command"],
        env=[models.IoK8sApiCoreV1EnvVar.from_dict(each) for each in main["env"]],
        num_nodes=placement.count(target, leader),
        num_proc_per_node=gang.processes(block, leader),
        resources_per_node=models.IoK8sApiCoreV1ResourceRequirements.from_dict(per_node)
        if per_node
        else None,
    )
    job = models.TrainerV1alpha1TrainJob(
        api_version=TRAINER,
        kind="TrainJob",
        metadata=models.IoK8sApimachineryPkgApisMetaV1ObjectMeta.from_dict(
            fields.child_metadata(target, name, block)
        ),
        spec=models.TrainerV1alpha1TrainJobSpec(
            runtime_ref=models.TrainerV1alpha1RuntimeRef(
                api_group=TRAINER.partition("/")[0], kind="TrainingRuntime", name=name
            ),
            trainer=trainer,
            **kueue.spec(block),
        ),
    )
    manifest: Manifest = job.to_dict()
    return manifest
