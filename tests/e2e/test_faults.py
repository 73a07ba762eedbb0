"""What befalls pods, and what is told of it: memory, evictions, deletions, images; many at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support import audit
from tests.support.experiments import (
    UNIT,
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

# The shell outlives its child: see test_backends_pods.py.
GREEDY = """
[ "$JOB_COMPLETION_INDEX" = 1 ] || sleep 1000
python3 -c 'x = bytearray(400 * 1024 * 1024)'; code=$?; sleep 3; exit $code
"""
TALK = """
import os, socket, time
host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
rank = os.environ["NODE_RANK"]

def tried(call):
    # A pod is in DNS some seconds after it has its address.
    while True:
        try:
            return call()
        except OSError as error:
            print(error)
            time.sleep(0.5)

if rank == "0":
    server = socket.create_server(("", port))
    peer, _ = server.accept()
    name = peer.makefile().readline().strip()
    there = tried(lambda: socket.gethostbyname(name))
    assert there == peer.getpeername()[0], (there, peer.getpeername())
    with open(os.environ["RUNYARD_OUTPUTS"] + "/heard", "w") as file:
        file.write(f"{name} of {os.environ['NNODES']}")
else:
    peer = tried(lambda: socket.create_connection((host, port), timeout=5))
    own = host.replace("-0.", f"-{rank}.", 1)
    peer.sendall(f"{own}\\n".encode())
    peer.recv(1)
"""


def status(kube: Kubectl, name: str) -> dict[str, Any]:
    """The status of a unit; empty before there is one."""
    found: dict[str, Any] = (kube.get(UNIT, name) or {}).get("status", {})
    return found


def with_fields(task: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The task with further fields of its executor."""
    ((kind, block),) = task["executor"].items()
    return {**task, "executor": {kind: {**block, **fields}}}


def pod_of(kube: Kubectl, task: str) -> str:
    """The name of the task's pod once its unit runs."""
    eventually(lambda: phase(kube.get(UNIT, f"faults-{task}")) == "Running", f"{task} runs")
    (pod,) = kube.list("pods", f"runyard.dev/task={task}")
    name: str = pod["metadata"]["name"]
    return name


def evict(kube: Kubectl, pod: str) -> None:
    """What `kubectl drain` does to each pod of a node."""
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": kube.namespace},
    }
    path = f"/api/v1/namespaces/{kube.namespace}/pods/{pod}/eviction"
    kube.run("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def test_what_befalls_pods_is_told_apart(kube: Kubectl, operator: OperatorProcess) -> None:
    """Too little memory on one of two nodes, an eviction, a deletion, an image that is missing."""
    first_only = '[ "$RUNYARD_ATTEMPT" = 2 ] || exec sleep 1000'
    again = {"limit": 1, "failureClasses": ["Preempted"], "backoff": {"seconds": 1}}
    kube.apply(
        experiment(
            "faults",
            with_fields(train_job("memory", GREEDY), memory="64Mi"),
            with_fields(job("indexed", GREEDY), memory="64Mi", nodes=2),
            job("evicted", first_only, retry=again),
            job("deleted", first_only, retry=again),
            with_fields(
                job("image", "true", deadlines={"queuedSeconds": 60}),
                image="testbed.local/none:1",
                imagePullPolicy="Never",
            ),
            failurePolicy="Continue",
        )
    )
    eventually(
        lambda: status(kube, "faults-image").get("reason") == "ErrImageNeverPull",
        "the missing image is told",
        explain=lambda: str(status(kube, "faults-image")),
    )
    evict(kube, pod_of(kube, "evicted"))
    kube.run("delete", "pod", pod_of(kube, "deleted"), "--wait=false")

    done = finished(kube, "faults")
    failed = {each["name"]: each["reason"] for each in done["status"]["failedTasks"]}
    assert failed == {
        "memory": "OutOfMemory",
        "indexed": "OutOfMemory",
        "image": "QueueDeadlineExceeded",
    }
    assert "ErrImageNeverPull" in status(kube, "faults-image")["attempts"][0]["message"]
    for name in ("memory", "indexed"):
        (attempt,) = status(kube, f"faults-{name}")["attempts"]
        assert attempt["failureClass"] == "OutOfMemory"
        assert "-1-" in attempt["message"], "the pod of node 1 is named"
    for name in ("evicted", "deleted"):
        lost, last = status(kube, f"faults-{name}")["attempts"]
        assert lost["failureClass"] == "Preempted"
        # The pod may be gone before it was looked at; the message then names what it may have been.
        assert "evict" in lost["message"].lower()
        assert last["exitCode"] == 0


def test_nodes_of_a_job_know_each_other(kube: Kubectl, operator: OperatorProcess) -> None:
    """A plain program reaches the other node by its name, and node 0 gives the outputs."""
    talk = {
        **job("talk", ""),
        "script": {"path": "talk.py", "entrypoint": "python3"},
        "outputs": [{"name": "heard"}],
    }
    code = {"inline": [{"path": "talk.py", "content": TALK}]}
    kube.apply(experiment("nodes", with_fields(talk, nodes=2), code=code))
    assert phase(finished(kube, "nodes")) == "Succeeded", status(kube, "nodes-talk")
    assert status(kube, "nodes-talk")["outputs"] == [
        {"name": "heard", "value": "nodes-talk-1-1.nodes-talk-1 of 2"}
    ]
    assert [each["metadata"]["name"] for each in kube.list("services")] == ["nodes-talk-1"]
    kube.run("delete", "experiments.runyard.dev", "nodes", "--timeout=180s")
    eventually(lambda: not kube.list("services,jobs,pods"), "nothing is left")


def test_twenty_units_run_at_once(kube: Kubectl, operator: OperatorProcess, cluster: Any) -> None:
    """All members of a matrix start together, none twice, and each tells its own result."""
    kube.apply(
        experiment(
            "many",
            job(
                "member",
                'printf "$NUMBER" > "$RUNYARD_OUTPUTS/number"',
                matrix={"parameters": {"number": [str(number) for number in range(20)]}},
                env=[{"name": "NUMBER", "value": "${matrix.number}"}],
                outputs=[{"name": "number"}],
            ),
        )
    )
    assert phase(finished(kube, "many", timeout=600)) == "Succeeded"
    units = kube.list(UNIT)
    values = [each["status"]["outputs"][0]["value"] for each in units]
    assert sorted(values, key=int) == [str(number) for number in range(20)]
    counts = audit.created(cluster.audit_log, kube.namespace, "jobs")
    assert list(counts.values()) == [1] * 20
