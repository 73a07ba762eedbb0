"""What the archive of an attempt holds: which containers, their names, the manifest. Pure.

Each log is one gzip file of several members. A member holds whole lines, about `BLOCK_BYTES` of
them, and the manifest says where each begins: so the end of a log is read without its beginning,
and the whole file is still what `zcat` reads. The text is the kubelet's own, with timestamps.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from runyard.logs import describe

BLOCK_BYTES: Final = 4 << 20
MANIFEST: Final = "manifest.json"
VERSION: Final = 1
MAX_PROBLEMS: Final = 64
MAX_MESSAGE: Final = 1024
_GZIP: Final = 31
_LEVEL: Final = 5
_MAX_NAME: Final = 110
_STAMP: Final = 40
"""No timestamp is longer, in bytes."""
LAST_BYTES: Final = 4096
"""So much of the last line is kept, by which a log is known to be complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An attempt whose logs are to be kept.

    Attributes:
        name, uid: of its unit.
        nodes: how many pods it should have had; None when that is not known.
    """

    namespace: str
    name: str
    uid: str
    attempt: int
    nodes: int | None = None

    @property
    def folder(self) -> str:
        """Where its files lie in the archive."""
        return f"{self.namespace}/{self.uid}/{self.attempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One container whose log is to be kept."""

    file: str
    pod: str
    pod_uid: str
    container: str
    rank: int
    role: str
    wide: bool
    init: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What became of a container's log. Sizes in bytes: of the text, and of the file.

    Attributes:
        sha256: of the text.
        first, last: timestamps of the first and the last line; empty when they have none.
        blocks: for each gzip member where it begins, its lines, and the time of the first one.
    """

    source: Source
    size: int = 0
    stored: int = 0
    sha256: str = ""
    lines: int = 0
    first: str = ""
    last: str = ""
    blocks: Sequence[tuple[int, int, str]] = ()
    truncated: bool = False
    problem: str = ""


def sources(pods: Sequence[Mapping[str, Any]]) -> list[Source]:
    """The containers that have run, of all pods, by role and rank; of the init containers those
    that failed."""
    found = []
    for pod in sorted(pods, key=lambda pod: (describe.place_of(pod), pod["metadata"]["name"])):
        name = pod["metadata"]["name"]
        for container, role, wide, init in describe.described(pod):
            if not describe.started(pod, container):
                continue
            found.append(
                Source(
                    file=file_name(name, container),
                    pod=name,
                    pod_uid=pod["metadata"]["uid"],
                    container=container,
                    rank=describe.rank_of(pod),
                    role=role,
                    wide=wide,
                    init=init,
                )
            )
    return found


def file_name(pod: str, container: str) -> str:
    """The name of a log's file; the same for the same container of the same pod."""
    name = f"{pod}.{container}"
    if len(name) > _MAX_NAME:
        name = f"{name[:_MAX_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return f"{name}.log.gz"


def missing(
    subject: Subject, known: Sequence[Mapping[str, Any]], there: Sequence[Mapping[str, Any]]
) -> list[str]:
    """What to say of pods that were gone before their logs were read.

    `known` are the pods that were seen while the attempt ran, `there` those that exist.
    """
    present = {each["metadata"]["uid"] for each in there}
    lost = sorted(
        each["metadata"]["name"] for each in known if each["metadata"]["uid"] not in present
    )
    said = [f"the pod {name} was gone before its log was read" for name in lost]
    count = len(lost) + len({(describe.place_of(each)) for each in there})
    if not there and not lost:
        said.append("the pods were gone before their logs were read")
    elif subject.nodes is not None and count < subject.nodes:
        absent = subject.nodes - count
        said.append(
            f"{absent} of {subject.nodes} pods were gone before their logs were read, or never made"
        )
    return said[:MAX_PROBLEMS]


