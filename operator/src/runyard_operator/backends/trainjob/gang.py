"""A group as one TrainJob: a replicated job of its JobSet for each role. Pure.

The leader has the job that the Trainer configures. Jobs beside it reach the JobSet as the runtime
has them (tried with Trainer 2.3.0 and JobSet 0.12.0): those of the other roles are copies of the
trainer's job with a command, an image and a size of their own. The JobSet is created and ended as
a whole, and a queue manager admits it as one workload.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final

from runyard.api.constants import GROUP
from runyard.api.executor import TrainJobExecutor
from runyard.api.task import Role, SuccessPolicy
from runyard_operator.backends.base import Target
from runyard_operator.backends.pods import fields, group, packages, placement, template
from runyard_operator.backends.pods.command import command
from runyard_operator.backends.pods.environment import environment
from runyard_operator.backends.pods.template import Fragment
from runyard_operator.engine.naming import bounded

CONTAINER: Final = "node"
"""The name that the Trainer expects of the container that it configures."""
LABEL_ROLE: Final = f"{GROUP}/role"
"""On the pods of a role."""


def container(target: Target, block: TrainJobExecutor, role: Role | None) -> Fragment:
    """What the executor block and the role say about the task's container: image, command,
    environment and resources."""
    own = block if role is None else group.block_of(block, role)
    if role is None:
        words = command(target.spec, target.name, placement.shape(target))
    else:
        words = group.role_command(target, role)
    return {
        "image": own.image,
        "command": packages.on_path(target.spec, words),
        "env": environment(target, role),
        "resources": fields.resources(own, group.gpus_of(block.gpus_per_node, role)),
    }


def leader_of(target: Target) -> Role | None:
    """The first role of a group; None for a task that is none."""
    return target.spec.group.roles[0] if target.spec.group is not None else None


def processes(block: TrainJobExecutor, role: Role | None) -> int | None:
    """What the Trainer is told about the processes of each node, as far as the task says it."""
    return (role.nprocs_per_node if role is not None else None) or block.nprocs_per_node


def extend(
    jobset: dict[str, Any], target: Target, block: TrainJobExecutor, trainer: Mapping[str, Any]
) -> None:
    """Adds the jobs of the roles beside the leader to a JobSet's spec.

    `trainer` is the leader's job, complete but for what the Trainer adds to it. The first role that
    fails ends the others: a JobSet has failed with any of its jobs, unless it may restart.
    """
    spec_of = target.spec.group
    if spec_of is None:
        return
    others = [_job(target, block, role, trainer) for role in spec_of.roles[1:]]
    for job, role in zip((trainer, *others), spec_of.roles, strict=True):
        metadata = job["template"]["spec"]["template"]["metadata"]
        metadata["labels"] = {**metadata["labels"], LABEL_ROLE: bounded(role.name)}
    jobset["replicatedJobs"] = [*jobset["replicatedJobs"], *others]
    jobset["failurePolicy"] = {"maxRestarts": 0}
    decides = [*job_names(target)]
    if spec_of.success_policy is SuccessPolicy.LEADER:
        decides = decides[:1]
    jobset["successPolicy"] = {"operator": "All", "targetReplicatedJobs": decides}


def job_names(target: Target) -> Iterator[str]:
    """The names of the task's jobs in the JobSet, the leader's first."""
    if target.spec.group is None:
        yield placement.LEADER_JOB
        return
    for role in target.spec.group.roles:
        yield placement.replicated_job(target, role)


def pods(target: Target) -> int:
    """How many pods run the task, those of all roles together."""
    if target.spec.group is None:
        return placement.count(target)
    return sum(placement.count(target, role) for role in target.spec.group.roles)


def _job(
    target: Target, block: TrainJobExecutor, role: Role, trainer: Mapping[str, Any]
) -> dict[str, Any]:
    job = copy.deepcopy(dict(trainer))
    job["name"] = placement.replicated_job(target, role)
    # By its labels the Trainer would take it for its own.
    job["template"].pop("metadata", None)
    nodes = placement.count(target, role)
    spec = job["template"]["spec"]
    spec.update(completionMode="Indexed", completions=nodes, parallelism=nodes)
    containers = spec["template"]["spec"]["containers"]
    main = next(each for each in containers if each["name"] == CONTAINER)
    wanted = container(target, block, role)
    wanted["env"] = template.upsert(main.get("env") or [], wanted["env"], "name")
    if not wanted["resources"]:
        del wanted["resources"]
    main.update(wanted)
    for each in spec["template"]["spec"].get("initContainers") or []:
        if each["name"] == packages.CONTAINER and wanted["image"] is not None:
            each["image"] = wanted["image"]
    return job
