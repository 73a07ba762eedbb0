"""Small valid objects of each kind, and the CRDs on a cluster, for tests of the schemas."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from testbed.cluster import Cluster
from tests.support.kubectl import Kubectl
from tests.support.waiting import eventually

CRDS = Path(__file__).parents[2] / "crds"
API = "runyard.dev/v1alpha1"

Manifest = dict[str, Any]


def install(kubectl: Kubectl) -> None:
    """Installs or updates the CRDs of this checkout and waits until they are served.

    Raises:
        AssertionError: the API server refuses a CRD, warns of one, or does not serve it.
    """
    strict = ("--validate=strict", "--warnings-as-errors")
    kubectl.run("apply", "--server-side", "--force-conflicts", *strict, "-f", str(CRDS))
    wait_served(kubectl)


_installed: dict[Path, str] = {}
"""By kubeconfig: the digest of the CRDs that this process has installed there."""


def ensure(kubectl: Kubectl) -> None:
    """Installs the CRDs unless this process has done so already, and nobody deleted them since.

    A look costs a tenth of an installation that changes nothing.
    """
    files = sorted(CRDS.glob("*.yaml"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    names = [".".join(reversed(path.stem.split("_"))) for path in files]
    if (
        _installed.get(kubectl.kubeconfig) != digest
        or kubectl.result("get", "crd", "-o", "name", *names).returncode != 0
    ):
        install(kubectl)
        _installed[kubectl.kubeconfig] = digest


def wait_served(kubectl: Kubectl) -> None:
    """Waits until the CRDs are served, whoever has installed them."""
    # kubectl stumbles over a CRD that was made a moment ago and has no conditions at all yet.
    served = ("wait", "--for=condition=Established", "--timeout=60s", "-f", str(CRDS))
    eventually(lambda: kubectl.result(*served).returncode == 0, "the CRDs are served")


@contextmanager
def installed(cluster: Cluster) -> Iterator[Kubectl]:
    """Kubectl in a namespace of its own on a cluster with the CRDs of this checkout.

    Raises:
        AssertionError: the API server refuses a CRD, warns of one, or does not serve it.
    """
    with cluster.fresh_namespace(wait=False) as namespace:
        kubectl = Kubectl(cluster.home.root / "bin" / "kubectl", cluster.kubeconfig, namespace)
        install(kubectl)
        yield kubectl


def task(name: str = "a", **more: Any) -> Manifest:
    """A task that is as it should be."""
    script, executor = {"inline": "true"}, {"job": {"image": "img"}}
    return {"name": name, "script": script, "executor": executor, **more}


def experiment(*tasks: Manifest, name: str = "exp", **spec: Any) -> Manifest:
    """An experiment of these tasks, or of a good one."""
    return {
        "apiVersion": API,
        "kind": "Experiment",
        "metadata": {"name": name},
        "spec": {"tasks": list(tasks) or [task()], **spec},
    }


def unit(name: str = "unit", **spec: Any) -> Manifest:
    """A unit that is as it should be."""
    work = {"script": {"inline": "true"}, "executor": {"job": {"image": "img"}}}
    return {
        "apiVersion": API,
        "kind": "ExecutionUnit",
        "metadata": {"name": name},
        "spec": {**work, **spec},
    }


def job(**fields: Any) -> Manifest:
    """An executor block."""
    return {"job": {"image": "img", **fields}}


def check_change(api: Kubectl, before: Manifest, change: Manifest, message: str | None) -> None:
    """Creates an object, patches its spec, and compares what the API server says."""
    kind, name = before["kind"], before["metadata"]["name"]
    api.run("create", "-f", "-", stdin=json.dumps(before))
    try:
        patch = json.dumps({"spec": change})
        done = api.result("patch", f"{kind}.runyard.dev", name, "--type=merge", "-p", patch)
        if message is None:
            assert done.returncode == 0, done.stderr
        else:
            assert done.returncode != 0
            assert message in done.stderr
    finally:
        api.run("delete", f"{kind}.runyard.dev", name)


def rules() -> Iterator[tuple[str, str]]:
    """The expression and the message of every CEL rule in the CRDs."""
    for path in CRDS.glob("*.yaml"):
        yield from _rules(yaml.safe_load(path.read_text()))


def _rules(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for each in node.get("x-kubernetes-validations", []):
            yield each["rule"], each["message"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _rules(child)
