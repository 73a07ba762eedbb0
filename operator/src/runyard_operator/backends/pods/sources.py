"""What each source of code asks of a pod: volumes, mounts, and words for the unpacker. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from runyard.api.code import Code, CodeBundle, CodeConfigMap, CodeGit, CodePvc, CodeUri
from runyard.api.constants import CODE_DIR
from runyard.bundles import names
from runyard.bundles.names import Location
from runyard_operator.backends.base import Refused
from runyard_operator.backends.pods.template import Fragment
from runyard_operator.bundles.bundle import Bundle
from runyard_operator.engine import reasons
from runyard_operator.unpack.gitcommand import checked
from runyard_operator.unpack.problems import UnpackError

CODE_VOLUME: Final = "runyard-code"
SECRET_VOLUME: Final = "runyard-code-secret"  # noqa: S105 - the volume's name
KEYS_VOLUME: Final = "runyard-keys"
IN_CODE: Final = "/runyard/in/code"
IN_SECRET: Final = "/runyard/in/secret"  # noqa: S105 - where the Secret is mounted
KEYS_DIR: Final = "/runyard/keys"
_READABLE: Final = 0o444
"""The unpacker is neither root nor the owner of the files that the kubelet writes."""
GIT_MEMORY: Final = "256Mi"

Access = tuple[tuple[Fragment, ...], tuple[Fragment, ...], Fragment]
"""Volumes, their mounts, and what the entry for the unpacker says of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What one source of code adds.

    Attributes:
        entry: for the unpacker; None where the code needs nothing done.
        volumes: of the pod.
        mounts: of the init container alone.
        main_mounts: of the task's containers.
        stored: the digest of a bundle that is to be fetched from the code store.
        keys: whether credentials are written, to a folder in memory.
        memory: a higher limit for the init container.
    """

    entry: Mapping[str, Any] | None
    volumes: tuple[Fragment, ...] = ()
    mounts: tuple[Fragment, ...] = ()
    main_mounts: tuple[Fragment, ...] = ()
    stored: str | None = None
    keys: bool = False
    memory: str | None = field(default=None)


def inline(packed: Bundle) -> Source:
    """Files that are written in the resource itself, and were packed."""
    source = {"name": packed.name, "items": packed.items}
    return _config_map(source, packed.digest)


def of(code: Code) -> Source | None:
    """What the code's source adds; None for inline files.

    Raises:
        Refused: it cannot be had; the message says what to write.
    """
    if code.config_map is not None:
        return _from_config_map(code.config_map)
    if code.bundle is not None:
        return _from_bundle(code.bundle)
    if code.git is not None:
        return _from_git(code.git)
    if code.pvc is not None:
        return _from_claim(code.pvc)
    if code.uri is not None:
        return _from_uri(code.uri)
    return None


def _config_map(source: Fragment, digest: str | None) -> Source:
    entry = {"kind": "folder", "source": IN_CODE, "target": CODE_DIR}
    return Source(
        entry=entry if digest is None else {**entry, "digest": digest},
        volumes=({"name": CODE_VOLUME, "configMap": source},),
        mounts=(_read_only(CODE_VOLUME, IN_CODE),),
    )


def _from_config_map(code: CodeConfigMap) -> Source:
    wire = code.to_dict()
    source = {key: wire[key] for key in ("name", "items") if wire.get(key)}
    return _config_map(source, code.digest)


def _from_bundle(code: CodeBundle) -> Source:
    entry = {"target": CODE_DIR, "digest": code.digest}
    if names.location(code.size) is Location.STORE:
        return Source(entry={"kind": "stored", **entry}, stored=code.digest)
    parts = [
        {
            "configMap": {
                "name": name,
                "items": [{"key": names.PART_KEY, "path": f"part-{index:04d}"}],
            }
        }
        for index, name in enumerate(names.part_names(code.digest, code.size))
    ]
    return Source(
        entry={"kind": "parts", "source": IN_CODE, **entry},
        volumes=({"name": CODE_VOLUME, "projected": {"sources": parts}},),
        mounts=(_read_only(CODE_VOLUME, IN_CODE),),
    )


def _from_git(code: CodeGit) -> Source:
    if code.commit is None:
        raise Refused(
            reasons.INVALID_SPEC,
            "code.git.commit is not set: an experiment looks it up, a unit of its own must name it",
        )
    try:
        checked(code.url)
    except UnpackError as problem:
        raise Refused(reasons.INVALID_SPEC, f"code.git.url: {problem}") from problem
    entry: Fragment = {
        "kind": "git",
        "url": code.url,
        "commit": code.commit,
        "target": CODE_DIR,
        **({"ref": code.ref} if code.ref else {}),
        **({"subpath": code.subpath} if code.subpath else {}),
        **({"submodules": True} if code.submodules else {}),
    }
    volumes, mounts, known = git_access(code)
    return Source(
        entry={**entry, **known}, volumes=volumes, mounts=mounts, keys=True, memory=GIT_MEMORY
    )


def git_access(code: CodeGit) -> Access:
    """What a container needs to talk to the repository's server."""
    memory = {"medium": "Memory", "sizeLimit": "1Mi"}
    volumes, mounts, known = _secret(code.secret.name if code.secret else None)
    return (
        (*volumes, {"name": KEYS_VOLUME, "emptyDir": memory}),
        (*mounts, {"name": KEYS_VOLUME, "mountPath": KEYS_DIR}),
        known,
    )


def _from_claim(code: CodePvc) -> Source:
    volume = {
        "name": CODE_VOLUME,
        "persistentVolumeClaim": {"claimName": code.claim_name},
    }
    below = {"subPath": code.sub_path} if code.sub_path else {}
    mount = {"name": CODE_VOLUME, "mountPath": CODE_DIR, **below}
    main = {**mount, "readOnly": True} if code.read_only else mount
    if code.digest is None:
        return Source(entry=None, volumes=(volume,), main_mounts=(main,))
    return Source(
        entry={"kind": "check", "source": IN_CODE, "digest": code.digest},
        volumes=(volume,),
        mounts=({**_read_only(CODE_VOLUME, IN_CODE), **below},),
        main_mounts=(main,),
    )


def _from_uri(code: CodeUri) -> Source:
    volumes, mounts, known = _secret(code.secret.name if code.secret else None)
    entry = {"kind": "uri", "url": code.url, "digest": code.digest, "target": CODE_DIR, **known}
    return Source(entry=entry, volumes=volumes, mounts=mounts)


def _secret(name: str | None) -> Access:
    """Volume, mount, and what the entry says of it; the task's own containers do not get it."""
    if name is None:
        return (), (), {}
    source = {"secretName": name, "defaultMode": _READABLE}
    return (
        ({"name": SECRET_VOLUME, "secret": source},),
        (_read_only(SECRET_VOLUME, IN_SECRET),),
        {"secret": IN_SECRET},
    )


def _read_only(name: str, path: str) -> Fragment:
    return {"name": name, "mountPath": path, "readOnly": True}
