"""What `bench_scale` measures with: a loaded cluster, the processes' CPU, and the audit log."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from runyard.api.constants import API_VERSION
from runyard_operator.engine import naming
from runyard_operator.kube import HttpKubeApi, load_configuration
from testbed.cluster import Cluster
from tests.support.experiments import UNIT
from tests.support.operator import OperatorProcess

CRDS = Path(__file__).parents[2] / "crds"
IMAGE = "registry.example/none:1"
_CREATORS = 8
_TICKS = os.sysconf("SC_CLK_TCK")


class SimulatedOperator(OperatorProcess):
    """The operator's process with simulated jobs; see `tests.support.simulated_operator`."""

    def __init__(self, kubeconfig: Path, log: Path, namespace: str, seconds: float) -> None:
        super().__init__(kubeconfig, log, namespaces=(namespace,))
        self.module = "tests.support.simulated_operator"
        self.more = ("--job-seconds", str(seconds))

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def value(self, name: str) -> float:
        """The sum of the samples of /metrics whose line begins with `name`."""
        rows = (row for row in self.metrics().splitlines() if row.startswith(name))
        return sum(float(row.rsplit(" ", 1)[1]) for row in rows)


def unit(name: str) -> dict[str, Any]:
    """An ExecutionUnit of its own."""
    return {
        "apiVersion": "runyard.dev/v1alpha1",
        "kind": "ExecutionUnit",
        "metadata": {"name": name},
        "spec": _work(),
    }


def task(name: str, **more: Any) -> dict[str, Any]:
    """A task that would do nothing."""
    return {"name": name, **_work(), **more}


def _work() -> dict[str, Any]:
    return {
        "script": {"inline": "true", "entrypoint": "sh"},
        "executor": {"job": {"image": IMAGE, "cpu": "1", "memory": "1Gi"}},
    }


def create(kubeconfig: Path, namespace: str, manifests: Iterable[dict[str, Any]]) -> None:
    """Creates the objects, several at once, as fast as the API server takes them."""
    asyncio.run(_create(kubeconfig, namespace, manifests))


async def _create(kubeconfig: Path, namespace: str, manifests: Iterable[dict[str, Any]]) -> None:
    kube = HttpKubeApi(await load_configuration(str(kubeconfig)))
    left = iter(manifests)

    async def some() -> None:
        for each in left:
            each["metadata"]["namespace"] = namespace
            await kube.create(each)

    try:
        await asyncio.gather(*(some() for _ in range(_CREATORS)))
    finally:
        await kube.close()


def multiply(cluster: Cluster, namespace: str, kind: str, name: str, copies: int) -> None:
    """Makes copies of a unit, with its finalizers and its status; each has a key of its own."""
    model = json.loads(cluster.kubectl("-n", namespace, "get", kind, name, "-o", "json"))
    asyncio.run(_multiply(cluster.kubeconfig, model, copies))


async def _multiply(kubeconfig: Path, model: Mapping[str, Any], copies: int) -> None:
    kube = HttpKubeApi(await load_configuration(str(kubeconfig)))
    left = iter(range(copies))

    async def some() -> None:
        for number in left:
            kept = {key: model["metadata"].get(key) for key in ("namespace", "finalizers")}
            head = {key: model[key] for key in ("apiVersion", "kind")}
            name = {**kept, "name": f"u{number}"}
            made = await kube.create({**head, "metadata": name, "spec": model["spec"]})
            attempts = [
                {**each, "key": naming.attempt_key(made["metadata"]["uid"], each["number"])}
                for each in model["status"]["attempts"]
            ]
            version = made["metadata"]["resourceVersion"]
            status = {**model["status"], "attempts": attempts}
            copy = {**head, "metadata": {**name, "resourceVersion": version}, "status": status}
            await kube.apply(copy, manager="runyard-operator", subresource="status")

    try:
        await asyncio.gather(*(some() for _ in range(_CREATORS)))
    finally:
        await kube.close()


def install(cluster: Cluster, namespace: str) -> None:
    """The CRDs, and a namespace."""
    serve_crds(cluster)
    cluster.kubectl("create", "namespace", namespace)


def serve_crds(cluster: Cluster) -> None:
    """Installs the CRDs and waits until they are served."""
    cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
    # kubectl's own wait gives up on a CRD that has no conditions yet.
    until(lambda: _established(cluster), "the CRDs are served", timeout=120, interval=0.5)


def _established(cluster: Cluster) -> bool:
    found = json.loads(cluster.kubectl("get", "-f", str(CRDS), "-o", "json"))["items"]
    return all(
        any(
            condition["type"] == "Established" and condition["status"] == "True"
            for condition in each.get("status", {}).get("conditions") or ()
        )
        for each in found
    )


