"""The code store as a pod of the test's namespace: the API server's proxy leads to pods only."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.kubectl import Kubectl
from tests.support.waiting import eventually

_NAME = "runyard-store"
_IMAGE = "testbed.local/operator:dev"


@dataclass(frozen=True, slots=True)
class StorePod:
    """A store that answers.

    Attributes:
        settings: what the operator must be told of it, as flags.
    """

    kube: Kubectl
    settings: tuple[str, ...]

    def log(self) -> str:
        """What it has said."""
        return self.kube.run("logs", _NAME, "--tail=60", check=False)


@contextmanager
def store_pod(
    kube: Kubectl, folder: Path, environ: Mapping[str, str] | None = None
) -> Iterator[StorePod]:
    """Serves while the block lasts; `environ` adds to its environment."""
    key = folder / "store.key"
    key.write_text(secrets.token_hex(32), encoding="utf-8")
    kube.run("create", "secret", "generic", _NAME, f"--from-file=key={key}")
    kube.apply(_service(), _pod(kube.namespace, environ or {}))
    address = kube.run("get", "service", _NAME, "-o", "jsonpath={.spec.clusterIP}")
    store = StorePod(
        kube,
        (
            *("--operator-namespace", kube.namespace),
            *("--store-url", f"http://{address}:8080"),
            *("--store-key-file", str(key)),
        ),
    )
    path = f"/api/v1/namespaces/{kube.namespace}/services/{_NAME}:http/proxy/readyz"
    eventually(
        lambda: kube.result("get", "--raw", path).stdout == "ok\n",
        "the store is reached through the API server",
        explain=lambda: kube.run("describe", "pod", _NAME, check=False) + store.log(),
    )
    yield store


def _service() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": _NAME},
        "spec": {
            "selector": {"app": _NAME},
            "ports": [{"name": "http", "port": 8080, "targetPort": 8080}],
        },
    }


def _pod(namespace: str, environ: Mapping[str, str]) -> dict[str, Any]:
    mounts = {"data": "/var/lib/runyard", "key": "/etc/runyard-store"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": _NAME, "labels": {"app": _NAME}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            # Else the Service's own name would make variables that the store takes for settings.
            "enableServiceLinks": False,
            "securityContext": {"fsGroup": 65532},
            "containers": [
                {
                    "name": "store",
                    "image": _IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-m", "runyard_operator.storage"],
                    "args": [
                        *("--namespaces", namespace, "--log-format", "text"),
                        *("--key-file", "/etc/runyard-store/key"),
                    ],
                    "env": [{"name": name, "value": value} for name, value in environ.items()],
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "volumeMounts": [
                        {"name": name, "mountPath": path} for name, path in mounts.items()
                    ],
                }
            ],
            "volumes": [
                {"name": "data", "emptyDir": {}},
                {"name": "key", "secret": {"secretName": _NAME}},
            ],
        },
    }
