"""A log in memory that answers as the kubelet does, and breaks off when it is told to."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from runyard.kube.errors import UnreachableError
from runyard.logs.reader import Span

Line = tuple[int, str]
"""Nanoseconds since the log began, and the text."""


def stamp(nanoseconds: int) -> str:
    """The kubelet's timestamp."""
    whole, rest = divmod(nanoseconds, 10**9)
    minutes, seconds = divmod(whole, 60)
    fraction = f".{rest:09}".rstrip("0").rstrip(".")
    return f"2026-03-01T12:{minutes:02}:{seconds:02}{fraction}Z"


def stamped(line: Line) -> bytes:
    """The line as the kubelet gives it with `timestamps`."""
    return f"{stamp(line[0])} {line[1]}\n".encode()


@dataclass
class MemoryReader:
    """Serves the first `grown` lines, a few more after each call that follows.

    Attributes:
        breaks: after how many bytes each call that follows breaks off; None is never.
        growth: how many lines each call finds more than the one before.
    """

    lines: Sequence[Line]
    grown: int
    breaks: list[int | None] = field(default_factory=list)
    growth: int = 1
    size: int = 64
    spans: list[Span] = field(default_factory=list)
    sent: int = 0

    @property
    def key(self) -> str:
        return "uid/main"

    def pieces(self, span: Span) -> Generator[bytes]:
        self.spans.append(span)
        cut = self.breaks.pop(0) if span.follow and self.breaks else None
        text = self.text(span)
        end = len(text) if cut is None else min(cut, len(text))
        for at in range(0, end, self.size):
            piece = text[at : min(at + self.size, end)]
            self.sent += len(piece)
            yield piece
        if span.follow:
            self.grown = min(self.grown + self.growth, len(self.lines))
        if cut is not None:
            raise UnreachableError("cut")

    def text(self, span: Span) -> bytes:
        """What the kubelet would send now."""
        found = list(self.lines[: self.grown])
        if span.tail is not None:
            found = found[max(0, len(found) - span.tail) :]
        if span.since is not None:
            since = span.since[:19]
            found = [each for each in found if stamp(each[0])[:19] >= since]
        if span.stamps:
            return b"".join(stamped(each) for each in found)
        return b"".join(f"{text}\n".encode() for _, text in found)

    def over(self) -> bool:
        return self.grown == len(self.lines)

    def stop(self) -> None:
        return None
