"""What the operator asks of the API server. Objects are plain dicts, as JSON has them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

from runyard_operator.kube.resources import Ref

Object = dict[str, Any]
Objects = list[Object]
Texts = list[str]


class KubeApi(Protocol):
    """The API server.

    Every method raises an error of `kube.errors`: `Forbidden`, `Invalid` or `Unavailable` as they
    are described there, beside those that are named below. All calls have a deadline and none is
    repeated here: the work queue repeats whole reconciles.
    """

    async def get(self, ref: Ref) -> Object | None:
        """The object as it is stored now; None only for a 404."""
        ...

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
        """All objects of a kind as one consistent snapshot, read in pages of `limit`.

        Raises:
            NotFound: the kind is not served: its CRD is not installed.
        """
        ...

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
        """As `list`, with the resourceVersion at which the snapshot is true."""
        ...

    async def list_metadata(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
    ) -> Objects:
        """As `list`, but only the metadata of each object: for kinds that hold much."""
        ...

    async def create(self, manifest: Object) -> Object:
        """Creates the object and returns it as stored.

        Raises:
            AlreadyExists: an object of this name exists; look whose it is.
            NotFound: the namespace or the kind is not there.
        """
        ...

    async def dry_run(self, manifest: Object) -> Texts:
        """Asks whether `create` would be admitted, and stores nothing; the server's warnings.

        Raises:
            AlreadyExists, NotFound: as `create`; the former means that all else is in order.
        """
        ...

    async def replace(self, manifest: Object) -> Object:
        """Writes the whole object; a `resourceVersion` in it is a precondition.

        Raises:
            Conflict: the object has changed since.
            NotFound: the object is gone.
        """
        ...

    async def apply(
        self, manifest: Object, *, manager: str, force: bool = True, subresource: str | None = None
    ) -> Object:
        """Server-side apply. A `metadata.uid` or `resourceVersion` in it is a precondition.

        Raises:
            Conflict: a precondition does not hold, or without `force` another manager owns a field.
            NotFound: a subresource of an object that is not there.
        """
        ...

    async def json_patch(self, ref: Ref, ops: Objects, *, subresource: str | None = None) -> Object:
        """JSON patch (RFC 6902).

        Raises:
            Conflict: a `test` operation did not hold; read again and decide anew.
            NotFound: the object is gone.
        """
        ...

    async def delete(
        self,
        ref: Ref,
        *,
        uid: str | None = None,
        version: str | None = None,
        propagation: str = "Background",
    ) -> bool:
        """Asks for deletion; False when there is nothing of this name.

        Raises:
            Conflict: `uid` is given and the object of this name is another one; or `version` is
                given and it has changed since that resourceVersion.
        """
        ...

    async def pod_log(self, ref: Ref, *, container: str, tail_lines: int, limit_bytes: int) -> str:
        """The last lines of a container's log, at most `limit_bytes` bytes.

        Raises:
            NotFound: the pod is gone.
            Invalid: the container has not started.
        """
        ...

    def stream_pod_log(self, ref: Ref, *, container: str) -> AsyncIterator[bytes]:
        """A container's whole log in pieces as they come, each line with its timestamp.

        Raises:
            NotFound: the pod is gone.
            Invalid: the container has not started.
            Unavailable: the connection broke; what came so far is no whole log.
        """
        ...

    async def close(self) -> None:
        """Closes the connections."""
        ...
