"""The code store as a process of the test, behind a Service of a real API server."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.helm import NAMESPACE, of_kind, render
from tests.support.kubectl import Kubectl
from tests.support.operator import free_port
from tests.support.waiting import eventually


def own_address() -> str:
    """An address of this machine that is not loopback: the API server proxies to no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("10.255.255.255", 1))  # nothing is sent
        address: str = probe.getsockname()[0]
        return address


class StoreProcess:
    """`python -m runyard_operator.storage` over a folder."""

    def __init__(self, kubeconfig: Path, folder: Path, *options: str) -> None:
        self._options = options
        self._kubeconfig = kubeconfig
        self._process: subprocess.Popen[bytes] | None = None
        self.data = folder / "data"
        self.log = folder / "store.log"
        self.key_file = folder / "key"
        self.key = secrets.token_hex(32).encode()
        self.key_file.write_bytes(self.key + b"\n")
        self.host, self.port = own_address(), free_port()

    @property
    def url(self) -> str:
        """Where pods would reach it."""
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Starts it and waits until it answers."""
        command = [sys.executable, "-m", "runyard_operator.storage", "--data", str(self.data)]
        command += ["--host", self.host, "--port", str(self.port), "--log-format", "text"]
        command += ["--key-file", str(self.key_file), "--kubeconfig", str(self._kubeconfig)]
        with self.log.open("ab") as sink:
            self._process = subprocess.Popen(
                [*command, *self._options], stdout=sink, stderr=sink, env={**os.environ}
            )
        eventually(self.answers, "the store answers", explain=self.log.read_text)

    def answers(self) -> bool:
        """Whether it is ready."""
        try:
            return self.get("/readyz") == "ok\n"
        except OSError:
            return False

    def get(self, path: str) -> str:
        """The text at a path."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:  # noqa: S310
            text: str = answer.read().decode()
            return text

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """One request without the API server; `_` in names of headers stands for `-`.

        Returns the HTTP status, the content and the headers.
        """
        request = urllib.request.Request(  # noqa: S310 - to ourselves
            f"{self.url}{path}", data=body, method=method
        )
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return answer.status, answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), dict(error.headers)

    def count(self, metric: str) -> float:
        """The value of a line of /metrics; 0 when there is none."""
        for line in self.get("/metrics").splitlines():
            name, _, value = line.rpartition(" ")
            if name == metric:
                return float(value)
        return 0.0

    def files(self) -> list[str]:
        """All that lies in its folder."""
        return sorted(
            each.relative_to(self.data).as_posix()
            for each in self.data.rglob("*")
            if each.is_file()
        )

    def send(self, number: signal.Signals) -> None:
        """Sends a signal and does not wait."""
        assert self._process is not None
        self._process.send_signal(number)

    def ended(self) -> int:
        """The exit code of a process that was told to end."""
        assert self._process is not None
        return self._process.wait(60)

    def stop(self) -> None:
        """Ends it if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _service(kube: Kubectl, host: str, port: int) -> None:
    """A Service that leads to an address of this machine.

    The API server proxies only to addresses that a Pod has: one that nobody runs.
    """
    head = {"name": "runyard-store", "namespace": kube.namespace}
    container = {"name": "store", "image": "none"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": head, "spec": {"containers": [container]}}
    kube.apply(pod)
    status = {"phase": "Running", "podIP": host, "podIPs": [{"ip": host}]}
    kube.run(
        *("patch", "pod", "runyard-store", "--subresource=status", "--type=merge"),
        *("-p", json.dumps({"status": status})),
    )
    target = {"kind": "Pod", "name": "runyard-store", "namespace": kube.namespace}
    addresses = [{"ip": host, "targetRef": target}]
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": head,
            "spec": {"ports": [{"name": "http", "port": 8080, "targetPort": port}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": head,
            "subsets": [{"addresses": addresses, "ports": [{"name": "http", "port": port}]}],
        },
    )


def users_rights(namespace: str) -> list[dict[str, Any]]:
    """What the chart gives those who push, in a namespace of the test's."""
    chosen = []
    for kind in ("Role", "RoleBinding"):
        for each in of_kind(render("--set", "bundleStore.enabled=true"), kind):
            if each["metadata"]["name"] == "runyard-store-users":
                text = json.dumps(each).replace(f'"{NAMESPACE}"', f'"{namespace}"')
                chosen.append(json.loads(text))
    assert len(chosen) == 2
    return chosen


@contextmanager
def store_behind(kube: Kubectl, folder: Path, *options: str) -> Iterator[StoreProcess]:
    """A store whose Service is in the namespace of `kube`."""
    process = StoreProcess(kube.kubeconfig, folder, *options)
    _service(kube, process.host, process.port)
    kube.apply(*users_rights(kube.namespace))
    process.start()
    try:
        yield process
    finally:
        process.stop()
        print(process.log.read_text()[-4000:])
