"""The log of a container: read once, or followed through broken connections, no line twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TextIO

from runyard.cli.paint import ansi
from runyard.kube.client import PODS, KubeClient, Object
from runyard.kube.errors import ApiError, UnreachableError
from runyard.kube.transport import Stream

_QUIET_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 1.0
_COLOURS: Final = ("cyan", "green", "yellow", "magenta", "blue", "red")
_DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
_ROLE: Final = "RUNYARD_ROLE"

Write = Callable[[bytes], None]
"""Takes one line without its line feed."""


@dataclass(frozen=True, slots=True)
class Options:
    """Which lines of a log, and how they look."""

    tail: int | None = None
    timestamps: bool = False


class LogWriter:
    """Writes whole lines of several logs, each with its own prefix; safe between threads."""

    def __init__(self, out: TextIO, *, colour: bool) -> None:
        self._out = out
        self._colour = colour
        self._lock = threading.Lock()
        self._prefixes: list[str] = []
        self._width = 0

    def to(self, prefix: str) -> Write:
        """The function that writes a line with the prefix; with none, the line alone."""
        if not prefix:
            return lambda line: self._write("", line)
        with self._lock:
            if prefix not in self._prefixes:
                self._prefixes.append(prefix)
            number = self._prefixes.index(prefix)
            self._width = max(self._width, len(prefix))
        style = _COLOURS[number % len(_COLOURS)] if self._colour else ""
        return lambda line: self._write(f"{ansi(prefix.ljust(self._width), style)} | ", line)

    def _write(self, head: str, line: bytes) -> None:
        with self._lock:
            self._out.write(f"{head}{line.decode('utf-8', 'replace')}\n")
            self._out.flush()


def containers_of(pod: Object) -> list[tuple[str, str]]:
    """The containers whose logs are meant, each with its role in a group, the leader first.

    Without a group it is one container without a role: the annotated one, else the first.
    """
    spec = pod["spec"]
    every = [*spec["containers"], *(spec.get("initContainers") or [])]
    roles = [(str(each["name"]), role) for each in every if (role := _role_of(each))]
    annotated = (pod["metadata"].get("annotations") or {}).get(_DEFAULT_CONTAINER)
    return roles or [(str(annotated or every[0]["name"]), "")]


def _role_of(container: Mapping[str, Any]) -> str:
    variables: Sequence[Mapping[str, Any]] = container.get("env") or []
    return next((each.get("value") or "" for each in variables if each["name"] == _ROLE), "")


def started(pod: Object, container: str) -> bool:
    """Whether the container runs or has run, so that it has a log."""
    status = pod.get("status") or {}
    kinds = ("containerStatuses", "initContainerStatuses")
    return any(
        "running" in each["state"] or "terminated" in each["state"]
        for kind in kinds
        for each in status.get(kind) or []
        if each["name"] == container
    )


def ended(pod: Object) -> bool:
    """Whether the pod will write no more."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def read_once(
    client: KubeClient, pod: Object, container: str, options: Options, write: Write
) -> None:
    """The lines that there are now; none when the container has not started or has just gone.

    Raises:
        KubeError: the log cannot be read.
    """
    try:
        with _open(client, pod, container, options, follow=False, since=None) as stream:
            for line in stream.lines():
                write(line if options.timestamps else _split(line)[1])
    except ApiError as error:
        if error.code not in (400, 404):  # 400: the container is still waiting to start
            raise


class Follower:
    """Follows the log of a pod's container until the pod has ended or `stop` is called."""

    def __init__(
        self, client: KubeClient, pod: Object, container: str, options: Options, write: Write
    ) -> None:
        self._client = client
        self._pod = pod
        self._container = container
        self._options = options
        self._write = write
        self._last = ""
        self._at_last = 0
        self._stopped = threading.Event()
        self._stream: Stream | None = None

    def stop(self) -> None:
        """Ends `run` from another thread."""
        self._stopped.set()
        if self._stream is not None:
            self._stream.close()

    def run(self) -> None:
        """Writes lines as they come; takes up again after an interruption where it was."""
        last = False
        while not self._stopped.is_set():
            try:
                for line in self._lines(follow=not last):
                    self._write(line)
                if last:
                    return
                # A server that shuts down ends streams early, too: once the pod has ended, what
                # may be left is read in one more go.
                last = self._over()
                if last:
                    continue
            except UnreachableError:
                pass  # the API server or the network restarts: the pod goes on meanwhile
            except ApiError as error:
                if error.code == 404:
                    return
                if error.code < 500 and error.code not in (400, 429):
                    raise
                last = self._over()  # a pod that ends before its container starts has no log
                if last and error.code == 400:
                    return
            self._stopped.wait(_RETRY_SECONDS)

    def _over(self) -> bool:
        """Whether the log is complete: only an ended pod, or one that is gone, says so."""
        metadata = self._pod["metadata"]
        now = self._client.find(PODS, metadata["namespace"], metadata["name"])
        return now is None or now["metadata"]["uid"] != metadata["uid"] or ended(now)

    def _lines(self, *, follow: bool) -> Iterator[bytes]:
        # sinceTime counts whole seconds, so the lines of the last second come again: those up to
        # the last timestamp seen, and as many with that very one as were written, are left out.
        since, skip_at_last = self._last or None, self._at_last
        place = self._client, self._pod, self._container
        with _open(*place, self._options, follow=follow, since=since) as stream:
            self._stream = stream
            for line in stream.lines():
                stamp, text = _split(line)
                if since is not None and stamp and stamp <= since:
                    if stamp < since:
                        continue
                    if skip_at_last > 0:
                        skip_at_last -= 1
                        continue
                if stamp:
                    self._at_last = self._at_last + 1 if stamp == self._last else 1
                    self._last = stamp
                yield line if self._options.timestamps else text


def _open(
    client: KubeClient,
    pod: Object,
    container: str,
    options: Options,
    *,
    follow: bool,
    since: str | None,
) -> Stream:
    query = {"container": container, "timestamps": "true"}
    if follow:
        query["follow"] = "true"
    if since is not None:
        query["sinceTime"] = since
    elif options.tail is not None:
        query["tailLines"] = str(options.tail)
    metadata = pod["metadata"]
    path = PODS.path(metadata["namespace"], metadata["name"], "log")
    return client.stream(path, query, _QUIET_SECONDS)


def _split(line: bytes) -> tuple[str, bytes]:
    """The timestamp and the text of a line; the kubelet writes its own errors without one."""
    stamp, separator, text = line.partition(b" ")
    if not separator or not stamp[:4].isdigit():
        return "", line
    return stamp.decode("ascii", "replace"), text
