"""Puts an archive where the pods of a namespace find it, unless it is there already."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from runyard.api.constants import ANNOTATION_DIGEST, CHUNK_BYTES
from runyard.bundles import names
from runyard.bundles.archive import Archive
from runyard.bundles.names import Location
from runyard.bundles.store import StoreClient
from runyard.kube.client import CONFIG_MAPS, KubeClient, Object
from runyard.kube.errors import ApiError, KubeError

_METADATA: Final = {
    "Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json"
}
_METADATA_LIST: Final = {
    "Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, application/json"
}
_MERGE: Final = "application/merge-patch+json"
_ROUNDS: Final = 4

Progress = Callable[[int, int], None]
"""Is told how many bytes of how many have been sent."""


class PushError(KubeError):
    """The archive cannot be put in place; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What an experiment says as `code.bundle`, and what it took.

    `size` is that of the archive that is kept, which another machine may have packed. `sent` is
    the number of bytes that had to be sent.
    """

    digest: str
    size: int
    location: Location
    sent: int


class Pusher:
    """Uploads to one namespace.

    Args:
        client: its namespace is where the experiments run.
        store: the code store, for what is too big for ConfigMaps.
        progress: is told of the bytes of an upload to the store.
    """

    def __init__(
        self,
        client: KubeClient,
        store: StoreClient,
        *,
        progress: Progress = lambda _sent, _size: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._store = store
        self._progress = progress
        self._now = now
        self._sleep = sleep

    def push(self, archive: Archive) -> Pushed:
        """Makes sure that the archive is in place, and counts as just pushed.

        Raises:
            PushError: something else has its name, or uploads get in each other's way.
            StoreError: there is no store, or it refuses.
            ApiError, UnreachableError: the API server refuses, or is silent.
        """
        sent = 0
        for attempt in range(_ROUNDS):
            if attempt:
                self._sleep(0.25 * 2**attempt)
            found = self._find(archive.digest)
            kept = names.location(archive.size if found is None else names.size_of(found))
            if kept is Location.STORE:
                size, sent = self._store.put(self._client, archive, self._progress)
                return Pushed(archive.digest, size, kept, sent)
            if found is not None and self._whole(found, archive.digest):
                if self._touch(found):
                    return Pushed(archive.digest, names.size_of(found), kept, sent)
                continue  # it has just been deleted
            if found is not None and names.size_of(found) != archive.size:
                # Ours is of another zlib and does not fit between the parts that are left.
                name = found["metadata"]["name"]
                raise PushError(
                    f"parts of the bundle {name} are missing: delete what is left of it (kubectl"
                    f" delete configmap {name}) and push again"
                )
            sent += self._make(archive, found)
        raise PushError(
            f"another upload of {names.manifest_name(archive.digest)} is under way: push again when"
            " it is over"
        )

    def known(self, digest: str) -> Pushed | None:
        """What is in place already, which counts as just pushed; None when it must be pushed.

        Raises:
            PushError, StoreError, ApiError, UnreachableError: as `push`.
        """
        found = self._find(digest)
        if found is None:
            return None
        size = names.size_of(found)
        kept = names.location(size)
        if kept is Location.STORE:
            there = self._store.known(self._client, digest)
            return None if there is None else Pushed(digest, there, kept, 0)
        if self._whole(found, digest) and self._touch(found):
            return Pushed(digest, size, kept, 0)
        return None

    def _find(self, digest: str) -> Object | None:
        """The manifest.

        Raises:
            PushError: what has its name is something else.
        """
        name = names.manifest_name(digest)
        found = self._client.find(CONFIG_MAPS, self._client.namespace, name)
        if found is not None and names.annotation(found, ANNOTATION_DIGEST) != digest:
            raise PushError(
                f"the ConfigMap {name} exists and is not the code that its name stands for: look"
                f" whose it is, then delete it (kubectl delete configmap {name})"
            )
        return found

    def _whole(self, found: Object, digest: str) -> bool:
        """Whether all parts that the manifest speaks of are there."""
        there = self._parts(digest)
        return all(name in there for name in names.part_names(digest, names.size_of(found)))

    def _touch(self, found: Object) -> bool:
        """Puts the sweep off; False when the manifest has gone meanwhile."""
        change = {"metadata": {"annotations": _pushed(self._now())}}
        return self._patch(found["metadata"]["name"], change)

    def _make(self, archive: Archive, manifest: Object | None) -> int:
        """Creates what is missing, the manifest last; the bytes that were sent."""
        sent = 0
        with open(archive.path, "rb") as file:
            for index in range(names.part_count(archive.size)):
                sent += self._make_part(archive.digest, index, file.read(CHUNK_BYTES))
        if manifest is None:
            wanted = names.manifest(archive.digest, archive.size, now=self._now())
            manifest = self._create(wanted)
        if manifest is not None:  # else somebody was first
            self._own(archive.digest, manifest)
        return sent

    def _make_part(self, digest: str, index: int, content: bytes) -> int:
        wanted = names.part(digest, index, content, now=self._now())
        if self._create(wanted) is not None:
            return len(content)
        name = wanted["metadata"]["name"]
        there = self._parts(digest).get(name)
        same = there is not None and names.annotation(
            there, names.ANNOTATION_PART_DIGEST
        ) == names.part_digest(content)
        if same and self._patch(name, {"metadata": {"annotations": _pushed(self._now())}}):
            return 0
        if there is not None and not same:
            self._remove(there)  # left by an upload that never ended
        return len(content) if self._create(wanted) is not None else 0

    def _own(self, digest: str, manifest: Object) -> None:
        """Lets the parts go with their manifest."""
        owner = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": manifest["metadata"]["name"],
            "uid": manifest["metadata"]["uid"],
        }
        for name in names.part_names(digest, names.size_of(manifest)):
            self._patch(name, {"metadata": {"ownerReferences": [owner]}})

    def _parts(self, digest: str) -> dict[str, Object]:
        """The metadata of the parts by name: their contents are not read back."""
        query = {"labelSelector": f"{names.LABEL_PART}={names.short(digest)}"}
        path = CONFIG_MAPS.path(self._client.namespace)
        response = self._client.transport.request("GET", path, query, headers=_METADATA_LIST)
        items: list[Object] = json.loads(response.body)["items"] or []  # null when there are none
        return {each["metadata"]["name"]: each for each in items}

    def _create(self, item: Object) -> Object | None:
        """The object as created; None when one of its name exists."""
        try:
            return self._client.create(CONFIG_MAPS, self._client.namespace, item)
        except ApiError as error:
            if error.code == 409 and error.reason == "AlreadyExists":
                return None
            raise

    def _patch(self, name: str, change: Any) -> bool:
        """False when there is nothing of this name."""
        path = CONFIG_MAPS.path(self._client.namespace, name)
        body = json.dumps(change).encode()
        try:
            self._client.transport.request("PATCH", path, None, body, _MERGE, headers=_METADATA)
        except ApiError as error:
            if error.code == 404:
                return False
            raise
        return True

    def _remove(self, found: Object) -> None:
        metadata = found["metadata"]
        try:
            self._client.delete(
                CONFIG_MAPS, self._client.namespace, metadata["name"], metadata["uid"]
            )
        except ApiError as error:
            if error.code not in (404, 409):
                raise


def _pushed(now: datetime) -> dict[str, str]:
    return {names.ANNOTATION_PUSHED: names.timestamp(now)}
