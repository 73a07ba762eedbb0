"""How code and scripts get into a pod: their bundles, volumes and init container. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from runyard.api.constants import CODE_DIR, JOB_DIR, OUTPUTS_DIR, SCRIPTS_DIR
from runyard.api.unit import UnitSpec
from runyard_operator.backends.base import Refused, Target
from runyard_operator.backends.pods.command import literal, script_name
from runyard_operator.backends.pods.template import (
    GROUP_DIR,
    INIT_CONTAINER,
    JOB_VOLUME,
    NOBODY,
    Fragment,
    PodConfig,
)
from runyard_operator.bundles.bundle import Bundle, BundleError, bundle
from runyard_operator.engine import reasons
from runyard_operator.unpack import FOLDERS_VARIABLE, PIPES_VARIABLE, SOURCES_VARIABLE

CODE_VOLUME: Final = "runyard-code"
SCRIPTS_VOLUME: Final = "runyard-scripts"
BARE_FOLDERS: Final = {"runyard-work": CODE_DIR, "runyard-outputs": OUTPUTS_DIR}
"""Volumes for the folders that an init container would make."""
IN_CODE: Final = "/runyard/in/code"
IN_SCRIPTS: Final = "/runyard/in/scripts"


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


def volumes(spec: UnitSpec, staged: Staged, *, bare: bool = False) -> list[Fragment]:
    """The volumes of the job folder, the code and the scripts; for `bare` see `is_bare`."""
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
    return found


def bare_mounts(staged: Staged) -> list[Fragment]:
    """Where a container of a pod without an init container finds its folders and its script."""
    found: list[Fragment] = [
        {"name": name, "mountPath": folder} for name, folder in BARE_FOLDERS.items()
    ]
    if staged.scripts is not None:
        found.append({"name": SCRIPTS_VOLUME, "mountPath": SCRIPTS_DIR, "readOnly": True})
    return found


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
