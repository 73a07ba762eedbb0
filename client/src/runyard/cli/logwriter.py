"""Writes the lines of several logs, so that they can be told apart."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TextIO

from runyard.cli.paint import ansi

_COLOURS: Final = ("cyan", "green", "yellow", "magenta", "blue", "red")

Write = Callable[[bytes], None]
"""Takes one line without its line feed."""


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

    def flush(self) -> None:
        """Lets the lines that were written be seen."""
        with self._lock:
            self._out.flush()

    def _write(self, head: str, line: bytes) -> None:
        with self._lock:
            self._out.write(f"{head}{line.decode('utf-8', 'replace')}\n")
