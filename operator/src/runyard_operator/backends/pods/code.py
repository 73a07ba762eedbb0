"""How code, scripts and packages get into a pod: volumes, mounts, init containers. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from runyard.api.constants import CODE_DIR, JOB_DIR, OUTPUTS_DIR, SCRIPTS_DIR
from runyard.api.podfields import PodFields
from runyard.api.unit import UnitSpec
from runyard_operator.backends.base import Refused, Target
from runyard_operator.backends.pods import packages, sources
from runyard_operator.backends.pods.command import literal, script_name
from runyard_operator.backends.pods.sources import Source
from runyard_operator.backends.pods.template import (
    GROUP_DIR,
    INIT_CONTAINER,
    JOB_VOLUME,
    RESTRICTED,
    Fragment,
    PodConfig,
)
from runyard_operator.bundles.bundle import Bundle, BundleError, bundle
from runyard_operator.bundles.tokens import get_token
from runyard_operator.engine import reasons
from runyard_operator.unpack import (
    FOLDERS_VARIABLE,
    KEYS_VARIABLE,
    PIPES_VARIABLE,
    SOURCES_VARIABLE,
    STORE_TOKEN_VARIABLE,
)

SCRIPTS_VOLUME: Final = "runyard-scripts"
BARE_FOLDERS: Final = {"runyard-work": CODE_DIR, "runyard-outputs": OUTPUTS_DIR}
"""Volumes for the folders that an init container would make."""
IN_SCRIPTS: Final = "/runyard/in/scripts"
_MEMORY: Final = "128Mi"


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
    return spec.code is None and spec.group is None and spec.packages is None


def volumes(spec: UnitSpec, staged: Staged, *, bare: bool = False) -> list[Fragment]:
    """The volumes of the job folder, the code, the scripts and the packages' cache; for `bare` see
    `is_bare`.

    Raises:
        Refused: the code cannot be had.
    """
    found: list[Fragment] = [{"name": JOB_VOLUME, "emptyDir": {}}]
    if bare:
        # Not sub-paths of one volume: the kubelet makes those for root alone.
        found += [{"name": name, "emptyDir": {}} for name in BARE_FOLDERS]
    source = _source(spec, staged)
    if source is not None:
        found += source.volumes
    if staged.scripts is not None:
        scripts = {"name": staged.scripts.name, "items": staged.scripts.items}
        found.append({"name": SCRIPTS_VOLUME, "configMap": scripts})
    return [*found, *packages.volumes(spec.packages)]


def _source(spec: UnitSpec, staged: Staged) -> Source | None:
    if staged.code is not None:
        return sources.inline(staged.code)
    return sources.of(spec.code) if spec.code is not None else None


def mounts(spec: UnitSpec, staged: Staged) -> list[Fragment]:
    """What the task's containers mount beside the job folder."""
    if is_bare(spec):
        return bare_mounts(staged)
    source = _source(spec, staged)
    return [*(source.main_mounts if source else ()), *packages.mounts(spec.packages)]


def bare_mounts(staged: Staged) -> list[Fragment]:
    """Where a container of a pod without an init container finds its folders and its script."""
    found: list[Fragment] = [
        {"name": name, "mountPath": folder} for name, folder in BARE_FOLDERS.items()
    ]
    if staged.scripts is not None:
        found.append({"name": SCRIPTS_VOLUME, "mountPath": SCRIPTS_DIR, "readOnly": True})
    return found


def init_containers(
    target: Target,
    staged: Staged,
    fields: PodFields,
    image: str | None,
    env: Sequence[Fragment],
    config: PodConfig,
) -> list[Fragment]:
    """All init containers: the one that puts the code in place, and one that installs packages.

    `fields`, `image` and `env` are those of the container that will use the packages.

    Raises:
        Refused: the code cannot be had, or it is not known which image installs the packages.
    """
    found = [init_container(target.spec, staged, config)]
    wanted = target.spec.packages
    if wanted is None:
        return found
    if image is None:
        raise Refused(
            reasons.INVALID_SPEC,
            "packages are installed by the task's own image: name it in the executor block",
        )
    return [*found, packages.init_container(wanted, fields, image, env, config)]


def init_container(spec: UnitSpec, staged: Staged, config: PodConfig) -> Fragment:
    """The container that puts the code in place, under the restricted pod security standard.

    Raises:
        Refused: the code cannot be had.
    """
    source = _source(spec, staged)
    memory = (source.memory if source else None) or _MEMORY
    return {
        "name": INIT_CONTAINER,
        "image": config.image,
        "imagePullPolicy": config.image_pull_policy,
        "command": list(config.command),
        "env": _environment(spec, staged, source, config),
        "volumeMounts": [
            {"name": JOB_VOLUME, "mountPath": JOB_DIR},
            *(source.mounts if source else ()),
            *_script_mounts(staged),
        ],
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"memory": memory},
        },
        "securityContext": RESTRICTED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _script_mounts(staged: Staged) -> list[Fragment]:
    if staged.scripts is None:
        return []
    return [{"name": SCRIPTS_VOLUME, "mountPath": IN_SCRIPTS, "readOnly": True}]


def _environment(
    spec: UnitSpec, staged: Staged, source: Source | None, config: PodConfig
) -> list[Fragment]:
    entries: list[Fragment] = []
    env = {FOLDERS_VARIABLE: ":".join((CODE_DIR, SCRIPTS_DIR, OUTPUTS_DIR))}
    if source is not None and source.entry is not None:
        entries.append(dict(source.entry))
    if source is not None and source.stored is not None:
        entries[-1]["url"], env[STORE_TOKEN_VARIABLE] = _store(source.stored, config)
    if source is not None and source.keys:
        env[KEYS_VARIABLE] = sources.KEYS_DIR
    if staged.scripts is not None:
        scripts = {"source": IN_SCRIPTS, "target": SCRIPTS_DIR, "digest": staged.scripts.digest}
        entries.append({"kind": "folder", **scripts})
    if spec.packages is not None:
        entries.append(packages.entry())
    env[SOURCES_VARIABLE] = json.dumps(entries)
    if spec.group is not None:
        env[FOLDERS_VARIABLE] += f":{GROUP_DIR}"
        env[PIPES_VARIABLE] = ":".join(f"{GROUP_DIR}/{role.name}" for role in spec.group.roles)
    return [{"name": name, "value": literal(value)} for name, value in env.items()]


def _store(digest: str, config: PodConfig) -> tuple[str, str]:
    """Address of a bundle in the code store, and the right to read it."""
    if not config.store_url or not config.store_key:
        raise Refused(
            reasons.INVALID_SPEC,
            "this operator has no code store, and the bundle is too big for ConfigMaps: ask for the"
            " chart's value bundleStore.enabled=true, or leave out what is no code",
        )
    return f"{config.store_url}/v1/bundles/{digest}", get_token(config.store_key, digest)
