"""Files to an immutable ConfigMap whose name says its content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from runyard.api.constants import (
    ANNOTATION_DIGEST,
    LABEL_MANAGED_BY,
    MANAGED_BY,
    MAX_INLINE_CODE_BYTES,
)
from runyard.bundles import names
from runyard_operator.bundles.digest import content_digest


class BundleError(ValueError):
    """The files cannot become a bundle; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Text files by relative path, sorted; `digest` is that of paths and contents."""

    files: tuple[tuple[str, str], ...]
    digest: str

    @property
    def name(self) -> str:
        """The name of its ConfigMap: 64 bits of the digest, which `digest` then verifies."""
        return names.manifest_name(self.digest)

    @property
    def items(self) -> list[dict[str, str]]:
        """Which key goes to which path when the ConfigMap is mounted; keys cannot hold '/'."""
        return [{"key": _key(index), "path": path} for index, (path, _) in enumerate(self.files)]


def _key(index: int) -> str:
    return f"f{index:03d}"


def bundle(files: Iterable[tuple[str, str]]) -> Bundle:
    """The bundle of some (path, text) pairs.

    Raises:
        BundleError: too big, a path is given twice, leaves the folder, or is a file and a folder.
    """
    ordered = tuple(sorted(files))
    paths = [path for path, _ in ordered]
    for path in paths:
        _check_path(path)
    known = set(paths)
    if len(known) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise BundleError(f"the file {twice!r} is given twice: keep one of them")
    for path in paths:
        above = next((each for each in _parents(path) if each in known), None)
        if above is not None:
            raise BundleError(f"{above!r} is a file, and the folder of {path!r}: rename one")
    encoded = [(path, text.encode()) for path, text in ordered]
    size = sum(len(content) for _, content in encoded)
    if size > MAX_INLINE_CODE_BYTES:
        raise BundleError(
            f"the inline files take {size} bytes and at most {MAX_INLINE_CODE_BYTES} fit into a"
            " ConfigMap: leave out what the task does not need, or put the code into the image or"
            " into ConfigMaps of your own (code.configMap)"
        )
    return Bundle(files=ordered, digest=content_digest(encoded))


def _check_path(path: str) -> None:
    parts = path.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        raise BundleError(f"the path {path!r} must be relative, without empty, '.' or '..' parts")
    if parts[0].startswith(".."):
        raise BundleError(f"the path {path!r} begins with '..', which Kubernetes keeps for itself")


def _parents(path: str) -> Iterable[str]:
    parts = path.split("/")
    return ("/".join(parts[:end]) for end in range(1, len(parts)))


def config_map(content: Bundle, *, namespace: str, owner: Mapping[str, Any]) -> dict[str, Any]:
    """The ConfigMap of a bundle, with one more (non-controller) owner.

    Applied by one field manager for each owner: the owners add up, and the garbage collector
    deletes the ConfigMap with the last of them.
    """
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": content.name,
            "namespace": namespace,
            "labels": {LABEL_MANAGED_BY: MANAGED_BY},
            "annotations": {ANNOTATION_DIGEST: content.digest},
            "ownerReferences": [{key: owner[key] for key in ("apiVersion", "kind", "name", "uid")}],
        },
        "immutable": True,
        "data": {_key(index): text for index, (_, text) in enumerate(content.files)},
    }


def same_content(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a ConfigMap that exists is the bundle that `wanted` describes, and ours."""
    metadata = stored["metadata"]
    labels = metadata.get("labels") or {}
    annotations = metadata.get("annotations") or {}
    return (
        labels.get(LABEL_MANAGED_BY) == MANAGED_BY
        and annotations.get(ANNOTATION_DIGEST)
        == wanted["metadata"]["annotations"][ANNOTATION_DIGEST]
        and (stored.get("data") or {}) == wanted["data"]
    )
