"""A task as a batch/v1 Job. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from runyard.api.executor import JobExecutor
from runyard.api.task import Role
from runyard_operator.backends import naming
from runyard_operator.backends.base import Manifest, Plan, Refused, Target
from runyard_operator.backends.planning import plan
from runyard_operator.backends.pods import group, template
from runyard_operator.backends.pods.command import command
from runyard_operator.backends.pods.labels import labels, marks
from runyard_operator.backends.pods.template import PodConfig, Staged
from runyard_operator.engine import reasons

CONTAINER: Final = "main"


def render(target: Target, config: PodConfig) -> Plan:
    """The exact request for the attempt.

    Raises:
        Refused: the spec names no image, or its inline files cannot be packed.
    """
    fields = target.spec.executor.job
    if fields is None:
        raise Refused(reasons.INVALID_SPEC, "the unit has no executor.job")
    if fields.image is None:
        raise Refused(
            reasons.INVALID_SPEC,
            "executor.job.image is not set: name a container image in the task, in spec.defaults"
            " or in the profile",
        )
    staged = template.stage(target)
    bare = template.is_bare(target.spec)
    sidecars, containers = _containers(target, fields, staged)
    first = [] if bare else [template.init_container(target.spec, staged, config)]
    pod: Manifest = {
        "metadata": {"labels": labels(target), "annotations": marks(target)},
        "spec": {
            "restartPolicy": "Never",
            **template.pod_fields(fields, config),
            **({"initContainers": [*first, *sidecars]} if first or sidecars else {}),
            "containers": containers,
            "volumes": template.volumes(target.spec, fields, staged, bare=bare),
        },
    }
    job: Manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": naming.job_name(target.name, target.attempt),
            "namespace": target.namespace,
            "labels": labels(target),
            "annotations": marks(target),
            "ownerReferences": template.owned(target),
        },
        # A try is an attempt of the unit: the Job itself never makes a second pod.
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "podReplacementPolicy": "Failed",
            "template": pod,
        },
    }
    return plan(target, staged, [job])


def _containers(
    target: Target, fields: JobExecutor, staged: Staged
) -> tuple[list[Manifest], list[Manifest]]:
    """The sidecars and the containers of the task; the first container is the leader's."""
    spec = target.spec
    if spec.group is None:
        mounts = template.bare_mounts(staged) if template.is_bare(spec) else []
        words = command(spec, target.name)
        return [], [_container(target, fields, CONTAINER, words, mounts=mounts)]
    leader, *others = spec.group.roles

    def made(name: str, role: Role) -> Manifest:
        words = group.role_command(spec, target.name, role)
        return _container(target, fields, name, words, role)

    first = made(CONTAINER, leader)
    rest = [made(group.container_name(role), role) for role in others]
    if group.are_sidecars(spec):
        return [{**each, "restartPolicy": "Always"} for each in rest], [first]
    return [], [first, *rest]


def _container(
    target: Target,
    fields: JobExecutor,
    name: str,
    words: list[str],
    role: Role | None = None,
    mounts: Sequence[Manifest] = (),
) -> Manifest:
    found: Manifest = {
        "name": name,
        "image": fields.image,
        "command": words,
        "env": template.environment(target, role),
        **template.container_fields(fields, mounts),
    }
    resources = template.resources(fields, fields.gpus)
    if resources:
        found["resources"] = resources
    return found
