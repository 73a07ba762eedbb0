"""The chart on a cluster with pods: the operator runs inside, with the chart's own rights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.experiments import TERMINAL, experiment, job, phase, train_job
from tests.support.helm import CHART
from tests.support.helm import helm as run_helm
from tests.support.kubectl import Kubectl
from tests.support.waiting import eventually

pytestmark = pytest.mark.e2e

EXPERIMENT = "experiments.runyard.dev"


def helm(kube: Kubectl, *args: str) -> str:
    """The output of a helm command in the test's namespace.

    Raises:
        AssertionError: it failed; with its standard error.
    """
    done = run_helm(*args, "-n", kube.namespace, kubeconfig=kube.kubeconfig)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def installed(kube: Kubectl) -> Iterator[str]:
    """The name of a release whose operator serves only the test's namespace."""
    name = "e2e"
    values = [
        "image.repository=testbed.local/operator",
        "image.tag=dev",
        f"watchNamespaces={{{kube.namespace}}}",
        "crds.enabled=false",
    ]
    sets = [word for value in values for word in ("--set", value)]
    helm(kube, "install", name, str(CHART), *sets, "--wait", "--timeout", "5m")
    yield name
    kube.run("delete", EXPERIMENT, "--all", "--timeout=120s")
    helm(kube, "uninstall", name, "--wait")


def ended(kube: Kubectl, name: str) -> dict[str, Any]:
    """The experiment once it is terminal."""

    def look() -> dict[str, Any] | None:
        found = kube.get(EXPERIMENT, name)
        return found if phase(found) in TERMINAL else None

    def explain() -> str:
        return kube.run("get", f"{EXPERIMENT},pods,events", "-o", "wide", check=False) + kube.run(
            "logs", "-l", "app.kubernetes.io/name=runyard", "--tail=40", check=False
        )

    return eventually(look, f"{name} ends", timeout=300, interval=1, explain=explain)


def test_the_installed_operator_runs_experiments_and_survives_its_pods(
    kube: Kubectl, installed: str
) -> None:
    """With the chart's rights alone, and its pod killed in the middle, all executors work."""
    kube.apply(
        experiment(
            "inside",
            job("first", "sleep 3; cat data.txt"),
            train_job("second", "sleep 3", after=[{"task": "first"}]),
            code={"inline": [{"path": "data.txt", "content": "x"}]},
        )
    )
    eventually(
        lambda: phase(kube.get("executionunits.runyard.dev", "inside-first")) == "Running",
        "first runs",
    )
    kube.run("delete", "pod", "-l", "app.kubernetes.io/name=runyard", "--force", "--grace-period=0")
    assert phase(ended(kube, "inside")) == "Succeeded"
    kube.run("delete", EXPERIMENT, "inside", "--timeout=120s")
    eventually(lambda: not kube.list("jobs,trainjobs,trainingruntimes"), "nothing is left")


def test_uninstalling_leaves_the_users_objects(kube: Kubectl, installed: str) -> None:
    """An upgrade changes nothing of a finished experiment, and uninstalling keeps it."""
    kube.apply(experiment("kept", job("only", "true")))
    before = ended(kube, "kept")
    helm(kube, "upgrade", installed, str(CHART), "--reuse-values", "--wait")
    helm(kube, "uninstall", installed, "--wait")
    after = kube.get(EXPERIMENT, "kept")
    assert after is not None
    assert after["status"] == before["status"]
    sets = ["--set", "image.repository=testbed.local/operator", "--set", "image.tag=dev"]
    helm(kube, "install", installed, str(CHART), *sets, "--set", "crds.enabled=false", "--wait")
