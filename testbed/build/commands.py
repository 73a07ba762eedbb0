"""Runs the commands of a build: logged, cancellable, and tried again when the network hiccups."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from testbed.build.errors import BuildCancelledError, BuildError

BACKOFF_SECONDS = (2.0, 8.0, 20.0)
_TAIL_LINES = 12
_GRACE_SECONDS = 10.0
_NETWORK = re.compile(
    r"dial tcp|i/o timeout|TLS handshake timeout|connection (refused|reset|timed out)|no such host"
    r"|unexpected EOF|temporary failure|could not resolve|failed to fetch|hash sum mismatch"
    r"|network is unreachable|read timed out|connecttimeout|newconnectionerror|protocolerror"
    r"|\b(429|500|502|503|504)\b.*(error|unavailable|gateway|timeout|too many|server)"
    r"|unable to (connect|fetch)|connection broken|remote end closed",
    re.IGNORECASE,
)


class Commands:
    """The running commands of one build, so that all of them can be stopped together."""

    def __init__(self, backoff: Sequence[float] = BACKOFF_SECONDS) -> None:
        """Make a group of commands; ``backoff`` holds the pauses in seconds between the tries."""
        self._backoff = tuple(backoff)
        self.cancelled = threading.Event()
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        log: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """Run a command to its end; a failure of the network is tried again a few times.

        Raises BuildError with the last lines of its output when it fails, BuildCancelledError when
        the build is stopped meanwhile.
        """
        for pause in (*self._backoff, None):
            code, tail = self._once([os.fspath(word) for word in argv], log, cwd, env, on_line)
            if self.cancelled.is_set():
                raise BuildCancelledError("the build was stopped; finished parts are kept")
            if code == 0:
                return
            hiccup = any(_NETWORK.search(line) for line in tail)
            if pause is None or not hiccup:
                tries = len(self._backoff) + 1 if hiccup else 0
                raise BuildError(_explain(argv, code, tail, log, tries))
            on_line(f"network trouble, trying again in {pause:.0f} s")
            self.cancelled.wait(pause)
        raise AssertionError("unreachable")

    def cancel(self) -> None:
        """Stop every running command, and let no other start."""
        self.cancelled.set()
        with self._lock:
            running = list(self._running)
        for process in running:
            _signal(process, signal.SIGTERM)
        for process in running:
            try:
                process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)

    def _once(
        self,
        argv: list[str],
        log: Path,
        cwd: Path | None,
        env: Mapping[str, str] | None,
        on_line: Callable[[str], None],
    ) -> tuple[int, list[str]]:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as sink:
            sink.write(f"$ {' '.join(argv)}\n")
            sink.flush()
            with self._lock:
                if self.cancelled.is_set():
                    return 1, []
                process = _start(argv, cwd, env)
                self._running.add(process)
            try:
                with process:
                    tail = _drain(process.stdout, sink, on_line)
                return process.returncode, tail
            finally:
                with self._lock:
                    self._running.discard(process)


def _start(
    argv: list[str], cwd: Path | None, env: Mapping[str, str] | None
) -> subprocess.Popen[str]:
    full = None if env is None else {**os.environ, **env}
    if shutil.which(argv[0], path=(full or os.environ).get("PATH")) is None:
        raise BuildError(f"cannot start {argv[0]}: it is not installed, or not on PATH")
    # If this program is killed, nobody is left to stop the command: let the kernel do it.
    guard = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
    return subprocess.Popen(
        [*guard, *argv],
        cwd=cwd,
        env=full,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def _drain(output: IO[str] | None, sink: IO[str], on_line: Callable[[str], None]) -> list[str]:
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    for line in output or ():
        sink.write(line)
        if text := line.strip():
            tail.append(text)
            on_line(text)
    return list(tail)


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _explain(
    argv: Sequence[str | os.PathLike[str]], code: int, tail: list[str], log: Path, tries: int
) -> str:
    said = "\n".join(f"    {line}" for line in tail)
    command = Path(argv[0]).name
    if any("No space left on device" in line for line in tail):
        free = shutil.disk_usage(log.parent).free // 10**9
        what = f"the disk is full ({free} GB free under {log.parent}): free some and run again"
    elif tries:
        what = (
            f"{command} cannot reach a package registry (tried {tries} times): "
            "check the network and the registry's settings, then run again; finished parts are kept"
        )
    elif code < 0:
        what = f"{command} was killed by signal {-code}; if memory ran out, free some and run again"
    else:
        what = f"{command} failed with exit code {code}"
    return f"{what}\n{said}\n  all output: {log}"
