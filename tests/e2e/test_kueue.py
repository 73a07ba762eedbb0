"""Queues of a real Kueue, with real pods: quota holds tasks back, and lets them go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.experiments import (
    EXPERIMENT,
    UNIT,
    WORKER,
    experiment,
    finished,
    job,
    phase,
    train_job,
)
from tests.support.kubectl import Kubectl
from tests.support.operator import OperatorProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.e2e

QUEUE = "team"
UNTIL_GO = "trap 'exit 1' TERM; until [ -e /shared/go ]; do sleep 0.1; done"


@pytest.fixture
def cluster_queue(kube: Kubectl) -> Iterator[str]:
    """A ClusterQueue for the namespace, with quota for one pod of 100m CPU."""
    name = kube.namespace
    quota = {"cpu": "100m", "memory": "4Gi"}
    flavor = {
        "name": name,
        "resources": [{"name": key, "nominalQuota": value} for key, value in quota.items()],
    }
    everywhere: list[tuple[str, dict[str, Any]]] = [
        ("ResourceFlavor", {}),
        (
            "ClusterQueue",
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
                "resourceGroups": [{"coveredResources": list(quota), "flavors": [flavor]}],
            },
        ),
    ]
    for kind, spec in everywhere:
        kube.apply(kueue(kind, name, spec))
    yield name
    kube.run("delete", f"clusterqueues/{name}", f"resourceflavors/{name}", "--wait=false")


def kueue(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A manifest of Kueue's own kinds."""
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def queued(task: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The task with a queue, a request that fills its quota, and the folder of the ConfigMap."""
    (block,) = task["executor"].values()
    block |= {
        "cpu": "100m",
        "queueName": QUEUE,
        "volumes": [{"name": "shared", "configMap": {"name": "shared"}}],
        "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
        **more,
    }
    return task


def condition(kube: Kubectl, unit: str, type_: str) -> dict[str, Any]:
    """A condition of the unit; empty while there is none."""
    found = (kube.get(UNIT, unit) or {}).get("status", {}).get("conditions", [])
    return next((each for each in found if each["type"] == type_), {})


def waits_for_its_queue(kube: Kubectl, unit: str) -> bool:
    """Whether the unit says that its queue is not there."""
    running = condition(kube, unit, "Running")
    return running.get("reason") == "Inadmissible" and "doesn't exist" in running["message"]


def waits_for_quota(
    kube: Kubectl, unit: str, words: str = "insufficient unused quota for cpu"
) -> bool:
    """Whether the unit waits, and says with Kueue's words that it is for quota."""
    running = condition(kube, unit, "Running")
    return (
        phase(kube.get(UNIT, unit)) == "Waiting"
        and (running.get("status"), running.get("reason")) == ("False", "Pending")
        and words in running["message"]
        and f"queue '{QUEUE}'" in running["message"]
    )


def test_quota_holds_tasks_back_and_goes_from_one_to_the_next(
    kube: Kubectl, operator: OperatorProcess, cluster_queue: str
) -> None:
    """A suspended Job gives its quota to a TrainJob, and waits for it like any other afterwards."""
    assert operator

    def suspend(wish: str) -> None:
        patch = f'{{"spec": {{"suspend": {wish}}}}}'
        kube.run("patch", EXPERIMENT, "one", "--type=merge", "-p", patch)

    kube.run("create", "configmap", "shared")
    kube.apply(experiment("one", queued(job("a", UNTIL_GO))))
    eventually(lambda: waits_for_its_queue(kube, "one-a"), "the missing queue is named")
    kube.apply(kueue("LocalQueue", QUEUE, {"clusterQueue": cluster_queue}))
    eventually(lambda: phase(kube.get(UNIT, "one-a")) == "Running", "the first runs")
    kube.apply(experiment("two", queued(train_job("b", UNTIL_GO, nodes=1))))
    eventually(lambda: waits_for_quota(kube, "two-b"), "the second waits for quota")
    suspend("true")
    eventually(lambda: phase(kube.get(UNIT, "two-b")) == "Running", "the second has the quota")
    eventually(
        lambda: condition(kube, "one-a", "Suspended")["status"] == "True", "the first holds nothing"
    )
    suspend("false")
    eventually(lambda: waits_for_quota(kube, "one-a"), "the first waits for quota")
    kube.run("patch", "configmap", "shared", "--type=merge", "-p", '{"data": {"go": "1"}}')
    for name, unit in (("two", "two-b"), ("one", "one-a")):
        assert phase(finished(kube, name)) == "Succeeded"
        status = (kube.get(UNIT, unit) or {})["status"]
        assert [each["number"] for each in status["attempts"]] == [1]


def test_a_ray_job_waits_for_quota(
    kube: Kubectl, operator: OperatorProcess, cluster_queue: str
) -> None:
    """No pod of its Ray cluster is made before there is quota for all of them."""
    assert operator
    kube.apply(kueue("LocalQueue", QUEUE, {"clusterQueue": cluster_queue}))
    executor = {
        "image": WORKER,
        "imagePullPolicy": "IfNotPresent",
        "queueName": QUEUE,
        "head": {"cpu": "250m", "memory": "2Gi", "rayStartParams": {"num-cpus": "1"}},
    }
    task = {
        "name": "a",
        "script": {"inline": "import ray; ray.init()", "entrypoint": "python3"},
        "env": [{"name": "RAY_DASHBOARD_STARTUP_TIMEOUT_S", "value": "600"}],
        "executor": {"ray": executor},
    }
    kube.apply(experiment("ray", task))
    eventually(
        lambda: waits_for_quota(kube, "ray-a", "insufficient quota for cpu"), "it waits for quota"
    )
    assert kube.list("pods") == []
    path = "/spec/resourceGroups/0/flavors/0/resources/0/nominalQuota"
    raise_it = [{"op": "replace", "path": path, "value": "4"}]
    kube.run("patch", "clusterqueue", cluster_queue, "--type=json", "-p", json.dumps(raise_it))
    assert phase(finished(kube, "ray", timeout=900)) == "Succeeded"
