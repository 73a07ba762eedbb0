"""executor.ray with real clusters: the examples, a task that fails, and one that is cancelled."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.support import examples
from tests.support.cli import Cli
from tests.support.experiments import EXPERIMENT, UNIT, finished, phase
from tests.support.kubectl import Kubectl
from tests.support.operator import OperatorProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.e2e

PATIENCE = 600.0
"""Ray takes half a minute of a whole core to begin."""
CLUSTER = "rayclusters.ray.io"


@pytest.fixture
def cli(kube: Kubectl) -> Cli:
    """The command line in the test's namespace."""
    return Cli(kube.kubeconfig, kube.namespace)


def example(name: str) -> dict[str, Any]:
    """The experiment of an example, where Ray may be slow to start."""
    found = examples.experiment(examples.FOLDER / name)
    slow = [{"name": "RAY_DASHBOARD_STARTUP_TIMEOUT_S", "value": "600"}]
    found["spec"]["tasks"][0].setdefault("env", []).extend(slow)
    return found


def borrowing(name: str, text: str) -> dict[str, Any]:
    """A further task on the example's cluster."""
    return {
        "name": name,
        "after": [{"task": "cluster"}],
        "script": {"inline": text},
        "executor": {"ray": {"clusterFrom": {"task": "cluster"}}},
        "allowFailure": True,
    }


def units_of(kube: Kubectl) -> dict[str, dict[str, Any]]:
    """The units by task."""
    return {each["spec"]["task"]: each for each in kube.list(UNIT)}


def ray_jobs(kube: Kubectl) -> dict[str, str]:
    """What the shared cluster itself says of its jobs, by unit."""
    (head,) = (
        each["metadata"]["name"]
        for each in kube.list("pods")
        if each["metadata"]["labels"].get("ray.io/node-type") == "head"
    )
    code = (
        "import json, urllib.request as r;"
        "d = json.load(r.urlopen('http://127.0.0.1:8265/api/jobs/'));"
        "print(json.dumps({e['metadata']['unit']: e['status'] for e in d}))"
    )
    found: dict[str, str] = yaml.safe_load(
        kube.run("exec", head, "-c", "ray-head", "--", "python3", "-c", code)
    )
    return found


def test_tasks_share_a_cluster(kube: Kubectl, operator: OperatorProcess, cli: Cli) -> None:
    """One hands its output on, one fails, one is cancelled; then the cluster goes."""
    whole = example("ray-cluster.yaml")
    whole["spec"]["tasks"] += [
        borrowing("fails", "echo going down; printf 'without an end of line'; exit 3"),
        borrowing("endless", "echo begins; while :; do sleep 0.2; done"),
        # As long as it waits, the cluster stays.
        {**borrowing("last", "true"), "approval": {}},
    ]
    kube.apply(whole)

    eventually(
        lambda: (
            phase(kube.get(UNIT, "ray-cluster-endless")) == "Running"
            and phase(kube.get(UNIT, "ray-cluster-again")) == "Succeeded"
        ),
        "the endless task runs, and the others are through",
        timeout=PATIENCE,
        explain=lambda: kube.run("get", f"{EXPERIMENT},{UNIT},pods,rayjobs,events", check=False),
    )
    kube.run("patch", UNIT, "ray-cluster-endless", "--type=merge", "-p", '{"spec":{"cancel":true}}')
    eventually(
        lambda: phase(kube.get(UNIT, "ray-cluster-endless")) == "Cancelled",
        "the endless task is cancelled",
    )
    # The unit says Cancelled when Ray has stopped the job, not when it was asked to.
    assert ray_jobs(kube)["ray-cluster-endless"] == "STOPPED"
    assert cli.run("approve", "ray-cluster", "last").returncode == 0

    finished(kube, "ray-cluster", timeout=PATIENCE)
    units = units_of(kube)
    assert {name: phase(unit) for name, unit in units.items()} == {
        "cluster": "Succeeded",
        "square": "Succeeded",
        "again": "Succeeded",
        "fails": "Failed",
        "endless": "Cancelled",
        "last": "Succeeded",
    }
    assert units["square"]["status"]["outputs"] == [{"name": "total", "value": "14"}]
    (failed,) = units["fails"]["status"]["attempts"]
    assert (failed["exitCode"], failed["failureClass"]) == (3, "Error")
    assert failed["lastLogLines"][-2:] == ["going down", "without an end of line"]
    assert units["cluster"]["status"]["dashboardUrl"].endswith(":8265")
    assert "squares: [1, 4, 9]" in cli.run("logs", "ray-cluster", "square").stdout
    assert "the square of the total: 196" in cli.run("logs", "ray-cluster", "again").stdout
    eventually(lambda: not kube.list(CLUSTER), "the shared cluster is deleted")


def test_a_task_has_a_cluster_of_its_own(
    kube: Kubectl, operator: OperatorProcess, cli: Cli
) -> None:
    """Head and worker have the code; outputs come back, and the cluster goes with the task."""
    kube.apply(example("ray-job.yaml"))
    ended = finished(kube, "ray-job", timeout=PATIENCE)
    assert phase(ended) == "Succeeded", kube.run("get", UNIT, "-o", "yaml")
    (unit,) = kube.list(UNIT)
    assert unit["status"]["outputs"] == [{"name": "rate", "value": "0.3"}]
    log = cli.run("logs", "ray-job", "tune").stdout
    assert "best of 8 on 2 nodes with /data: 0.3" in log
    assert "runyard-" not in log.partition("best of 8")[2]
    eventually(lambda: not kube.list(CLUSTER), "the cluster is deleted")
