"""What every place that has logs can do: give the bytes of one, from a second or from near its end.

There are two: the pods (`pods.PodReader`) and the archive (`archive.ArchiveReader`). Both give the
very same lines, so a position in one is a position in the other.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Protocol

from runyard.kube.errors import KubeError


class GoneError(KubeError):
    """The log is not there any more."""


class NotYetError(KubeError):
    """The container has not started, so there is no log yet."""


@dataclass(frozen=True, slots=True)
class Span:
    """Which part of a log is asked for.

    Attributes:
        since: only lines from this second on (RFC 3339); None for all.
        tail: only so many of the last lines; None for all.
        follow: whether to wait for more at the end.
        stamps: whether each line begins with its time and a blank.
    """

    since: str | None = None
    tail: int | None = None
    follow: bool = False
    stamps: bool = False


class Reader(Protocol):
    """One container's log."""

    @property
    def key(self) -> str:
        """Names the container's log for good, wherever it is read."""
        ...

    def pieces(self, span: Span) -> Generator[bytes]:
        """The bytes of that part as they come; ends in the middle of a line only at the log's end.

        Raises:
            GoneError: there is no such log any more.
            NotYetError: there is none yet.
            UnreachableError: the connection broke; the same call may work a little later.
            KubeError: anything else.
        """
        ...

    def over(self) -> bool:
        """Whether nothing more will be written to it."""
        ...

    def stop(self) -> None:
        """Ends `pieces` from another thread."""
        ...


def whole_lines(pieces: Iterable[bytes]) -> Generator[tuple[bytes, bool]]:
    """Each line without its line feed, and whether it had one: the last one may lack it."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line, True
    if rest:
        yield rest, False


def split(line: bytes) -> tuple[str, bytes]:
    """The timestamp and the text of a line; the kubelet writes its own errors without one.

    A line that is longer than 16 KiB is kept in parts, each with its time: begun at a second, a log
    may begin with the later parts of a line, and those have no timestamp either.
    """
    stamp, separator, text = line.partition(b" ")
    if not separator or not stamp[:4].isdigit() or stamp[4:5] != b"-":
        return "", line
    return stamp.decode("ascii", "replace"), text
