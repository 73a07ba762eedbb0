"""The operator from its own image, installed by the chart with the chart's rights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from testbed.cluster import Cluster
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
    """The last lines of the operator's pod."""
    return kube.run("logs", f"deployment/{RELEASE}-runyard", "--tail=40", check=False)


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
    eventually(lambda: not kube.list("jobs,trainjobs,trainingruntimes"), "nothing is left")


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
