"""Logs that were kept when an attempt ended, for when its pods are gone.

An attempt's folder in the archive holds a manifest and one gzip file for each container. The text
in it is what the kubelet gave, each line with its time. It was compressed in blocks of whole lines,
each a gzip member of its own: the end of a log, or what came since a moment, is read without the
rest. The archive is reached through the API server's proxy to the code store's Service, by a token
that lies in a ConfigMap of the namespace: who may read ConfigMaps there may read its logs.
"""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from runyard.kube.client import CONFIG_MAPS, KubeClient
from runyard.kube.errors import ApiError, KubeError, UnreachableError
from runyard.kube.transport import Stream
from runyard.logs.describe import log_key
from runyard.logs.reader import GoneError, Span, split, whole_lines

CONFIG_MAP: Final = "runyard-logs"
MANIFEST: Final = "manifest.json"
_HEADER: Final = "X-Runyard-Token"
_IDLE_SECONDS: Final = 120.0


class ArchiveError(KubeError):
    """The archive cannot be used, or does not hold what it should; the text is fit for users."""


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines that were compressed together.

    Attributes:
        stored: where it begins in the file, in bytes.
        lines: how many lines it has.
        first: the time of its first line; empty when that has none.
    """

    stored: int
    lines: int
    first: str


@dataclass(frozen=True, slots=True)
class File:
    """One container's log in the archive. Sizes are in bytes, those of the text."""

    name: str
    pod_uid: str
    container: str
    rank: int
    role: str
    wide: bool
    init: bool
    size: int
    sha256: str
    blocks: tuple[Block, ...]
    problem: str
    """What is wrong with it, for people; empty when it is whole."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the archive has of an attempt."""

    files: tuple[File, ...]
    problems: tuple[str, ...]


class Archive:
    """The archived logs of one namespace."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._place: tuple[str, str] | None = None

    def manifest(self, uid: str, attempt: int, digest: str | None) -> Manifest:
        """What there is of an attempt of the unit with that uid.

        `digest` is the manifest's sha256:<hex> as the unit's status has it; None checks nothing.

        Raises:
            GoneError: the archive has nothing of it.
            ArchiveError: there is no way to the archive, or it holds something else.
            KubeError: the API server refuses, or is silent.
        """
        path = f"{uid}/{attempt}/{MANIFEST}"
        with self.open(path) as stream:
            data = b"".join(stream.chunks())
        found = f"sha256:{sha256(data).hexdigest()}"
        if digest is not None and found != digest:
            raise ArchiveError(
                f"the archive's manifest of attempt {attempt} has the digest {found}, and the"
                f" unit's status says {digest}: it was changed, or is about to be"
            )
        return parse(json.loads(data))

    def reader(self, uid: str, attempt: int, file: File) -> ArchiveReader:
        """Reads one log."""
        return ArchiveReader(self, f"{uid}/{attempt}/{file.name}", file)

    def open(self, path: str, first: int = 0) -> Stream:
        """A file of the namespace, from the byte `first` on."""
        if self._place is None:
            self._place = self._find()
        base, token = self._place
        headers = {_HEADER: token}
        if first:
            headers["Range"] = f"bytes={first}-"
        url = f"{base}/v1/logs/{self._client.namespace}/{path}"
        try:
            return self._client.transport.stream(url, None, _IDLE_SECONDS, headers)
        except ApiError as error:
            raise _told(error, path) from error

    def _find(self) -> tuple[str, str]:
        """The path of the archive's Service, and the token."""
        found = self._client.find(CONFIG_MAPS, self._client.namespace, CONFIG_MAP)
        data = (found or {}).get("data") or {}
        namespace, _, service = str(data.get("service") or "").partition("/")
        if not (namespace and service and data.get("token")):
            raise ArchiveError(
                f"the namespace {self._client.namespace!r} has no usable ConfigMap {CONFIG_MAP!r}:"
                " the operator makes it when it archives the first log"
            )
        # Names only, and quoted: what others may write must not choose which path we ask for.
        from urllib.parse import quote

        place = f"{quote(namespace, safe='')}/services/{quote(service, safe=':')}"
        return f"/api/v1/namespaces/{place}/proxy", str(data["token"])


def _told(error: ApiError, path: str) -> KubeError:
    if error.code == 404:
        return GoneError(f"the archive has no {path}")
    if error.code == 403 and "services" in error.message:
        return ArchiveError(
            "you may not reach the archive of logs: ask for the verb get on services/proxy"
            f" ({error.message})"
        )
    if error.code in (401, 403):
        return ArchiveError(
            f"the archive of logs refuses the token of the ConfigMap {CONFIG_MAP!r}: delete it, and"
            f" the operator makes it anew with the next log ({error.message})"
        )
    if error.code in (502, 503):
        return ArchiveError(f"the archive of logs does not answer: {error.message}")
    return error


