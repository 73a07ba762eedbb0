"""The TrainingRuntime of an attempt: the referenced one, with the task's code and pod fields. Pure.

A TrainJob can only patch what its runtime has; it cannot bring an init container. So each attempt
gets a runtime of its own, copied from the one that the user names. Nothing is left out of the copy
but times to live, fields that this version does not know included.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from runyard.api.constants import GROUP
from runyard.api.executor import TrainJobExecutor
from runyard_operator.backends import naming
from runyard_operator.backends.base import Manifest, Refused, Target
from runyard_operator.backends.pods import code, fields, group, template
from runyard_operator.backends.pods.code import Staged
from runyard_operator.backends.pods.environment import environment
from runyard_operator.backends.pods.labels import labels, marks
from runyard_operator.backends.pods.placement import LEADER_JOB
from runyard_operator.backends.pods.template import Fragment, PodConfig
from runyard_operator.backends.trainjob import gang, merge
from runyard_operator.backends.trainjob.elastic import make_elastic
from runyard_operator.backends.trainjob.gang import CONTAINER
from runyard_operator.engine import reasons
from runyard_operator.kube.resources import TRAINER

TRAINER_JOB: Final = LEADER_JOB
_TRAINER_PREFIX: Final = "trainer.kubeflow.org/"
STEP_LABEL: Final = "trainer.kubeflow.org/trainjob-ancestor-step"
STEP_TRAINER: Final = "trainer"
ANNOTATION_RUNTIME: Final = f"{GROUP}/runtime"
ANNOTATION_GENERATION: Final = f"{GROUP}/runtime-generation"
_TTL: Final = "ttlSecondsAfterFinished"


def derive(
    target: Target,
    block: TrainJobExecutor,
    source: Mapping[str, Any],
    staged: Staged,
    config: PodConfig,
) -> Manifest:
    """The namespaced runtime of the attempt.

    `source` is the referenced runtime as the API server gives it.

    Raises:
        Refused: the runtime has no trainer that could run the task.
    """
    spec = copy.deepcopy(dict(source["spec"]))
    name = f"{source['kind']}/{source['metadata']['name']}"
    _check(target, spec, name)
    # What is deleted by itself may be gone before its result was read.
    spec["template"]["spec"].pop(_TTL, None)
    for job in spec["template"]["spec"]["replicatedJobs"]:
        job_spec = job["template"].setdefault("spec", {})
        job_spec.pop(_TTL, None)
        pod = job_spec.setdefault("template", {})
        if _is_trainer(job):
            _mark(pod, fields.pod_metadata(target, block))
            _equip(job_spec, target, block, staged, config)
        else:
            _mark(pod, {"labels": labels(target), "annotations": marks(target)})
    _add_roles(spec["template"]["spec"], target, block, name)
    generation = str(source["metadata"].get("generation", 0))
    return {
        "apiVersion": TRAINER,
        "kind": "TrainingRuntime",
        "metadata": {
            "name": naming.trainjob_name(target.name, target.attempt),
            "namespace": target.namespace,
            "labels": {**_trainer_labels(source), **labels(target)},
            "annotations": {
                **marks(target),
                ANNOTATION_RUNTIME: name,
                ANNOTATION_GENERATION: generation,
            },
            "ownerReferences": template.owned(target),
        },
        "spec": spec,
    }


def _add_roles(jobset: dict[str, Any], target: Target, block: TrainJobExecutor, name: str) -> None:
    if target.spec.group is None:
        return
    trainers = [job for job in jobset["replicatedJobs"] if _is_trainer(job)]
    if [job["name"] for job in trainers] != [TRAINER_JOB]:
        raise Refused(
            reasons.INVALID_SPEC,
            f"a group needs a runtime with one trainer job, named {TRAINER_JOB!r}, and {name} has"
            " another one: name such a runtime in executor.trainJob.runtime",
        )
    gang.extend(jobset, target, block, trainers[0])


def _trainer_labels(source: Mapping[str, Any]) -> dict[str, str]:
    """Those that the Trainer reads; GitOps tools would take the copy with theirs for their own."""
    found = source["metadata"].get("labels") or {}
    return {key: value for key, value in found.items() if key.startswith(_TRAINER_PREFIX)}


def _check(target: Target, spec: Mapping[str, Any], name: str) -> None:
    jobs = ((spec.get("template") or {}).get("spec") or {}).get("replicatedJobs") or []
    trainers = [job for job in jobs if _is_trainer(job)]
    if not any(_main(job["template"].get("spec") or {}) for job in trainers):
        raise Refused(
            reasons.INVALID_SPEC,
            f"{name} has no trainer job with a container {CONTAINER!r}: name another runtime in"
            " executor.trainJob.runtime",
        )
    launcher = target.spec.launcher
    distributed = launcher is not None and launcher.distributed is not None
    if distributed and "torch" not in (spec.get("mlPolicy") or {}):
        raise Refused(
            reasons.INVALID_SPEC,
            f"a launcher that starts processes needs a torch runtime, and {name} is none: name one"
            " in executor.trainJob.runtime, or leave the launcher out",
        )


def _is_trainer(job: Mapping[str, Any]) -> bool:
    found = (job["template"].get("metadata") or {}).get("labels") or {}
    return job.get("name") == TRAINER_JOB or found.get(STEP_LABEL) == STEP_TRAINER


def _main(job_spec: Mapping[str, Any]) -> dict[str, Any] | None:
    pod = (job_spec.get("template") or {}).get("spec") or {}
    containers = pod.get("containers") or []
    return next((each for each in containers if each["name"] == CONTAINER), None)


def _mark(pod: dict[str, Any], wanted: Fragment) -> None:
    """Labels reach the pods by the template alone: a TrainJob's own go nowhere."""
    metadata = pod.setdefault("metadata", {})
    for name, values in wanted.items():
        metadata[name] = {**(metadata.get(name) or {}), **values}


