"""What the parts of a pod have in common: names, and the operator's own configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from runyard.api.constants import JOB_DIR
from runyard_operator.backends.base import Target

Fragment = dict[str, Any]

INIT_CONTAINER: Final = "runyard-code"
JOB_VOLUME: Final = "runyard-job"
NOBODY: Final = 65532
RESTRICTED: Final[Fragment] = {
    "runAsNonRoot": True,
    "runAsUser": NOBODY,
    "runAsGroup": NOBODY,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""The security context of containers that run the operator's own programs."""
GROUP_DIR: Final = f"{JOB_DIR}/group"
"""Where the roles of a group tell each other how they end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodConfig:
    """What the operator's own configuration adds to every pod.

    `image` is the operator's: the init container runs `command` in it. `store_url` is where pods
    reach the code store, `store_key` what the rights to read from it follow from, `bundle_cap` how
    many bytes the bundles in a namespace's ConfigMaps may take, `package_index` the index of Python
    packages where a task names none.
    """

    image: str
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    command: tuple[str, ...] = ("/opt/runyard/bin/python", "-m", "runyard_operator.unpack")
    store_url: str = ""
    store_key: bytes = field(default=b"", repr=False)
    bundle_cap: int = 64_000_000
    package_index: str = ""


def upsert(under: list[Fragment], over: list[Fragment], key: str) -> list[Fragment]:
    """Two lists as one, merged by `key`; entries of `over` win, the order of mention stays."""
    merged: dict[Any, Fragment] = {each.get(key): each for each in under}
    merged.update({each[key]: each for each in over})
    return list(merged.values())


def owned(target: Target) -> list[Mapping[str, Any]]:
    """The ownerReferences of what is made for the attempt: the unit controls it."""
    return [dict(target.owner)]
