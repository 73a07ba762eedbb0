"""The pod of a task: its code put in place first, then the task's own container."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from runyard.api.constants import CODE_DIR, JOB_DIR, OUTPUTS_DIR, SCRIPTS_DIR
from runyard.api.executor import PodFields
from runyard.api.task import Role
from runyard.api.unit import UnitSpec
from runyard_operator.backends.base import Refused, Target
from runyard_operator.backends.pods.command import literal, script_name
from runyard_operator.bundles.bundle import Bundle, BundleError, bundle
from runyard_operator.engine import reasons
from runyard_operator.unpack import FOLDERS_VARIABLE, PIPES_VARIABLE, SOURCES_VARIABLE

Fragment = dict[str, Any]

INIT_CONTAINER: Final = "runyard-code"
JOB_VOLUME: Final = "runyard-job"
CODE_VOLUME: Final = "runyard-code"
SCRIPTS_VOLUME: Final = "runyard-scripts"
BARE_FOLDERS: Final = {"runyard-work": CODE_DIR, "runyard-outputs": OUTPUTS_DIR}
"""Volumes for the folders that an init container would make."""
IN_CODE: Final = "/runyard/in/code"
IN_SCRIPTS: Final = "/runyard/in/scripts"
GPU: Final = "nvidia.com/gpu"
NOBODY: Final = 65532
GROUP_DIR: Final = f"{JOB_DIR}/group"
"""Where the roles of a group tell each other how they end."""
ROLE_VARIABLE: Final = "RUNYARD_ROLE"
ROLES_VARIABLE: Final = "RUNYARD_ROLES"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodConfig:
    """What the operator's own configuration adds to every pod.

    `image` is the operator's: the init container runs `command` in it.
    """

    image: str
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    command: tuple[str, ...] = ("/opt/runyard/bin/python", "-m", "runyard_operator.unpack")


@dataclass(frozen=True, slots=True)
class Staged:
    """The bundles of a unit; None where it has none."""

    code: Bundle | None
    scripts: Bundle | None

    @property
    def bundles(self) -> tuple[Bundle, ...]:
        return tuple(each for each in (self.code, self.scripts) if each is not None)


def stage(target: Target) -> Staged:
    """Packs the unit's inline files.

    Raises:
        Refused: they cannot be packed.
    """
    spec = target.spec
    code = scripts = None
    try:
        if spec.code is not None and spec.code.inline is not None:
            code = bundle((each.path, each.content) for each in spec.code.inline)
        inline = [*_inline_scripts(target)]
        if inline:
            scripts = bundle(inline)
    except BundleError as problem:
        raise Refused(reasons.INVALID_SPEC, str(problem)) from problem
    return Staged(code=code, scripts=scripts)


def _inline_scripts(target: Target) -> Iterator[tuple[str, str]]:
    spec = target.spec
    if spec.script is not None and spec.script.inline is not None:
        yield script_name(spec, target.name), spec.script.inline
    for role in spec.group.roles if spec.group else ():
        if role.script.inline is not None:
            yield script_name(spec, target.name, role), role.script.inline


def is_bare(spec: UnitSpec) -> bool:
    """Whether a Job needs no init container: there is nothing to unpack, to check or to prepare.

    A script alone is mounted from its ConfigMap, and the folders are volumes. It saves the start of
    a container, more than a second, and the operator's image on the node.
    """
    return spec.code is None and spec.group is None


def volumes(
    spec: UnitSpec, fields: PodFields, staged: Staged, *, bare: bool = False
) -> list[Fragment]:
    """The pod's volumes: Runyard's, then the task's; for `bare` see `is_bare`."""
    found: list[Fragment] = [{"name": JOB_VOLUME, "emptyDir": {}}]
    if bare:
        # Not sub-paths of one volume: the kubelet makes those for root alone.
        found += [{"name": name, "emptyDir": {}} for name in BARE_FOLDERS]
    if staged.code is not None:
        source: Fragment = {"name": staged.code.name, "items": staged.code.items}
        found.append({"name": CODE_VOLUME, "configMap": source})
    elif spec.code is not None and spec.code.config_map is not None:
        wire = spec.code.config_map.to_dict()
        source = {key: wire[key] for key in ("name", "items") if wire.get(key)}
        source.pop("digest", None)
        found.append({"name": CODE_VOLUME, "configMap": source})
    if staged.scripts is not None:
        source = {"name": staged.scripts.name, "items": staged.scripts.items}
        found.append({"name": SCRIPTS_VOLUME, "configMap": source})
    return [*found, *(_volume(each.to_dict()) for each in fields.volumes)]


def _volume(wire: Fragment) -> Fragment:
    return {key: _clean(value) if isinstance(value, dict) else value for key, value in wire.items()}


def _clean(source: Fragment) -> Fragment:
    """Without empty lists and texts, which mean "unset"."""
    return {key: value for key, value in source.items() if value not in ("", [])}


