"""Compares a chain of tasks with plain Jobs: `python -m tests.bench.bench_chain`.

Runs, on a cluster with real pods, ten plain Jobs that do nothing, one after the other as a shell
script would, and then an Experiment with a chain of ten tasks that do nothing. The operator is a
process of its own beside the cluster. A third run makes plain Jobs with the very pods of the chain:
the difference to the first is the price of the pods (a container that puts the code in place), the
difference to the chain that of the operator. The rounds take turns, so that all meet the same
machine. Prints the seconds of each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from testbed.cluster import Cluster, start_cluster
from tests.bench import scale
from tests.support.experiments import EXPERIMENT, WORKER, experiment, finished, job
from tests.support.kubectl import Kubectl
from tests.support.operator import OperatorProcess

LENGTH = 10


def plain_pod() -> dict[str, Any]:
    """The pod that a task would have had, but for what Runyard adds."""
    container = {
        "name": "main",
        "image": WORKER,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", "true"],
        "resources": {"requests": {"cpu": "50m"}},
    }
    return {"restartPolicy": "Never", "containers": [container]}


def pod_of_chain(kube: Kubectl, name: str) -> dict[str, Any]:
    """The pod of the chain's first task."""
    found = kube.get("jobs", f"{name}-t0-1")
    assert found is not None
    pod: dict[str, Any] = found["spec"]["template"]["spec"]
    return pod


def one_by_one(kube: Kubectl, prefix: str, pod: dict[str, Any]) -> float:
    """Seconds for Jobs one after the other, each created when the one before is complete."""
    started = time.monotonic()
    for number in range(LENGTH):
        name = f"{prefix}-{number}"
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name},
            "spec": {"backoffLimit": 0, "template": {"spec": pod}},
        }
        kube.run("create", "-f", "-", stdin=json.dumps(job))
        kube.run("wait", "--for=condition=Complete", "--timeout=300s", f"job/{name}")
    return time.monotonic() - started


def chain(kube: Kubectl, name: str) -> float:
    """Seconds for the chain, from its creation until it has succeeded."""
    tasks = [job("t0", "true")]
    tasks += [job(f"t{n}", "true", after=[{"task": f"t{n - 1}"}]) for n in range(1, LENGTH)]
    started = time.monotonic()
    kube.run("create", "-f", "-", stdin=json.dumps(experiment(name, *tasks)))
    kube.run(
        "wait", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=600s", f"{EXPERIMENT}/{name}"
    )
    took = time.monotonic() - started
    finished(kube, name)
    return took


def measure(cluster: Cluster, rounds: int) -> list[str]:
    """Runs both, in turns, and returns the table's rows."""
    with cluster.fresh_namespace(wait=False) as namespace, tempfile.TemporaryDirectory() as folder:
        kube = Kubectl(cluster.home.root / "bin" / "kubectl", cluster.kubeconfig, namespace)
        scale.serve_crds(cluster)
        operator = OperatorProcess(
            cluster.kubeconfig, Path(folder) / "operator.log", namespaces=(namespace,)
        )
        operator.start()
        try:
            runs = [_round(kube, number) for number in range(rounds)]
        finally:
            operator.stop()
    runs.append(tuple(statistics.median(each) for each in zip(*runs, strict=True)))
    names = [*map(str, range(1, rounds + 1)), "median"]
    head = f"{'round':>6} {'plain':>8} {'same pods':>10} {'chain':>8} {'chain/plain':>12}"
    return [
        head,
        *(
            f"{name:>6} {run[0]:8.1f} {run[1]:10.1f} {run[2]:8.1f} {run[2] / run[0]:12.2f}"
            for name, run in zip(names, runs, strict=True)
        ),
    ]


def _round(kube: Kubectl, number: int) -> tuple[float, ...]:
    alone = one_by_one(kube, f"plain{number}", plain_pod())
    chained = chain(kube, f"chain{number}")
    same = one_by_one(kube, f"same{number}", pod_of_chain(kube, f"chain{number}"))
    return alone, same, chained


def main() -> None:
    """Joins a cluster with pods, or brings it up; it stays up."""
    parser = argparse.ArgumentParser(description="Compare a chain of tasks with plain Jobs.")
    parser.add_argument("--name", default="runyard", help="the cluster")
    parser.add_argument(
        "--level", default="ml", help="of the cluster; it has the image of the tasks"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often both are run")
    options = parser.parse_args()
    cluster = start_cluster(options.name, options.level, images=("image/operator",))
    sys.stdout.write("\n".join(measure(cluster, options.rounds)) + "\n")


if __name__ == "__main__":
    main()
