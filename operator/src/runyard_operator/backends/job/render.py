"""A task as a batch/v1 Job. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from runyard.api.executor import JobExecutor
from runyard.api.task import Role
from runyard_operator.backends import kueue, naming
from runyard_operator.backends.base import Manifest, Plan, Refused, Target
from runyard_operator.backends.planning import block_of, plan
from runyard_operator.backends.pods import code, fields, group, nodes, packages, placement
from runyard_operator.backends.pods.code import Staged
from runyard_operator.backends.pods.command import command
from runyard_operator.backends.pods.environment import environment
from runyard_operator.backends.pods.template import PodConfig
from runyard_operator.engine import reasons

CONTAINER: Final = "main"


def render(target: Target, config: PodConfig) -> Plan:
    """The exact request for the attempt.

    Raises:
        Refused: the spec names no image, or its inline files cannot be packed.
    """
    block = block_of(target, "job", JobExecutor)
    if block.image is None:
        raise Refused(
            reasons.INVALID_SPEC,
            "executor.job.image is not set: name a container image in the task, in spec.defaults"
            " or in the profile",
        )
    staged = code.stage(target)
    bare = code.is_bare(target.spec)
    sidecars, containers = _containers(target, block, staged)
    first = [] if bare else _first(target, block, staged, config)
    several = nodes.count(target) > 1
    name = naming.job_name(target.name, target.attempt)
    pod: Manifest = {
        "metadata": fields.pod_metadata(target, block),
        "spec": {
            "restartPolicy": "Never",
            **({"subdomain": name} if several else {}),
            **fields.pod_fields(block, config),
            **({"initContainers": [*first, *sidecars]} if first or sidecars else {}),
            "containers": containers,
            "volumes": [
                *code.volumes(target.spec, staged, bare=bare),
                *fields.volumes(block),
            ],
        },
    }
    job: Manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": fields.child_metadata(target, name, block),
        "spec": {**kueue.spec(block), **nodes.job_fields(target), "template": pod},
    }
    return plan(target, staged, [nodes.service(target), job] if several else [job])


def _first(target: Target, block: JobExecutor, staged: Staged, config: PodConfig) -> list[Manifest]:
    packages.check_roles(target.spec, block.image)
    env = environment(target)
    return code.init_containers(target, staged, block, block.image, env, config)


def _containers(
    target: Target, block: JobExecutor, staged: Staged
) -> tuple[list[Manifest], list[Manifest]]:
    """The sidecars and the containers of the task; the first container is the leader's."""
    spec = target.spec
    mounts = code.mounts(spec, staged)
    if spec.group is None:
        words = command(spec, target.name, placement.shape(target))
        return [], [_container(target, block, CONTAINER, words, mounts=mounts)]
    leader, *others = spec.group.roles

    def made(name: str, role: Role) -> Manifest:
        words = group.role_command(target, role)
        return _container(target, group.block_of(block, role), name, words, role, mounts)

    first = made(CONTAINER, leader)
    rest = [made(group.container_name(role), role) for role in others]
    if group.are_sidecars(spec):
        return [{**each, "restartPolicy": "Always"} for each in rest], [first]
    return [], [first, *rest]


def _container(
    target: Target,
    block: JobExecutor,
    name: str,
    words: list[str],
    role: Role | None = None,
    mounts: Sequence[Manifest] = (),
) -> Manifest:
    found: Manifest = {
        "name": name,
        "image": block.image,
        "command": packages.on_path(target.spec, words),
        "env": environment(target, role),
        **fields.container_fields(block, mounts),
    }
    resources = fields.resources(block, group.gpus_of(block.gpus, role))
    if resources:
        found["resources"] = resources
    return found
