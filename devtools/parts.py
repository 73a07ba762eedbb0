"""The parts of the testbed, built in the background while tests that need none of them run."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

from devtools.common import DevError, say
from devtools.environment import VENV
from testbed import build
from testbed.build.progress import Progress

LOG = VENV / "testbed-build.log"
_NICE = 10

Start = Callable[[Sequence[str], Callable[[build.Event], None]], build.Build]


class _Sink(io.TextIOBase):
    """Takes the lines of the build: into a file, and onto the terminal while it is waited for."""

    def __init__(self, log: TextIO) -> None:
        self._log = log
        self.shown = threading.Event()

    def write(self, text: str) -> int:
        self._log.write(text)
        self._log.flush()
        if self.shown.is_set():
            sys.stderr.write(text)
            sys.stderr.flush()
        return len(text)


class Parts:
    """A running build of some parts; leaving the block early stops it, what is finished is kept."""

    def __init__(self, names: Sequence[str], log: Path = LOG, start: Start = build.start) -> None:
        """Starts it.

        Raises:
            DevError: there is too little disk.
        """
        self._log = log.open("w", encoding="utf-8")
        self._sink = _Sink(self._log)
        self._progress = Progress(self._sink)  # type: ignore[arg-type]  # all that it uses is there
        try:
            # Threads and processes inherit the low priority of the thread that starts them, so the
            # tests that run meanwhile come first.
            with ThreadPoolExecutor(1, initializer=_yield_to_others) as pool:
                self._build = pool.submit(start, names, self._progress).result()
        except build.BuildError as error:
            self._log.close()
            raise DevError(str(error)) from error

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *_: object) -> None:
        self._build.cancel()
        self._progress.close()
        self._log.close()

    def wait(self, *names: str) -> None:
        """Returns once these parts are there; the build's own progress is shown until then.

        Raises:
            DevError: one of them cannot be built.
        """
        if not self._build.done():
            say(f"waiting for the parts of the testbed (all of the log: {self._log.name})")
        self._sink.shown.set()
        try:
            self._build.wait(*names)
        except build.BuildError as error:
            raise DevError(f"the testbed cannot be built: {error}") from error
        finally:
            self._sink.shown.clear()


def _yield_to_others() -> None:
    # On Linux this is of the calling thread alone; see nice(2), "C library/kernel differences".
    os.nice(_NICE)