def _equip(
    job_spec: dict[str, Any],
    target: Target,
    block: TrainJobExecutor,
    staged: Staged,
    config: PodConfig,
) -> None:
    # The Trainer restarts pods and JobSet restarts containers unless they are told otherwise; here
    # a restart is an attempt of the unit. A runtime that says more is believed.
    job_spec.setdefault("backoffLimit", 0)
    job_spec.setdefault("podReplacementPolicy", "Failed")
    pod: dict[str, Any] = job_spec["template"].setdefault("spec", {})
    pod.setdefault("restartPolicy", "Never")
    if block.min_nodes is not None:
        make_elastic(job_spec, target)
    wanted = fields.pod_fields(block, config)
    if block.service_account_name is None and "serviceAccountName" in pod:
        del wanted["automountServiceAccountToken"]
    pod.update(merge.onto(pod, wanted))
    main = _main(job_spec)
    init = _init_containers(target, block, staged, config, main or {})
    pod["initContainers"] = [*init, *(pod.get("initContainers") or [])]
    volumes = [*code.volumes(target.spec, staged), *fields.volumes(block)]
    pod["volumes"] = template.upsert(pod.get("volumes") or [], volumes, "name")
    if main is None:
        return
    # The TrainJob brings the command; arguments that stay here would be added to it.
    main.pop("command", None)
    main.pop("args", None)
    # The init container is always there: no folder is a volume of its own.
    task_mounts = [] if code.is_bare(target.spec) else code.mounts(target.spec, staged)
    ours = fields.container_fields(block, task_mounts)
    mounts = template.upsert(main.get("volumeMounts") or [], ours["volumeMounts"], "mountPath")
    main.update({**ours, "volumeMounts": mounts})
    resources = fields.resources(block, block.gpus_per_node)
    if "claims" in resources:
        # The Trainer hands on requests and limits alone, and drops claims that stand beside them.
        main["resources"] = resources


def _init_containers(
    target: Target,
    block: TrainJobExecutor,
    staged: Staged,
    config: PodConfig,
    main: Mapping[str, Any],
) -> list[Fragment]:
    """Those of the task; the runtime's own image and variables hold where the task has none."""
    leader = gang.leader_of(target)
    own = block if leader is None else group.block_of(block, leader)
    env = template.upsert(main.get("env") or [], environment(target), "name")
    image = own.image or main.get("image")
    return code.init_containers(target, staged, own, image, env, config)
