"""Shows a build's progress: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from testbed.build.schedule import Event

_LIVE_SECONDS = 0.2
_PLAIN_SECONDS = 20.0
_WORTH_TELLING_SECONDS = 1.0
_SLOWEST = 12


class Progress:
    """Takes the events of a build, from any thread, and writes what a person wants to see.

    A part that is done gets a line of its own. In between a terminal shows one line that changes;
    elsewhere a line tells every 20 seconds what is going on.
    """

    def __init__(
        self, stream: TextIO = sys.stderr, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._live = stream.isatty()
        self._lock = threading.Lock()
        self._began = clock()
        self._written = self._began
        self._running: dict[str, tuple[str, float]] = {}
        self._spent: dict[str, float] = {}
        self._together: dict[str, list[str]] = {}

    def __call__(self, event: Event) -> None:
        """Take one event."""
        with self._lock:
            if event.state == "running":
                self._running[event.name] = (event.detail, self._clock() - event.seconds)
                self._show(event)
            elif event.state in ("done", "failed"):
                self._running.pop(event.name, None)
                self._finish(event)

    def summary(self) -> str:
        """Return where the time went: a table of what took longest, empty when nothing did."""
        with self._lock:
            rows = sorted(self._spent.items(), key=lambda item: -item[1])[:_SLOWEST]
            if not rows:
                return ""
            lines = [f"where the time went ({_span(self._clock() - self._began)} in all):"]
            for name, seconds in rows:
                names = ", ".join([name, *self._together.get(name, [])])
                lines.append(f"  {_span(seconds):>7}  {names}")
            return "\n".join(lines)

    def close(self) -> None:
        """Wipe the live line and say where the time went."""
        text = self.summary()
        with self._lock:
            self._wipe()
            if text:
                self._stream.write(f"{text}\n")
            self._stream.flush()

    def _finish(self, event: Event) -> None:
        if event.state == "failed":
            self._line(f"{_count(event)} {event.name}: failed: {event.detail.splitlines()[0]}")
        elif event.detail.startswith("together with "):
            first = event.detail.removeprefix("together with ")
            self._together.setdefault(first, []).append(event.name)
        elif event.seconds >= _WORTH_TELLING_SECONDS:
            self._spent[event.name] = event.seconds
            self._line(f"{_count(event)} {event.name}: done in {_span(event.seconds)}")

    def _show(self, event: Event) -> None:
        now = self._clock()
        if now - self._written < (_LIVE_SECONDS if self._live else _PLAIN_SECONDS):
            return
        self._written = now
        doing = [
            f"{name} {_span(now - since)}{f' ({detail})' if detail else ''}"
            for name, (detail, since) in self._running.items()
        ]
        text = f"{_count(event)} building {'; '.join(doing)}"
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r\x1b[K{text[:width]}")
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()

    def _line(self, text: str) -> None:
        self._wipe()
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def _wipe(self) -> None:
        if self._live:
            self._stream.write("\r\x1b[K")


def _count(event: Event) -> str:
    return f"[{event.finished}/{event.total}]"


def _span(seconds: float) -> str:
    """Return a time for people.

    >>> _span(75.2)
    '1m15s'
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
