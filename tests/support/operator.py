"""The real operator as a process of the test, to be killed at will."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from tests.support.waiting import eventually


def free_port() -> int:
    """A TCP port on loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class OperatorProcess:
    """`runyard-operator` with a kubeconfig; it watches the given namespaces only."""

    def __init__(self, kubeconfig: Path, log: Path, *, namespaces: tuple[str, ...] = ()) -> None:
        self._kubeconfig = kubeconfig
        self._namespaces = namespaces
        self._process: subprocess.Popen[bytes] | None = None
        self.module = "runyard_operator.main"
        self.more: tuple[str, ...] = ()
        self.log = log
        self.port = free_port()

    def start(self, *, wait_ready: bool = True) -> None:
        """Starts the process; with `wait_ready`, returns once its cache is filled."""
        command = [sys.executable, "-m", self.module, *self.more]
        command += ["--http-host", "127.0.0.1", "--http-port", str(self.port)]
        for namespace in self._namespaces:
            command += ["--namespace", namespace]
        environment = {
            **os.environ,
            "KUBECONFIG": str(self._kubeconfig),
            "RUNYARD_IMAGE": "testbed.local/operator:dev",
        }
        with self.log.open("ab") as sink:
            self._process = subprocess.Popen(command, env=environment, stdout=sink, stderr=sink)
        if wait_ready:
            eventually(self.ready, "the operator is ready", explain=self.tail)

    def ensure(self) -> None:
        """Starts it again unless it runs."""
        if self._process is None or self._process.poll() is not None:
            self.start()

    def ready(self) -> bool:
        """Whether /readyz says so."""
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"the operator ended by itself:\n{self.tail()}")
        return self._get("/readyz") is not None

    def leading(self) -> bool:
        """Whether it says that it is the one that works."""
        return "\nrunyard_leader 1.0\n" in self.metrics()

    def metrics(self) -> str:
        """The text of /metrics."""
        return self._get("/metrics") or ""

    def _get(self, path: str) -> str | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                text: str = answer.read().decode()
                return text
        except (urllib.error.URLError, OSError):
            return None

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process, and does not wait for what comes of it."""
        if self._process is None:
            raise AssertionError("the operator was not started")
        self._process.send_signal(number)

    def ended(self) -> int:
        """The exit code of a process that ends by itself."""
        if self._process is None:
            raise AssertionError("the operator was not started")
        code = self._process.wait(timeout=180)
        self._process = None
        return code

    def kill(self) -> None:
        """SIGKILL: nothing is cleaned up."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        code = self._process.wait(timeout=60)
        self._process = None
        return code

    def tail(self, lines: int = 40) -> str:
        """The last lines of its log."""
        if not self.log.exists():
            return ""
        return "\n".join(
            self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
        )
