"""Reads one log from a place on, and follows it through broken connections: no line twice or lost.

Lines come without timestamps unless those are wanted, since they make a log a third longer. So
when a connection breaks, the second from which to go on is not known from the lines themselves:
it is the last one that was looked up, with the number of lines since.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from runyard.kube.errors import ApiError, KubeError, UnreachableError
from runyard.logs.position import Position, digest, second
from runyard.logs.reader import GoneError, NotYetError, Reader, Span, split, whole_lines

_RETRY_SECONDS: Final = 1.0
_KNOWN_BY: Final = 8
"""So many lines before a place tell it from others."""
_FAR: Final = 1 << 22
_FAR_FOR_SILENT: Final = 1 << 16
"""Bytes since the second of a position, from which on a later second is looked for: while lines
come, and when none has come for so long that the connection is made anew."""
_PAUSE: Final = 1.0
"""Seconds without a line, after which all that the log has is known to have been read."""
_NEAR: Final = 50
"""Lines among which the last one that was read is looked for then."""
_PATIENCE: Final = 3
"""How often a log may come shorter than it was before that is believed."""

Write = Callable[[bytes], None]
"""Takes one line without its line feed."""


class End(Enum):
    """Why reading ended."""

    OVER = auto()
    """All is read, and no more will come; or more was not wanted."""
    GONE = auto()
    """The pod went before all was read."""
    STOPPED = auto()


@dataclass(frozen=True, slots=True)
class Options:
    """Which lines of a log, and how they look.

    Attributes:
        tail: only so many of the last lines.
        since: only those from this second on (RFC 3339).
        timestamps: whether each begins with its time.
    """

    tail: int | None = None
    since: str | None = None
    timestamps: bool = False


class _Moved(Exception):  # noqa: N818 - neither leaves this module
    """The lines before the place are not those that were there."""


class _Short(Exception):  # noqa: N818
    """The log ended before the place."""


class Tail:
    """Reads a log to its end, once or while it grows.

    Args:
        write: gets the lines.
        place: where to begin; then `options.tail` and `options.since` mean nothing.
        flush: is called when no more lines are at hand.
        keep: is told the place after each bundle of lines was written and flushed.
        note: is told what users must know.
    """

    def __init__(
        self,
        reader: Reader,
        options: Options,
        write: Write,
        *,
        place: Position | None = None,
        flush: Callable[[], None] = lambda: None,
        keep: Callable[[Position], None] | None = None,
        note: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._options = options
        self.written = 0
        """The lines written so far."""
        self._write = write
        self._flush = flush
        self._keep = keep
        self._note = note
        self._clock = clock
        self._since, self._lines, self._last = _parts(place or Position(options.since))
        self._recent: deque[bytes] = deque(maxlen=_KNOWN_BY)
        self._latest: deque[bytes] = deque(maxlen=_NEAR)
        self._whole = place is not None or options.tail is None
        self._read_bytes = 0
        self._skip = 0
        self._short = 0
        self._lost = False
        self._stopped = threading.Event()

    @property
    def place(self) -> Position:
        """Behind the last whole line that was written."""
        return Position(self._since, self._lines, self._last)

    def stop(self) -> None:
        """Ends `run` from another thread."""
        self._stopped.set()
        self._reader.stop()

    def elsewhere(self, reader: Reader) -> Tail:
        """One that goes on where this one is, in the same log at another place."""
        return Tail(
            reader,
            self._options,
            self._write,
            place=self.place,
            flush=self._flush,
            keep=self._keep,
            note=self._note,
            clock=self._clock,
        )

    def run(self, *, follow: bool) -> End:
        """Writes the lines; with `follow`, until no more will come.

        Raises:
            KubeError: the log cannot be read; with `follow`, only what waiting cannot mend.
        """
        complete: bool | None = None if follow else True
        while not self._stopped.is_set():
            try:
                if complete is None:
                    # What is complete already comes in big pieces, and not line by line.
                    complete = self._reader.over()
                if self._lost:
                    self._find_again()
                found = self._pass(complete=complete)
                if found:
                    return End.OVER
                complete = found is not None
                if complete:
                    continue
            except (_Moved, _Short) as wrong:
                self._doubt(wrong)
            except GoneError:
                return End.GONE
            except KubeError as error:
                if self._is_end(error, follow=follow):
                    return End.OVER
            self._stopped.wait(_RETRY_SECONDS)
        return End.STOPPED

    def _pass(self, *, complete: bool) -> bool | None:
        """One reading; whether all that there is was read, or None when more may come."""
        self._read(follow=not complete)
        if complete:
            return True
        # A server that shuts down ends streams early, too: once the pod has ended, what may be left
        # is read in one more go.
        return self._has_all() if self._reader.over() else None

    def _has_all(self) -> bool:
        """Whether an ended log ends with what was written last; False is no answer.

        To begin again at the second of the place may be to read everything again: a program can
        write a hundred MB in it.
        """
        latest = list(self._latest)
        if not latest or latest.count(latest[-1]) > 1:
            return False
        span = Span(None, _NEAR)
        return [line for line, _ in whole_lines(self._reader.pieces(span))] == latest

    def _doubt(self, wrong: _Moved | _Short) -> None:
        self._short += 1
        self._lost = isinstance(wrong, _Moved) or self._short >= _PATIENCE

    def _is_end(self, error: KubeError, *, follow: bool) -> bool:
        """Whether nothing will come after this error; raises it if waiting cannot mend it."""
        if isinstance(error, NotYetError):
            # A pod that ends before its container starts has no log.
            return not follow or self._reader.over()
        refused = isinstance(error, ApiError) and error.code < 500 and error.code != 429
        if not follow or refused or not isinstance(error, ApiError | UnreachableError):
            raise error
        return False

    def _read(self, *, follow: bool) -> None:
        if not self._whole:
            self._read_tail(follow=follow)
            self._whole = True
            if not follow:
                return
        self._skip, self._recent = self._lines, deque(maxlen=_KNOWN_BY)
        span = Span(self._since, follow=follow, stamps=self._options.timestamps)
        self._read_bytes = 0
        with closing(self._told(span)) as lines:
            for line, ended in lines:
                if self._skip:
                    self._skip -= 1
                    self._recent.append(self._text(line))
                    if not self._skip and digest(self._recent) != self._last:
                        raise _Moved
                elif ended or not follow:
                    self._take(line, counted=ended or self._reader.over())
        if self._skip:
            raise _Short
        self._short = 0
        self._tell()

    def _told(self, span: Span) -> Generator[tuple[bytes, bool]]:
        """The lines; at the end of each piece that came, the place is told."""
        before = self._clock()

        def silent() -> bool:
            return span.follow and self._clock() - before > _PAUSE

        def watched() -> Generator[bytes]:
            nonlocal before
            try:
                with closing(self._reader.pieces(span)) as pieces:
                    for piece in pieces:
                        if silent() and self._read_bytes > _FAR:
                            self._come_nearer(piece.count(b"\n"))
                        yield piece
                        self._read_bytes += len(piece)
                        self._tell()
                        before = self._clock()
            except UnreachableError:
                if silent() and self._read_bytes > _FAR_FOR_SILENT:
                    self._come_nearer(0)
                raise

        return whole_lines(watched())

    def _take(self, line: bytes, *, counted: bool) -> None:
        self._write(line)
        self.written += 1
        self._latest.append(self._text(line))
        if counted:
            self._lines += 1
            self._recent.append(self._text(line))

    def _tell(self) -> None:
        self._flush()
        if self._skip:
            return
        if self._recent:
            self._last = digest(self._recent)
        if self._keep is not None:
            self._keep(self.place)

    def _text(self, line: bytes) -> bytes:
        return split(line)[1] if self._options.timestamps else line

    def _read_tail(self, *, follow: bool) -> None:
        """Writes the last lines, and finds the place behind them where more may follow."""
        wanted = self._options.tail or 0
        go_on = follow or self._keep is not None
        shown = self._options.timestamps
        if not (wanted or go_on):
            return
        span = Span(self._options.since, max(wanted, 1), stamps=go_on or shown)
        last = b""
        for line, ended in whole_lines(self._reader.pieces(span)):
            last = line if ended else last
            if wanted and (ended or not follow):
                self._write(line if shown or not go_on else split(line)[1])
        if go_on and last:
            self._go_behind(last)
        self._tell()

    def _go_behind(self, stamped: bytes) -> bool:
        """Makes the place that behind a line given with its timestamp; False if it is not there."""
        stamp, _ = split(stamped)
        if not stamp:
            return False
        recent: deque[bytes] = deque(maxlen=_KNOWN_BY)
        span = Span(second(stamp), stamps=True)
        with closing(whole_lines(self._reader.pieces(span))) as lines:
            for number, (line, _) in enumerate(lines, start=1):
                recent.append(split(line)[1])
                if line == stamped:
                    self._since, self._lines, self._recent = span.since, number, recent
                    self._last = digest(recent)
                    return True
        return False

    def _come_nearer(self, more: int) -> None:
        """Looks up the second of the last line, after a silence; `more` lines have come since.

        After a silence the last line is near the end of the log. Where there are several like it,
        together with those before it, nothing is concluded.
        """
        if self._skip or len(self._recent) < _KNOWN_BY:
            return
        last = list(self._recent)
        try:
            span = Span(None, more + _NEAR, stamps=True)
            found = [line for line, _ in whole_lines(self._reader.pieces(span))]
            texts = [split(line)[1] for line in found]
            ends = range(_KNOWN_BY, len(found) + 1)
            places = [end for end in ends if texts[end - _KNOWN_BY : end] == last]
            if len(places) == 1 and self._go_behind(found[places[0] - 1]):
                self._read_bytes = 0
        except KubeError:
            return  # the old place is as right as the new one would be

    def _find_again(self) -> None:
        """Where the kubelet has rotated the log, counting leads astray: looks for the lines."""
        self._short, self._lost = 0, False
        recent: deque[bytes] = deque(maxlen=_KNOWN_BY)
        span = Span(self._since)
        with closing(whole_lines(self._reader.pieces(span))) as lines:
            for number, (line, _) in enumerate(lines, start=1):
                recent.append(line)
                if digest(recent) == self._last:
                    self._lines, self._recent = number, recent
                    return
        self._lines, self._last, self._recent = 0, "", deque(maxlen=_KNOWN_BY)
        self._note(
            "the node has thrown away the lines that came next, or changed those before: some are"
            " missing here (the kubelet keeps containerLogMaxSize of a log)"
        )


def _parts(place: Position) -> tuple[str | None, int, str]:
    return place.since, place.lines, place.last