def all_in(cluster: Cluster, namespace: str, kind: str, *phases: str) -> bool:
    """Whether every object is in one of these phases; reads one object at most."""
    selector = ",".join(f"status.phase!={each}" for each in phases)
    plural = kind.partition(".")[0]
    found = cluster.kubectl(
        "get", "--raw",
        f"/apis/{API_VERSION}/namespaces/{namespace}/{plural}?limit=1&fieldSelector={selector}",
    )  # fmt: skip
    return not json.loads(found)["items"]


@dataclass(slots=True)
class Cpu:
    """The CPU seconds of the processes that share the machine, between two moments."""

    cluster: Cluster
    operator: int
    _before: dict[str, float] = field(default_factory=dict)

    def begin(self) -> None:
        """Takes the first look."""
        self._before = self._now()

    def spent(self) -> dict[str, float]:
        """Seconds since `begin`, by process."""
        return {name: at - self._before.get(name, 0.0) for name, at in self._now().items()}

    def _now(self) -> dict[str, float]:
        pids: dict[str, int | None] = {"operator": self.operator, "benchmark": os.getpid()}
        for name in ("kube-apiserver", "etcd", "kube-controller-manager"):
            pids[name] = self.cluster.pid(name)
        return {name: _cpu_seconds(pid) for name, pid in pids.items() if pid is not None}


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(pid: int, which: str = "VmHWM") -> float:
    """MiB of resident memory: VmHWM for the most so far, VmRSS for now."""
    for row in Path(f"/proc/{pid}/status").read_text().splitlines():
        if row.startswith(f"{which}:"):
            return int(row.split()[1]) / 1024
    return 0.0


def until(done: Callable[[], bool], what: str, *, timeout: float, interval: float) -> None:
    """Waits for a condition.

    Raises:
        TimeoutError: it did not come true in time.
    """
    deadline = time.monotonic() + timeout
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout:g} s: {what}")
        time.sleep(interval)


@dataclass(frozen=True, slots=True)
class Write:
    """One line of the audit log: a write that the API server has answered."""

    at: float
    verb: str
    resource: str
    sub: str
    name: str
    agent: str
    code: int


def writes(log: Path, namespace: str) -> list[Write]:
    """The writes to one namespace, in the order of their answers."""
    found = []
    with log.open(encoding="utf-8") as lines:
        for line in lines:
            if namespace not in line:
                continue
            try:
                event = json.loads(line)
            except ValueError:
                continue
            target = event.get("objectRef", {})
            if target.get("namespace") != namespace:
                continue
            found.append(
                Write(
                    datetime.fromisoformat(event["stageTimestamp"]).timestamp(),
                    event["verb"],
                    target["resource"],
                    target.get("subresource", ""),
                    target.get("name", ""),
                    event.get("userAgent", "").partition("/")[0],
                    event.get("responseStatus", {}).get("code", 0),
                )
            )
    return sorted(found, key=lambda each: each.at)


def of_operator(found: Sequence[Write], creators: str) -> Counter[str]:
    """The operator's writes by verb and resource; `creators` is the kind that the user creates."""
    return Counter(
        f"{each.verb} {each.resource}{'/' + each.sub if each.sub else ''}"
        for each in found
        if each.agent.startswith("runyard-operator")
        and not (each.verb == "create" and each.resource == creators)
    )


def span(found: Sequence[Write]) -> float:
    """Seconds from the first creation to the last status of a unit."""
    born = min(each.at for each in found if each.verb == "create")
    units = UNIT.partition(".")[0]
    ended = max(each.at for each in found if each.resource == units and each.sub == "status")
    return ended - born


def edges(found: Sequence[Write], chains: Mapping[str, int]) -> list[float]:
    """Seconds from each parent's last status to the creation of its child, in chains t0, t1, ..."""
    by_name: dict[str, list[Write]] = defaultdict(list)
    for each in found:
        if each.resource == "executionunits" and each.code < 300:
            by_name[each.name].append(each)
    delays = []
    for chain, length in chains.items():
        for number in range(1, length):
            parent = [each.at for each in by_name[f"{chain}-t{number - 1}"] if each.sub == "status"]
            child = [each.at for each in by_name[f"{chain}-t{number}"] if not each.sub]
            later = [at for at in child if parent and at >= max(parent)]
            if later:
                delays.append(min(later) - max(parent))
    return sorted(delays)


def percentile(values: Sequence[float], share: float) -> float:
    """Of sorted values; not a number when there are none."""
    return values[min(int(len(values) * share), len(values) - 1)] if values else float("nan")


def profile(pid: int, seconds: int, into: Path) -> subprocess.Popen[bytes]:
    """Samples a process with py-spy, where that is installed."""
    command = [str(Path(sys.executable).parent / "py-spy"), "record", "-p", str(pid)]
    command += ["-d", str(seconds), "-r", "200", "-f", "raw", "-o", str(into)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends the sampler and waits until it has written."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