def init_container(spec: UnitSpec, staged: Staged, config: PodConfig) -> Fragment:
    """The container that puts the code in place, under the restricted pod security standard."""
    mounts: list[Fragment] = [{"name": JOB_VOLUME, "mountPath": JOB_DIR}]
    sources: list[Fragment] = []
    for volume, source, target, digest in _inputs(spec, staged):
        mounts.append({"name": volume, "mountPath": source, "readOnly": True})
        known = {} if digest is None else {"digest": digest}
        sources.append({"source": source, "target": target, **known})
    env = {
        FOLDERS_VARIABLE: ":".join((CODE_DIR, SCRIPTS_DIR, OUTPUTS_DIR)),
        SOURCES_VARIABLE: json.dumps(sources),
    }
    if spec.group is not None:
        env[FOLDERS_VARIABLE] += f":{GROUP_DIR}"
        env[PIPES_VARIABLE] = ":".join(f"{GROUP_DIR}/{role.name}" for role in spec.group.roles)
    return {
        "name": INIT_CONTAINER,
        "image": config.image,
        "imagePullPolicy": config.image_pull_policy,
        "command": list(config.command),
        "env": [{"name": name, "value": literal(value)} for name, value in env.items()],
        "volumeMounts": mounts,
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"memory": "128Mi"},
        },
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _code_digest(spec: UnitSpec, staged: Staged) -> str | None:
    """The digest that the code must have; None for a user's own ConfigMap without one."""
    if staged.code is not None:
        return staged.code.digest
    return spec.code.config_map.digest if spec.code and spec.code.config_map else None


def _inputs(spec: UnitSpec, staged: Staged) -> Iterator[tuple[str, str, str, str | None]]:
    """Volume, folder in the init container, folder of the task, and the digest where known."""
    if staged.code is not None:
        yield CODE_VOLUME, IN_CODE, CODE_DIR, staged.code.digest
    elif spec.code is not None and spec.code.config_map is not None:
        yield CODE_VOLUME, IN_CODE, CODE_DIR, spec.code.config_map.digest
    if staged.scripts is not None:
        yield SCRIPTS_VOLUME, IN_SCRIPTS, SCRIPTS_DIR, staged.scripts.digest


def environment(target: Target, role: Role | None = None) -> list[Fragment]:
    """A container's environment: Runyard's own names cannot be set otherwise."""
    spec = target.spec
    roles = spec.group.roles if spec.group else []
    ours = {
        "RUNYARD_EXPERIMENT": spec.experiment,
        "RUNYARD_TASK": spec.task,
        "RUNYARD_UNIT": target.name,
        "RUNYARD_ATTEMPT": str(target.attempt),
        "RUNYARD_OUTPUTS": OUTPUTS_DIR,
        ROLE_VARIABLE: role.name if role else None,
        ROLES_VARIABLE: " ".join(each.name for each in roles) or None,
    }
    found: dict[str, Fragment] = {
        name: {"name": name, "value": value} for name, value in ours.items() if value is not None
    }
    found["PYTHONPATH"] = {"name": "PYTHONPATH", "value": CODE_DIR}
    found["PYTHONUNBUFFERED"] = {"name": "PYTHONUNBUFFERED", "value": "1"}
    for variable in (*spec.env, *(role.env if role else ())):
        if variable.name in ours:
            continue
        wire = variable.to_dict()
        if variable.name == "PYTHONPATH" and variable.value:
            wire["value"] = f"{CODE_DIR}:{variable.value}"
        elif variable.name == "PYTHONPATH" and variable.value_from is None:
            continue
        if "value" in wire:
            wire["value"] = literal(wire["value"])
        found[variable.name] = wire
    return list(found.values())


def resources(fields: PodFields, gpus: int | None) -> Fragment:
    """Requests and limits of each container of the task; memory is limited to its request by
    default."""
    requests = {"cpu": fields.cpu, "memory": fields.memory}
    limits = {"cpu": fields.cpu_limit, "memory": fields.memory_limit or fields.memory}
    if gpus is not None:
        requests[GPU] = limits[GPU] = str(gpus)
    parts = {
        name: {key: value for key, value in values.items() if value is not None}
        for name, values in (("requests", requests), ("limits", limits))
    }
    return {name: values for name, values in parts.items() if values}


def bare_mounts(staged: Staged) -> list[Fragment]:
    """Where a container of a pod without an init container finds its folders and its script."""
    found: list[Fragment] = [
        {"name": name, "mountPath": folder} for name, folder in BARE_FOLDERS.items()
    ]
    if staged.scripts is not None:
        found.append({"name": SCRIPTS_VOLUME, "mountPath": SCRIPTS_DIR, "readOnly": True})
    return found


def container_fields(fields: PodFields, mounts: Sequence[Fragment] = ()) -> Fragment:
    """What the main container has whatever its executor: its folder, mounts, last words."""
    found: Fragment = {
        "workingDir": CODE_DIR,
        "volumeMounts": [
            {"name": JOB_VOLUME, "mountPath": JOB_DIR},
            *mounts,
            *(
                {k: v for k, v in each.to_dict().items() if v is not False}
                for each in fields.volume_mounts
            ),
        ],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if fields.image_pull_policy is not None:
        found["imagePullPolicy"] = fields.image_pull_policy
    return found


def pod_fields(fields: PodFields, config: PodConfig) -> Fragment:
    """What the pod itself takes from the executor block and from the configuration."""
    found: Fragment = {
        "enableServiceLinks": False,
        "automountServiceAccountToken": fields.service_account_name is not None,
    }
    if fields.service_account_name is not None:
        found["serviceAccountName"] = fields.service_account_name
    secrets = dict.fromkeys((*fields.image_pull_secrets, *config.image_pull_secrets))
    if secrets:
        found["imagePullSecrets"] = [{"name": name} for name in secrets]
    if fields.node_selector:
        found["nodeSelector"] = dict(fields.node_selector)
    return found


def upsert(under: list[Fragment], over: list[Fragment], key: str) -> list[Fragment]:
    """Two lists as one, merged by `key`; entries of `over` win, the order of mention stays."""
    merged: dict[Any, Fragment] = {each.get(key): each for each in under}
    merged.update({each[key]: each for each in over})
    return list(merged.values())


def owned(target: Target) -> list[Mapping[str, Any]]:
    """The ownerReferences of what is made for the attempt: the unit controls it."""
    return [dict(target.owner)]