def manifest(subject: Subject, kept: Sequence[Kept], problems: Sequence[str], made: str) -> bytes:
    """The manifest as it is stored; `made` is the time of archiving."""
    document = {
        "version": VERSION,
        "namespace": subject.namespace,
        "unit": subject.name,
        "uid": subject.uid,
        "attempt": subject.attempt,
        "archived": made,
        "problems": list(problems),
        "files": [
            {
                "name": each.source.file,
                "pod": each.source.pod,
                "podUid": each.source.pod_uid,
                "container": each.source.container,
                "rank": each.source.rank,
                "role": each.source.role,
                "wide": each.source.wide,
                "init": each.source.init,
                "sizeBytes": each.size,
                "storedBytes": each.stored,
                "sha256": each.sha256,
                "lines": each.lines,
                "firstTime": each.first,
                "lastTime": each.last,
                "truncated": each.truncated,
                "problem": each.problem,
                "blocks": [list(block) for block in each.blocks],
            }
            for each in kept
        ],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def message(kept: Sequence[Kept], problems: Sequence[str]) -> str | None:
    """What the unit's status says of the archive; None when it is whole."""
    said = [*problems, *(f"{each.source.file}: {each.problem}" for each in kept if each.problem)]
    return "; ".join(said)[:MAX_MESSAGE] or None


@dataclass(slots=True)
class Packer:
    """Compresses a log as it comes, in bounded memory, and counts what the manifest says of it."""

    block_bytes: int = BLOCK_BYTES
    size: int = 0
    stored: int = 0
    lines: int = 0
    first: str = ""
    last: str = ""
    blocks: list[tuple[int, int, str]] = field(default_factory=list)
    last_line: bytes = b""
    """The beginning of the last line."""
    _hash: Any = field(default_factory=hashlib.sha256)
    _member: Any = None
    _in_block: int = 0
    _begin: int = 0
    _lines: int = 0
    _first: str = ""
    _line: bytes = b""

    def feed(self, data: bytes) -> bytes:
        """Takes the next bytes of the text; what comes out belongs into the file."""
        self.size += len(data)
        self._hash.update(data)
        out = b""
        while data:
            end = len(data)
            if self._in_block + end > self.block_bytes:
                # The block ends with the line in which it becomes full.
                least = max(self.block_bytes - self._in_block - 1, 0)
                end = data.find(b"\n", least) + 1 or end
            out += self._add(data[:end])
            if self._in_block >= self.block_bytes and data[end - 1 : end] == b"\n":
                out += self._close()
            data = data[end:]
        return out

    def finish(self) -> bytes:
        """The end of the file."""
        if self._line:
            self._lines += 1
            self.last_line = self._line
        # An empty log has one empty member: no bytes at all would be no gzip file.
        out = b"" if self._member is not None or self.blocks else self._add(b"")
        out += self._close() if self._member is not None else b""
        self.last = stamp_of(self.last_line)
        return out

    @property
    def sha256(self) -> str:
        """Of the text so far, hexadecimal."""
        return str(self._hash.hexdigest())

    def _add(self, part: bytes) -> bytes:
        if self._member is None:
            self._member = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
            self._begin = self.stored
            self._first = ""
        self._note(part)
        self._in_block += len(part)
        out: bytes = self._member.compress(part)
        self.stored += len(out)
        return out

    def _note(self, part: bytes) -> None:
        """Counts lines, and keeps the beginnings of the first and the last one."""
        self._lines += part.count(b"\n")
        head, _, _ = (self._line + part[:_STAMP]).partition(b"\n")
        if not self._first:
            self._first = stamp_of(head)
        end = part.rfind(b"\n")
        if end < 0:
            self._line = (self._line + part[:LAST_BYTES])[:LAST_BYTES]
            return
        begin = part.rfind(b"\n", 0, end) + 1
        whole = part[begin : min(end, begin + LAST_BYTES)]
        self.last_line = whole if begin else (self._line + whole)[:LAST_BYTES]
        self._line = part[end + 1 : end + 1 + LAST_BYTES]

    def _close(self) -> bytes:
        out: bytes = self._member.flush()
        self.stored += len(out)
        self.blocks.append((self._begin, self._lines, self._first))
        self.lines += self._lines
        self.first = self.first or self._first
        self._member, self._in_block, self._lines = None, 0, 0
        return out


def stamp_of(line: bytes) -> str:
    """The timestamp that a line begins with; empty where it has none."""
    stamp, blank, _ = line[:_STAMP].partition(b" ")
    return stamp.decode("ascii", "replace") if blank and stamp[4:5] == b"-" else ""
