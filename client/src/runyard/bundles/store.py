"""The code store, reached through the API server: its Service is proxied to whoever may ask.

The proxy does not say who asks, so the store believes nobody by name: who creates a ticket, a
ConfigMap in the namespace of the code, has shown that he may write there.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from runyard.bundles import names
from runyard.bundles.archive import Archive
from runyard.bundles.names import Refusal
from runyard.kube.client import CONFIG_MAPS, KubeClient
from runyard.kube.errors import ApiError, KubeError, UnreachableError

DEFAULT_NAMESPACE: Final = "runyard-system"
_TRIES: Final = 5
_READ_SECONDS: Final = 300.0
_PIECE: Final = 1 << 18
_PASSING: Final = (429, 500, 502, 503, 504)

Progress = Callable[[int, int], None]


class StoreError(KubeError):
    """The store is not there, or refuses; the message says what to do."""


class StoreClient:
    """The code store of one installation.

    Args:
        namespace: where Runyard is installed.
    """

    def __init__(
        self, namespace: str = DEFAULT_NAMESPACE, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._namespace = namespace
        self._sleep = sleep

    def path(self, digest: str) -> str:
        """The address of a bundle, from the API server's root."""
        service = f"{names.STORE_SERVICE}:{names.STORE_PORT}"
        return f"/api/v1/namespaces/{self._namespace}/services/{service}/proxy/v1/bundles/{digest}"

    def known(self, client: KubeClient, digest: str) -> int | None:
        """The bytes of an archive that this namespace has sent before; None if it has not.

        Raises:
            StoreError, ApiError, UnreachableError: as `put`.
        """
        with self._ticket(client, digest) as ticket:
            headers = {names.TICKET_HEADER: ticket}
            try:
                return self._again(lambda: self._claim(client, digest, headers))
            except _AbsentError:
                return None

    def put(self, client: KubeClient, archive: Archive, progress: Progress) -> tuple[int, int]:
        """Makes the store have an archive, and the client's namespace a manifest of it.

        Returns the bytes of the archive that is kept and the bytes that were sent: none when this
        namespace has sent the same before.

        Raises:
            StoreError: there is no store, no right to use it, or it refuses.
            ApiError: the API server refuses the ticket.
            UnreachableError: no answer came, in spite of several tries.
        """
        with self._ticket(client, archive.digest) as ticket:
            headers = {names.TICKET_HEADER: ticket, names.SIZE_HEADER: str(archive.size)}
            try:
                # Without the content: a refusal, too, comes before megabytes are on their way.
                return self._again(lambda: self._claim(client, archive.digest, headers)), 0
            except _AbsentError:
                size = self._again(lambda: self._send(client, archive, headers, progress))
                return size, archive.size

    def _claim(self, client: KubeClient, digest: str, headers: dict[str, str]) -> int:
        with self._told():
            response = client.transport.request(
                "POST", self.path(digest), None, b"", "application/octet-stream", headers=headers
            )
        return int(json.loads(response.body)["size"])

    def _send(
        self, client: KubeClient, archive: Archive, headers: dict[str, str], progress: Progress
    ) -> int:
        with self._told():
            response = client.transport.send(
                self.path(archive.digest),
                _pieces(archive, progress),
                archive.size,
                timeout=_READ_SECONDS,
                headers=headers,
            )
        return int(json.loads(response.body)["size"])

    def _again(self, call: Callable[[], int]) -> int:
        """Calls until there is an answer: the store may just be restarting."""
        for attempt in range(_TRIES):
            try:
                return call()
            except (UnreachableError, _PassingError):
                if attempt == _TRIES - 1:
                    raise
            self._sleep(2.0**attempt)
        raise AssertionError("the last try returns or raises")

    @contextmanager
    def _ticket(self, client: KubeClient, digest: str) -> Iterator[str]:
        """A ticket that is gone afterwards, as the header says it."""
        token = secrets.token_hex(32)
        name = f"runyard-upload-{secrets.token_hex(8)}"
        client.create(CONFIG_MAPS, client.namespace, names.ticket(name, digest, token))
        try:
            yield f"{client.namespace}/{name}:{token}"
        finally:
            with suppress(KubeError):  # the operator sweeps those that stay
                client.delete(CONFIG_MAPS, client.namespace, name)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the store and of the way to it, in words."""
        try:
            yield
        except ApiError as error:
            raise self._error(error) from error

    def _error(self, error: ApiError) -> StoreError:
        if error.reason in set(Refusal) - {Refusal.NO_ANSWER}:  # the store's own words
            kind = _AbsentError if error.reason == Refusal.ABSENT else StoreError
            return kind(error.message)
        if error.code == 403:
            return StoreError(
                f"you may not send code to the store in {self._namespace}: ask its administrator to"
                " name you in the chart's value bundleStore.uploaders; check with: kubectl auth"
                f" can-i update services/{names.STORE_SERVICE}:{names.STORE_PORT}"
                f" --subresource=proxy -n {self._namespace}"
            )
        if error.code == 404:
            return StoreError(
                f"there is no code store in the namespace {self._namespace}: name the namespace of"
                " Runyard with --store-namespace, or ask its administrator for the chart's value"
                " bundleStore.enabled=true; code of at most 3 MB (compressed) needs no store: leave"
                " out what is no code by .runyardignore"
            )
        passing = _PassingError if error.code in _PASSING else StoreError
        return passing(f"the code store in {self._namespace} gives no answer: {error.message}")


class _AbsentError(StoreError):
    pass


class _PassingError(StoreError):
    """May be otherwise in a moment."""


def _pieces(archive: Archive, progress: Progress) -> Iterator[bytes]:
    sent = 0
    with open(archive.path, "rb") as file:
        while piece := file.read(_PIECE):
            yield piece
            sent += len(piece)
            progress(sent, archive.size)
