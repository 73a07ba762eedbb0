"""Code that is pushed reaches the pods: by ConfigMaps, and by the chart's code store."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.cluster import Cluster
from tests.support.cli import Cli
from tests.support.experiments import EXPERIMENT, UNIT, experiment, finished, job
from tests.support.helm import CHART, helm
from tests.support.kubectl import Kubectl
from tests.support.waiting import eventually

pytestmark = pytest.mark.e2e

RELEASE = "bundles-test"
SUM = """
sha256sum weights.bin | cut -c1-64 > "$RUNYARD_OUTPUTS/sum"
bin/run > "$RUNYARD_OUTPUTS/said"
"""


@pytest.fixture
def installed(cluster: Cluster, kube: Kubectl) -> Iterator[None]:
    """The chart with its code store in the test's namespace, for this namespace only."""
    values = (
        "crds.enabled=false",
        "image.repository=testbed.local/operator",
        "image.tag=dev",
        f"watchNamespaces={{{kube.namespace}}}",
        "replicas=1",
        "bundleStore.enabled=true",
        "bundleStore.size=1Gi",
        "bundleStore.ownVolume=true",
    )
    command = ["upgrade", "--install", RELEASE, str(CHART), "--namespace", kube.namespace]
    command += ["--set", ",".join(values), "--wait", "--timeout", "4m"]
    done = helm(*command, kubeconfig=cluster.kubeconfig)
    assert done.returncode == 0, done.stderr + what_is_there(kube)
    yield
    kube.run("delete", f"{EXPERIMENT},{UNIT}", "--all", "--timeout=180s")
    helm("uninstall", RELEASE, "--namespace", kube.namespace, kubeconfig=cluster.kubeconfig)


def what_is_there(kube: Kubectl) -> str:
    """Pods, events, and the last words of operator and store."""
    selector = f"app.kubernetes.io/instance={RELEASE}"
    logs = kube.run("logs", "-l", selector, "--prefix", "--tail=40", check=False)
    return kube.run("get", "pods,events", "-o", "wide", check=False) + logs


@pytest.fixture
def ann(cluster: Cluster, kube: Kubectl, tmp_path: Path) -> Cli:
    """Somebody who may write experiments and ConfigMaps, and neither pods nor volumes."""
    verbs = "--verb=get,list,watch,create,patch,delete"
    kinds = "--resource=configmaps,experiments.runyard.dev,executionunits.runyard.dev"
    kube.run("create", "role", "writer", verbs, kinds)
    kube.run("create", "rolebinding", "ann", "--role=writer", "--user=ann")
    document = json.loads(cluster.kubeconfig.read_text())
    document["users"][0]["user"]["as"] = "ann"
    config = tmp_path / "kubeconfig"
    config.write_text(json.dumps(document))
    cli = Cli(config, kube.namespace, {"RUNYARD_STORE_NAMESPACE": kube.namespace})
    eventually(lambda: cli.run("code", "list").returncode == 0, "the right is known")
    return cli


def code(folder: Path, size: int) -> str:
    """Fills a folder with code of about so many bytes; the digest of most of it."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "speak.sh").write_text("#!/bin/sh\necho hello from the bundle\n")
    (folder / "bin" / "speak.sh").chmod(0o755)
    (folder / "bin" / "run").symlink_to("speak.sh")
    weights = random.Random(size).randbytes(size)
    (folder / "weights.bin").write_bytes(weights)
    return hashlib.sha256(weights).hexdigest()


def push(cli: Cli, folder: Path) -> dict[str, Any]:
    """The code source that the command prints."""
    started = time.monotonic()
    done = cli.run("code", "push", str(folder), "-o", "json")
    assert done.returncode == 0, done.stderr
    print(f"push took {time.monotonic() - started:.1f} s: {done.stderr.splitlines()[-1]}")
    source: dict[str, Any] = json.loads(done.stdout)["code"]
    return source


def outputs(kube: Kubectl, unit: str) -> dict[str, str]:
    """The outputs of a unit by name."""
    found = kube.get(UNIT, unit)
    assert found is not None
    return {each["name"]: each["value"] for each in found["status"]["outputs"]}


@pytest.mark.usefixtures("installed")
def test_pushed_code_runs_in_pods(ann: Cli, kube: Kubectl, tmp_path: Path) -> None:
    """2.5 MB by ConfigMaps and 40 MB by the store, by one who may touch neither pod nor volume."""
    wanted = [{"name": "sum"}, {"name": "said"}]
    digests = {}
    for name, size in (("small", 2_500_000), ("big", 40_000_000)):
        digests[name] = code(tmp_path / name, size)
        source = push(ann, tmp_path / name)
        assert push(ann, tmp_path / name) == source
        tasks = [job("first", SUM, outputs=wanted)]
        if name == "big":
            tasks.append(job("second", SUM, outputs=wanted))
        manifest = json.dumps(experiment(name, *tasks, code=source))
        done = ann.run("apply", "-f", "-", stdin=manifest)
        assert done.returncode == 0, done.stderr
    for name in digests:
        ended = finished(kube, name, more=lambda: what_is_there(kube))
        assert ended["status"]["phase"] == "Succeeded", what_is_there(kube)
    for unit in ("small-first", "big-first", "big-second"):
        expected = {"sum": digests[unit.split("-")[0]], "said": "hello from the bundle"}
        assert outputs(kube, unit) == expected
    listed = json.loads(ann.run("code", "list", "-o", "json").stdout)["items"]
    assert {(each["location"], each["owners"]) for each in listed} == {
        ("ConfigMaps", 1),
        ("Store", 1),
    }
    for name in digests:
        kube.run("delete", EXPERIMENT, name, "--timeout=180s")
    eventually(
        lambda: ann.run("code", "list").stdout == "", "the manifests go with their experiments"
    )
