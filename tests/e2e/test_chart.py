"""The operator from its own image, installed by the chart with the chart's rights."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.cluster import Cluster
from tests.support import audit
from tests.support.examples import FOLDER
from tests.support.experiments import EXPERIMENT, UNIT, finished, job, phase, train_job
from tests.support.experiments import experiment as manifest
from tests.support.helm import CHART, helm
from tests.support.kubectl import Kubectl
from tests.support.waiting import eventually

pytestmark = pytest.mark.e2e

RELEASE = "chart-test"


@pytest.fixture
def installed(cluster: Cluster, kube: Kubectl) -> Iterator[None]:
    """The chart in the test's namespace, for this namespace only."""
    command = ["upgrade", "--install", RELEASE, str(CHART), "--namespace", kube.namespace]
    values = (
        "crds.enabled=false",
        "image.repository=testbed.local/operator",
        "image.tag=dev",
        f"watchNamespaces={{{kube.namespace}}}",
    )
    command += ["--set", ",".join(values), "--wait", "--timeout", "4m"]
    done = helm(*command, kubeconfig=cluster.kubeconfig)
    assert done.returncode == 0, done.stderr + operators_log(kube)
    yield
    kube.run("delete", f"{EXPERIMENT},{UNIT}", "--all", "--timeout=180s")
    helm("uninstall", RELEASE, "--namespace", kube.namespace, kubeconfig=cluster.kubeconfig)


def operators_log(kube: Kubectl) -> str:
    """The last lines of the operator's pods."""
    selector = f"app.kubernetes.io/instance={RELEASE}"
    return kube.run("logs", "-l", selector, "--prefix", "--tail=40", check=False)


def ended(kube: Kubectl, name: str) -> dict[str, Any]:
    """The experiment once it has ended; on failure the operator's pod is heard, too."""
    return finished(kube, name, timeout=600, more=lambda: operators_log(kube))


def outputs(kube: Kubectl, unit: str) -> dict[str, str]:
    """The outputs of a unit by name."""
    found = kube.get(UNIT, unit)
    assert found is not None
    return {each["name"]: each["value"] for each in found["status"]["outputs"]}


@pytest.mark.usefixtures("installed")
def test_quickstart_really_trains(kube: Kubectl) -> None:
    """Two nodes train on real text, the loss falls, and the last task reads the result."""
    kube.run("apply", "--server-side", "-f", str(FOLDER / "quickstart.yaml"))

    assert ended(kube, "quickstart")["status"]["phase"] == "Succeeded"

    assert int(outputs(kube, "quickstart-prepare")["characters"]) > 100_000
    train = {name: float(value) for name, value in outputs(kube, "quickstart-train").items()}
    evaluation = outputs(kube, "quickstart-evaluate")
    assert train["final_loss"] < 0.5 * train["first_loss"]
    loss = float(evaluation["validation_loss"])
    assert loss < 0.8 * train["first_loss"]
    assert math.isclose(float(evaluation["perplexity"]), math.exp(loss), rel_tol=0.01)
    logs = kube.run("logs", "-l", "runyard.dev/unit=quickstart-evaluate", "--tail=-1")
    assert f"at the last steps  {train['final_loss']:.3f}" in logs


@pytest.mark.usefixtures("installed")
def test_an_experiment_survives_the_operators_pod(kube: Kubectl) -> None:
    """With the chart's rights alone, and the pod killed in the middle, all executors work."""
    kube.apply(
        manifest(
            "inside",
            job("first", "sleep 3; cat data.txt"),
            train_job("second", "sleep 3", after=[{"task": "first"}]),
            code={"inline": [{"path": "data.txt", "content": "x"}]},
        )
    )
    eventually(lambda: phase(kube.get(UNIT, "inside-first")) == "Running", "first runs")
    pods = ("pod", "-l", f"app.kubernetes.io/instance={RELEASE}")
    kube.run("delete", *pods, "--force", "--grace-period=0")
    assert phase(ended(kube, "inside")) == "Succeeded"
    kube.run("delete", EXPERIMENT, "inside", "--timeout=180s")
    kube.apply(manifest("brief", job("only", "true"), ttlSecondsAfterFinished=1))
    eventually(lambda: kube.get(EXPERIMENT, "brief") is None, "its time to live is over")
    eventually(lambda: not kube.list("jobs,trainjobs,trainingruntimes"), "nothing is left")


def leaders_pod(kube: Kubectl) -> str:
    """The name of the pod that leads; empty while none does."""
    found = kube.get("leases.coordination.k8s.io", f"{RELEASE}-runyard") or {}
    pod, _, _ = found.get("spec", {}).get("holderIdentity", "").rpartition("_")
    return str(pod)


def process_of(pod: str) -> int:
    """The operator's process in a pod, as this machine numbers it."""
    host = f"HOSTNAME={pod}".encode()
    for each in Path("/proc").glob("[0-9]*"):
        try:
            environment = (each / "environ").read_bytes().split(b"\0")
            command = (each / "cmdline").read_bytes()
        except OSError:
            continue  # it has just ended
        if host in environment and b"runyard-operator" in command:
            return int(each.name)
    raise AssertionError(f"no operator runs in {pod}")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_the_other_replica_takes_over(
    cluster: Cluster, kube: Kubectl, blow: signal.Signals
) -> None:
    """The leader's process is lost in the middle of an experiment; each Job is made once."""
    old = eventually(lambda: leaders_pod(kube), "a replica leads")
    kube.apply(
        manifest(
            "taken",
            job("first", "sleep 15"),
            job("second", "true", after=[{"task": "first"}]),
        )
    )
    eventually(lambda: phase(kube.get(UNIT, "taken-first")) == "Running", "first runs")
    process = process_of(old)
    os.kill(process, blow)
    struck = time.monotonic()
    new = eventually(
        lambda: pod if (pod := leaders_pod(kube)) not in ("", old) else None,
        "the other leads",
        explain=lambda: operators_log(kube),
    )
    print(f"takeover after {blow.name}: {time.monotonic() - struck:.1f} s")
    assert new != old
    if blow is signal.SIGSTOP:
        os.kill(process, signal.SIGCONT)
    assert phase(ended(kube, "taken")) == "Succeeded"
    counts = audit.created(cluster.audit_log, kube.namespace, "jobs")
    assert counts == {("jobs", "taken-first-1"): 1, ("jobs", "taken-second-1"): 1}
    # Kubernetes has started the old one again: it stands by.
    kube.run("rollout", "status", f"deployment/{RELEASE}-runyard", "--timeout=180s")
    assert leaders_pod(kube) == new


def test_an_upgrade_and_an_uninstall_leave_experiments(
    cluster: Cluster, kube: Kubectl, installed: None
) -> None:
    """Neither changes anything of a finished experiment."""
    kube.apply(manifest("kept", job("only", "true")))
    before = ended(kube, "kept")
    eventually(
        lambda: not any(e["metadata"].get("finalizers") for e in kube.list(f"{EXPERIMENT},{UNIT}")),
        "nothing waits for the operator",
    )
    release = (RELEASE, "--namespace", kube.namespace)
    upgrade = ("upgrade", RELEASE, str(CHART), "--namespace", kube.namespace)
    done = helm(*upgrade, "--reuse-values", "--wait", kubeconfig=cluster.kubeconfig)
    assert done.returncode == 0, done.stderr
    done = helm("uninstall", *release, "--wait", kubeconfig=cluster.kubeconfig)
    assert done.returncode == 0, done.stderr
    after = kube.get(EXPERIMENT, "kept")
    assert after is not None
    assert after["status"] == before["status"]
