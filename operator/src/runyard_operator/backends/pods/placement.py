"""Where a task's processes run, told to launchers and to the task itself. Pure.

Each executor has its own names for nodes, addresses and ranks. Runyard's are the same everywhere:
the variables of `environment` stand in every pod of a Job, a TrainJob and a Ray cluster.
"""

from __future__ import annotations

from typing import Final

from runyard.api.constants import JOB_DIR
from runyard.api.task import Role
from runyard_operator.backends import naming
from runyard_operator.backends.base import Target
from runyard_operator.backends.pods import nodes
from runyard_operator.backends.pods.template import Fragment
from runyard_operator.backends.pods.view import INDEX
from runyard_operator.launchers import Shape, Variable
from runyard_operator.launchers.words import LOCALHOST

NUM_NODES: Final = "RUNYARD_NUM_NODES"
NODE_RANK: Final = "RUNYARD_NODE_RANK"
NPROC: Final = "RUNYARD_NPROC_PER_NODE"
HEAD: Final = "RUNYARD_HEAD_ADDR"
HOST_PREFIX: Final = "RUNYARD_HOST_"
LEADER_JOB: Final = "node"
"""The trainer's replicated job, which the leader of a group has."""


def is_gang(target: Target) -> bool:
    """Whether the task is a group whose roles have pods of their own."""
    return target.spec.group is not None and target.spec.executor.train_job is not None


def leads(target: Target, role: Role) -> bool:
    """Whether the role is the first of its group."""
    return target.spec.group is not None and target.spec.group.roles[0].name == role.name


def replicated_job(target: Target, role: Role) -> str:
    """The role's job in the JobSet. Short, since host names of 63 characters begin with it and the
    TrainJob's name."""
    roles = [each.name for each in target.spec.group.roles] if target.spec.group else []
    index = roles.index(role.name)
    return LEADER_JOB if index == 0 else f"r{index}"


def count(target: Target, role: Role | None = None) -> int:
    """The pods of the task, or of a role of its gang."""
    train_job = target.spec.executor.train_job
    if train_job is None:
        return nodes.count(target)
    if role is None:
        return train_job.num_nodes or 1
    inherited = train_job.num_nodes if leads(target, role) else None
    return role.num_nodes or inherited or 1


def shape(target: Target, role: Role | None = None) -> Shape:
    """What a launcher must know of the task's nodes, or of those of a role."""
    pods = count(target, role)
    train_job = target.spec.executor.train_job
    leader = role is None or leads(target, role)
    return Shape(
        nodes=pods,
        min_nodes=train_job.min_nodes if train_job is not None and leader else None,
        nprocs=_processes(target, role),
        head=_head(target, role, pods),
        node_rank=Variable(f"$({NODE_RANK})") if pods > 1 else "0",
        run_id=target.key,
        job_dir=JOB_DIR,
    )


def _processes(target: Target, role: Role | None) -> int:
    own = None
    if role is not None:
        own = role.nprocs_per_node
        if own is None and role.gpus_per_node is not None:
            own = max(1, role.gpus_per_node)
    job, train_job = target.spec.executor.job, target.spec.executor.train_job
    inherited = None
    if job is not None:
        inherited = job.ntasks_per_node or job.gpus
    elif train_job is not None:
        inherited = train_job.nprocs_per_node or train_job.gpus_per_node
    return own or inherited or 1


def _head(target: Target, role: Role | None, pods: int) -> str:
    if role is not None and is_gang(target):
        return _gang_host(target, role)
    if pods == 1:
        return LOCALHOST
    if target.spec.executor.job is not None:
        return nodes.host(target, 0)
    name = naming.trainjob_name(target.name, target.attempt)
    return f"{name}-{LEADER_JOB}-0-0.{name}"


def _gang_host(target: Target, role: Role) -> str:
    """JobSet names pods `<jobset>-<replicated job>-<replica>-<index>`, in a domain of its name."""
    name = naming.trainjob_name(target.name, target.attempt)
    return f"{name}-{replicated_job(target, role)}-0-0.{name}"


def environment(target: Target, role: Role | None = None) -> dict[str, Fragment]:
    """The variables that say where a process is, by name."""
    told = shape(target, role)
    rank: Fragment = {"value": "0"}
    if told.nodes > 1:
        rank = {"valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX}']"}}}
    found: dict[str, Fragment] = {
        NUM_NODES: {"value": str(told.nodes)},
        NODE_RANK: rank,
        NPROC: {"value": str(told.nprocs)},
        HEAD: {"value": told.head},
    }
    for each in target.spec.group.roles if target.spec.group else ():
        host = _gang_host(target, each) if is_gang(target) else LOCALHOST
        found[f"{HOST_PREFIX}{each.name.upper().replace('-', '_')}"] = {"value": host}
    return {name: {"name": name, **value} for name, value in found.items()}


def torch_environment(target: Target, role: Role) -> dict[str, Fragment]:
    """What the Trainer gives the pods of its own job alone: torch's wiring, for another role."""
    if not is_gang(target) or leads(target, role):
        return {}
    told = shape(target, role)
    launcher = role.launcher.distributed if role.launcher is not None else None
    port = (launcher.rdzv_port if launcher is not None else None) or nodes.MASTER_PORT
    own = environment(target, role)
    values: dict[str, Fragment] = {
        "PET_NNODES": {"value": str(told.nodes)},
        "PET_NPROC_PER_NODE": {"value": str(told.nprocs)},
        "PET_NODE_RANK": own[NODE_RANK],
        "PET_MASTER_ADDR": {"value": told.head},
        "PET_MASTER_PORT": {"value": str(port)},
    }
    return {name: {**value, "name": name} for name, value in values.items()}
