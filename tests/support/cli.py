"""The command line for tests: the real program as a process."""

from __future__ import annotations

import os
import pty
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_SECONDS = 180


@dataclass(frozen=True, slots=True)
class Cli:
    """Runs `runyard` against one kubeconfig and namespace."""

    kubeconfig: Path
    namespace: str
    environ: dict[str, str] = field(default_factory=dict)

    def command(self, *args: str) -> list[str]:
        """The command line; the options about the cluster come last, as users may write them."""
        return [sys.executable, "-m", "runyard.cli.main", *args, "-n", self.namespace]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the program."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "TZ": "UTC", **self.environ}

    def run(self, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """The finished command, whatever its exit code."""
        return subprocess.run(
            self.command(*args),
            input=stdin,
            text=True,
            capture_output=True,
            env=self.environment,
            check=False,
            timeout=_SECONDS,
        )

    @contextmanager
    def start(self, *args: str) -> Iterator[Running]:
        """The command while it runs, its output read line by line."""
        process = subprocess.Popen(
            self.command(*args),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
        )
        running = Running(process)
        try:
            yield running
        finally:
            process.kill()
            process.wait()
            running.close()

    def on_terminal(self, *args: str, columns: int = 80, rows: int = 40) -> Terminal:
        """Starts the command on a terminal of its own."""
        master, slave = pty.openpty()
        environment = {**self.environment, "TERM": "xterm-256color"}
        environment.pop("NO_COLOR", None)
        size = {"COLUMNS": str(columns), "LINES": str(rows)}
        process = subprocess.Popen(
            self.command(*args),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**environment, **size},
            start_new_session=True,
        )
        os.close(slave)
        return Terminal(process, master)


class Running:
    """A process whose lines can be waited for."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.seen: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def wait_for(self, wanted: str | Callable[[str], bool]) -> str:
        """The first line from now on that contains the text, or that the test accepts."""
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"no line with {wanted!r} came; these did: {self.seen}")
            self.seen.append(line)
            if wanted in line if isinstance(wanted, str) else wanted(line):
                return line

    def finish(self) -> int:
        """The exit code, once the process has ended by itself."""
        code = self.process.wait(_SECONDS)
        self._thread.join(_SECONDS)
        while (line := self._lines.get(timeout=_SECONDS)) is not None:
            self.seen.append(line)
        return code

    def close(self) -> None:
        """Lets go of the pipe."""
        self._thread.join(_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Terminal:
    """A process on a pseudo terminal, and all that it has drawn."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self._master = master
        self._lock = threading.Condition()
        self._drawn = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError):  # EIO: the process has ended
            while chunk := os.read(self._master, 65536):
                with self._lock:
                    self._drawn += chunk
                    self._lock.notify_all()

    @property
    def drawn(self) -> str:
        """Everything so far, escape sequences included."""
        return self._drawn.decode("utf-8", "replace")

    def wait_for(self, text: str) -> None:
        """Waits until the text has been drawn."""
        with self._lock:
            if not self._lock.wait_for(lambda: text in self.drawn, _SECONDS):
                raise AssertionError(f"{text!r} was not drawn: {self.drawn!r}")

    def finish(self) -> int:
        """The exit code, once the process has ended by itself."""
        code = self.process.wait(_SECONDS)
        self._thread.join(_SECONDS)
        os.close(self._master)
        return code
