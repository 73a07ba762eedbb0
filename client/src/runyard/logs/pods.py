"""Logs of pods that are still there, from the API server."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Final

from runyard.kube.client import PODS, KubeClient, Object
from runyard.kube.errors import ApiError
from runyard.kube.transport import Stream
from runyard.logs.describe import ended, log_key
from runyard.logs.reader import GoneError, NotYetError, Span

_QUIET_SECONDS: Final = 60.0
# What the kubelet says, with status 200, in place of a log whose file has gone.
_NO_FILE: Final = (
    b"unable to retrieve container logs for ",
    b"failed to try resolving symlinks in path ",
)


class PodReader:
    """See `reader.Reader`; may be read by one thread and stopped by another."""

    def __init__(self, client: KubeClient, pod: Object, container: str) -> None:
        self._client = client
        self._pod = pod
        self._container = container
        self._lock = threading.Lock()
        self._open: list[Stream] = []
        self._stopped = False

    @property
    def key(self) -> str:
        return log_key(str(self._pod["metadata"]["uid"]), self._container)

    def pieces(self, span: Span) -> Generator[bytes]:
        try:
            stream = self._stream(span)
        except ApiError as error:
            if error.code == 404:
                raise GoneError("the pod is gone") from error
            if error.code == 400:
                raise NotYetError(error.message) from error
            raise
        with self._lock:
            self._open.append(stream)
            if self._stopped:
                stream.close()
        try:
            with stream:
                first = True
                for piece in stream.chunks():
                    if first and piece.startswith(_NO_FILE):
                        raise GoneError("the node has no log of the container any more")
                    first = False
                    yield piece
        finally:
            with self._lock:
                self._open.remove(stream)

    def over(self) -> bool:
        """Whether the log is complete: only an ended pod, or one that is gone, says so."""
        metadata = self._pod["metadata"]
        now = self._client.find(PODS, metadata["namespace"], metadata["name"])
        return now is None or now["metadata"]["uid"] != metadata["uid"] or ended(now)

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            for each in self._open:
                each.close()

    def _stream(self, span: Span) -> Stream:
        query = {"container": self._container}
        if span.stamps:
            query["timestamps"] = "true"
        if span.follow:
            query["follow"] = "true"
        if span.since is not None:
            query["sinceTime"] = span.since
        if span.tail is not None:
            query["tailLines"] = str(span.tail)
        metadata = self._pod["metadata"]
        path = PODS.path(metadata["namespace"], metadata["name"], "log")
        return self._client.stream(path, query, _QUIET_SECONDS)
