"""The Python packages of a task: installed by its own image, in a second init container. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from runyard.api.constants import CODE_DIR, JOB_DIR, PACKAGES_DIR
from runyard.api.packages import Packages
from runyard.api.podfields import PodFields
from runyard.api.unit import UnitSpec
from runyard_operator.backends.base import Refused
from runyard_operator.backends.pods.command import literal
from runyard_operator.backends.pods.template import JOB_VOLUME, Fragment, PodConfig
from runyard_operator.engine import reasons
from runyard_operator.unpack import install
from runyard_operator.unpack.tools import INSTALLER

CONTAINER: Final = "runyard-packages"
CACHE_VOLUME: Final = "runyard-packages"
CACHE_DIR: Final = "/runyard/packages"
TOOLS_DIR: Final = f"{JOB_DIR}/.runyard"
"""Where the first init container puts pip and the installer."""

_ON_PATH: Final = f'PATH={PACKAGES_DIR}/bin:$PATH; export PATH; exec "$@"'


def entry() -> Fragment:
    """What the first init container does for it."""
    return {"kind": "tools", "target": TOOLS_DIR}


def volumes(packages: Packages | None) -> list[Fragment]:
    """The claim of the cache, if there is one."""
    if packages is None or packages.cache is None:
        return []
    claim = {"claimName": packages.cache.claim_name}
    return [{"name": CACHE_VOLUME, "persistentVolumeClaim": claim}]


def mounts(packages: Packages | None) -> list[Fragment]:
    """Where the task's containers find the cache, which their packages folder leads to."""
    return [
        {"name": each["name"], "mountPath": CACHE_DIR, "readOnly": True}
        for each in volumes(packages)
    ]


def python_path(spec: UnitSpec) -> str:
    """The value of PYTHONPATH: the code, then the packages; the image's own come behind."""
    return f"{CODE_DIR}:{PACKAGES_DIR}" if spec.packages is not None else CODE_DIR


def on_path(spec: UnitSpec, words: list[str]) -> list[str]:
    """The command, with the packages' programs first on PATH; the image's own PATH is known to
    its shell alone."""
    return words if spec.packages is None else ["sh", "-c", _ON_PATH, "runyard", *words]


def check_roles(spec: UnitSpec, image: str | None) -> None:
    """Raises Refused when roles of one pod have other images: their Pythons may not fit."""
    for role in spec.group.roles if spec.group is not None and spec.packages is not None else ():
        if role.image not in (None, image):
            raise Refused(
                reasons.INVALID_SPEC,
                f"role {role.name!r} has an image of its own, and packages are installed once for"
                " the pod: give all roles one image, or use executor.trainJob",
            )


def init_container(
    packages: Packages,
    fields: PodFields,
    image: str,
    env: Sequence[Fragment],
    config: PodConfig,
) -> Fragment:
    """The container that installs the packages into the job folder, or links them from the cache.

    Args:
        packages: the unit's.
        fields: of the container that will use them; it gets no more than that one.
        image: the same one's.
        env: the task's own variables: proxies, certificates and settings of pip may be there.
        config: what the operator brings.

    Raises:
        Refused: two indexes are named.
    """
    found: Fragment = {
        "name": CONTAINER,
        "image": image,
        "command": ["python3", f"{TOOLS_DIR}/{INSTALLER}"],
        "env": _environment(packages, env, config),
        "workingDir": JOB_DIR,
        "volumeMounts": [
            {"name": JOB_VOLUME, "mountPath": JOB_DIR},
            *({"name": e["name"], "mountPath": CACHE_DIR} for e in volumes(packages)),
        ],
        "securityContext": {"allowPrivilegeEscalation": False},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if fields.image_pull_policy is not None:
        found["imagePullPolicy"] = fields.image_pull_policy
    if resources := _resources(fields):
        found["resources"] = resources
    return found


def _environment(packages: Packages, env: Sequence[Fragment], config: PodConfig) -> list[Fragment]:
    if packages.index_secret is not None and packages.index_url is not None:
        raise Refused(
            reasons.INVALID_SPEC,
            "packages has indexUrl and indexSecret: set one, the Secret holds the whole address",
        )
    # The task's own settings win over the operator's, and what the task says of packages over both.
    default = {"name": install.INDEX, "value": config.package_index}
    found: dict[str, Fragment] = {install.INDEX: default} if config.package_index else {}
    found |= {each["name"]: each for each in env if each["name"] != "PYTHONPATH"}
    ours = {
        install.REQUIREMENTS: json.dumps(packages.requirements),
        install.TARGET: PACKAGES_DIR,
        install.CACHE: CACHE_DIR if packages.cache is not None else None,
        install.INDEX: packages.index_url,
        install.EXTRA: " ".join(packages.extra_index_urls) or None,
        "PYTHONUNBUFFERED": "1",
    }
    found |= {
        name: {"name": name, "value": literal(value)}
        for name, value in ours.items()
        if value is not None
    }
    if packages.index_secret is not None:
        selector = packages.index_secret.to_dict()
        found[install.INDEX] = {"name": install.INDEX, "valueFrom": {"secretKeyRef": selector}}
    return list(found.values())


def _resources(fields: PodFields) -> Fragment:
    """CPU and memory of the task: a pod takes the larger of both, so this costs nothing more."""
    parts = {
        "requests": {"cpu": fields.cpu, "memory": fields.memory},
        "limits": {"cpu": fields.cpu_limit, "memory": fields.memory_limit or fields.memory},
    }
    values = {k: {n: v for n, v in part.items() if v is not None} for k, part in parts.items()}
    return {name: value for name, value in values.items() if value}