class ArchiveReader:
    """See `reader.Reader`."""

    def __init__(self, archive: Archive, path: str, file: File) -> None:
        self._archive = archive
        self._path = path
        self._file = file
        self._lock = threading.Lock()
        self._stream: Stream | None = None
        self._stopped = False

    @property
    def key(self) -> str:
        return log_key(self._file.pod_uid, self._file.container)

    def pieces(self, span: Span) -> Generator[bytes]:
        """See `reader.Reader`; of `follow` nothing comes, since the log is over.

        Raises:
            ArchiveError: what the archive has is not what was put there.
        """
        start, drop = first_block(self._file.blocks, span)
        if start == len(self._file.blocks):
            return
        lines = _lines(self._plain(start))
        for line in _chosen(lines, drop, span.since):
            yield line if span.stamps else split(line)[1]

    def over(self) -> bool:
        return True

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            if self._stream is not None:
                self._stream.close()

    def _plain(self, start: int) -> Generator[bytes]:
        """The text from a block on; all of it is checked against its digest."""
        seen = sha256()
        with self._archive.open(self._path, self._file.blocks[start].stored) as stream:
            with self._lock:
                self._stream = stream
                if self._stopped:
                    stream.close()
            try:
                for piece in inflated(stream.chunks()):
                    seen.update(piece)
                    yield piece
            except zlib.error as error:
                raise ArchiveError(f"the archived log {self._path} is damaged: {error}") from error
        if start == 0 and seen.hexdigest() != self._file.sha256:
            raise ArchiveError(
                f"the archived log {self._path} is not what was archived: its sha256 is"
                f" {seen.hexdigest()}, and should be {self._file.sha256}"
            )


def inflated(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The text of gzip members that follow one another.

    Raises:
        zlib.error: it is no gzip, or a checksum does not fit.
        UnreachableError: it ends within a member.
    """
    member = zlib.decompressobj(31)
    begun = False
    for piece in pieces:
        data = piece
        while data:
            begun = True
            yield member.decompress(data)
            data = member.unused_data
            if member.eof:
                member, begun = zlib.decompressobj(31), False
    if begun:
        raise UnreachableError("the archived log broke off")


def first_block(blocks: tuple[Block, ...], span: Span) -> tuple[int, int]:
    """The block to begin with, and how many of its lines are not wanted for the sake of a tail."""
    start, drop = 0, 0
    if span.tail is not None:
        start, left = len(blocks), span.tail
        while start and left > 0:
            start -= 1
            left -= blocks[start].lines
        drop = max(-left, 0)
    if span.since is not None:
        while start + 1 < len(blocks) and not _reached(blocks[start + 1].first, span.since):
            start, drop = start + 1, 0
    return start, drop


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Each line with its line feed, where it has one."""
    return (line + b"\n" if ended else line for line, ended in whole_lines(pieces))


def _chosen(lines: Iterable[bytes], drop: int, since: str | None) -> Iterator[bytes]:
    begun = since is None
    for number, line in enumerate(lines):
        if since is not None and not begun:
            begun = _reached(split(line)[0], since)
        if begun and number >= drop:
            yield line


def _reached(stamp: str, since: str) -> bool:
    """Whether a timestamp is at that second or later; one that is not there is not."""
    if stamp.endswith("Z") and since.endswith("Z"):
        return stamp[:19] >= since[:19]
    if not stamp:
        return False
    try:
        return _instant(stamp) >= _instant(since)
    except ValueError:
        return False


def _instant(stamp: str) -> datetime:
    """The second; datetime knows no nanoseconds."""
    zone = "+00:00" if stamp.endswith("Z") else stamp[-6:]
    return datetime.fromisoformat(stamp[:19] + zone)


def parse(document: Mapping[str, Any]) -> Manifest:
    """Reads a manifest.

    Raises:
        ArchiveError: it is none, or of a version that is not known here.
    """
    try:
        if document["version"] != 1:
            raise ArchiveError(
                f"the archive's manifest has the version {document['version']}, which this program"
                " does not know: update it"
            )
        return Manifest(
            tuple(_file(each) for each in document["files"]), tuple(document.get("problems") or ())
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ArchiveError(f"the archive's manifest cannot be read: {error!r}") from error


def _file(each: Mapping[str, Any]) -> File:
    return File(
        name=each["name"],
        pod_uid=each["podUid"],
        container=each["container"],
        rank=each["rank"],
        role=each["role"],
        wide=each["wide"],
        init=each["init"],
        size=each["sizeBytes"],
        sha256=each["sha256"],
        blocks=tuple(Block(*block) for block in each["blocks"]),
        problem=each.get("problem") or "",
    )
