"""A stand-in for the API server: answers from a script and keeps what it was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runyard_operator.kube.api import Object, Objects
from runyard_operator.kube.errors import NotFound
from runyard_operator.kube.resources import Ref

Answer = Objects | Exception


def obj(
    kind: str,
    name: str,
    version: int,
    *,
    namespace: str = "team",
    labels: Mapping[str, str] | None = None,
    **rest: Any,
) -> Object:
    """A small object as a watch brings it."""
    metadata = {
        "name": name,
        "namespace": namespace,
        "uid": rest.pop("uid", f"uid-{name}"),
        "resourceVersion": str(version),
        "labels": dict(labels or {}),
    }
    return {"apiVersion": "runyard.dev/v1alpha1", "kind": kind, "metadata": metadata, **rest}


class ScriptedKube:
    """Lists by kind (a list of objects, or an error to raise); records what is created."""

    def __init__(self, lists: Mapping[str, Answer] | None = None, version: str = "1000") -> None:
        self.lists: dict[str, Answer] = dict(lists or {})
        self.version = version
        self.created: Objects = []
        self.refuse: Sequence[Exception] = ()

    async def get(self, ref: Ref) -> Object | None:
        found = self.lists.get(ref.kind, [])
        if isinstance(found, Exception):
            raise found
        return next((each for each in found if each["metadata"]["name"] == ref.name), None)

    async def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int = 500,
    ) -> Objects:
        found, _ = await self.snapshot(api_version, kind, namespace=namespace)
        return found

    async def snapshot(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int = 500,
    ) -> tuple[Objects, str]:
        found = self.lists.get(kind, [])
        if isinstance(found, Exception):
            raise found
        chosen = [each for each in found if namespace in (None, each["metadata"]["namespace"])]
        return chosen, self.version

    async def create(self, manifest: Object) -> Object:
        if self.refuse:
            error, *self.refuse = self.refuse
            raise error
        self.created.append(manifest)
        return manifest

    async def replace(self, manifest: Object) -> Object:
        raise NotFound("the script has no answer to replace", status=404)

    async def apply(
        self, manifest: Object, *, manager: str, force: bool = True, subresource: str | None = None
    ) -> Object:
        raise NotFound("the script has no answer to apply", status=404)

    async def json_patch(self, ref: Ref, ops: Objects, *, subresource: str | None = None) -> Object:
        raise NotFound("the script has no answer to patch", status=404)

    async def delete(
        self, ref: Ref, *, uid: str | None = None, propagation: str = "Background"
    ) -> bool:
        return False

    async def pod_log(self, ref: Ref, *, container: str, tail_lines: int, limit_bytes: int) -> str:
        return ""

    async def close(self) -> None:
        return None
