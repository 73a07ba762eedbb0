"""Measures the operator on a real API server: `python -m tests.bench.bench_operator`.

No kubelet runs: the test's own one (tests/support/kubelet.py) moves the pods on, so the figures are
those of the operator and the API server alone. Times come from the API server's audit log.

Prints, as minimum, median and maximum:
  first pod       from the creation of an Experiment to the creation of its first pod, in seconds
  parent to child from the last write to a parent's Job status to the creation of the child's Job
  API writes      of the operator for each task, and for each experiment beside its tasks
  memory          the operator's resident memory at the end, in MiB
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from testbed.cluster import Cluster, running_cluster
from tests.support import crds
from tests.support.experiments import TERMINAL, experiment, job, phase
from tests.support.kubectl import Kubectl
from tests.support.kubelet import Kubelet
from tests.support.operator import OperatorProcess
from tests.support.waiting import eventually

WRITES = frozenset({"create", "update", "patch", "delete"})


def events(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    """The audit log's finished requests about one namespace, in order."""
    lines = cluster.audit_log.read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines if namespace in line]
    return [each for each in found if each.get("objectRef", {}).get("namespace") == namespace]


def at(event: dict[str, Any]) -> float:
    """When the request was answered, in seconds."""
    return datetime.fromisoformat(event["stageTimestamp"]).timestamp()


def first(
    found: Iterable[dict[str, Any]], verb: str, resource: str, name: str, sub: str | None = None
) -> float | None:
    """When the first such request on an object whose name begins so was answered."""
    for each in found:
        target = each["objectRef"]
        if (
            each["verb"] == verb
            and target["resource"] == resource
            and target.get("subresource") == sub
            and str(target.get("name", "")).startswith(name)
        ):
            return at(each)
    return None


def first_pod(found: Iterable[dict[str, Any]], after: float) -> float | None:
    """When the first pod after a moment was created; the log does not have generated names."""
    times = [
        at(each)
        for each in found
        if each["verb"] == "create"
        and each["objectRef"]["resource"] == "pods"
        and not each["objectRef"].get("subresource")
    ]
    return min((each for each in times if each >= after), default=None)


def last_status(found: Sequence[dict[str, Any]], name: str) -> float | None:
    """When the status of a Job was last written."""
    times = [
        at(each)
        for each in found
        if each["objectRef"]["resource"] == "jobs"
        and each["objectRef"].get("subresource") == "status"
        and each["objectRef"].get("name") == name
    ]
    return max(times, default=None)


def line(title: str, unit: str, values: Sequence[float | None]) -> str:
    """One row of the table."""
    known = [value for value in values if value is not None]
    if not known:
        return f"{title:<18} no data"
    low, middle, high = min(known), statistics.median(known), max(known)
    return f"{title:<18} {low:8.3f} {middle:8.3f} {high:8.3f}  {unit}  (n={len(known)})"


def measure(cluster: Cluster, runs: int, length: int) -> list[str]:
    """Runs chains of `length` tasks one after the other and returns the table's rows."""
    with cluster.fresh_namespace(wait=False) as namespace, tempfile.TemporaryDirectory() as folder:
        kube = Kubectl(cluster.home.root / "bin" / "kubectl", cluster.kubeconfig, namespace)
        crds.install(kube)
        operator = OperatorProcess(
            cluster.kubeconfig, Path(folder) / "operator.log", namespaces=(namespace,)
        )
        operator.start()
        try:
            with Kubelet(kube):
                for number in range(runs):
                    _run_chain(kube, f"bench{number}", length)
            memory = _memory(operator.metrics())
        finally:
            operator.stop()
        return _table(events(cluster, namespace), runs, length, memory)


def _run_chain(kube: Kubectl, name: str, length: int) -> None:
    tasks = [job("t0", "true")]
    tasks += [job(f"t{n}", "true", after=[{"task": f"t{n - 1}"}]) for n in range(1, length)]
    kube.run("create", "-f", "-", stdin=json.dumps(experiment(name, *tasks)))
    eventually(lambda: phase(kube.get("experiments.runyard.dev", name)) in TERMINAL, f"{name} ends")


def _memory(metrics: str) -> float:
    wanted = (row for row in metrics.splitlines() if row.startswith("process_resident_memory"))
    return float(next(wanted).split()[1]) / 2**20


def _table(found: list[dict[str, Any]], runs: int, length: int, memory: float) -> list[str]:
    pods: list[float | None] = []
    edges: list[float | None] = []
    for number in range(runs):
        name = f"bench{number}"
        born = first(found, "create", "experiments", name)
        pod = first_pod(found, born) if born else None
        pods.append(pod - born if pod and born else None)
        for task in range(1, length):
            ended = last_status(found, f"{name}-t{task - 1}-1")
            child = first(found, "create", "jobs", f"{name}-t{task}-1")
            edges.append(child - ended if child and ended else None)
    ours = [
        each
        for each in found
        if each["verb"] in WRITES and each.get("userAgent", "").startswith("runyard-operator")
    ]
    on_experiments = sum(each["objectRef"]["resource"] == "experiments" for each in ours)
    rest = len(ours) - on_experiments
    return [
        f"{'':<18} {'min':>8} {'median':>8} {'max':>8}",
        line("first pod", "s", pods),
        line("parent to child", "s", edges),
        f"API writes         {rest / (runs * length):8.2f}  for each task",
        f"API writes         {on_experiments / runs:8.2f}  for each experiment of {length} tasks",
        f"memory             {memory:8.1f}  MiB resident",
    ]


def main() -> None:
    """Brings a cluster of level api up, measures, and takes it down."""
    parser = argparse.ArgumentParser(description="Measure the operator.")
    parser.add_argument("--runs", type=int, default=5, help="experiments, one after the other")
    parser.add_argument("--length", type=int, default=4, help="tasks in each experiment")
    args = parser.parse_args()
    with running_cluster("bench") as cluster:
        sys.stdout.write("\n".join(measure(cluster, args.runs, args.length)) + "\n")


if __name__ == "__main__":
    main()
