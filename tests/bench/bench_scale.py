"""Measures the operator at scale, on simulated jobs: `python -m tests.bench.bench_scale`.

A real API server and a real operator process share the machine; the jobs are simulated inside the
operator (`tests.support.simulated_operator`) and write nothing. Each scenario has a cluster of its
own. Times come from the API server's audit log, CPU seconds from the processes.

Columns:
  units/s    units divided by the seconds from the first creation to the last terminal status
  writes     API writes of the operator for each unit, the unit's creation included
  p50, p99   from a parent's last status to the creation of its child, in milliseconds
  MiB        the most resident memory of the operator
  cold       from the start of the process until it is ready and has looked at every unit, in s
  CPU ms     for each unit: operator, API server, etcd, controller manager, this benchmark
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.cluster import Cluster, running_cluster
from tests.bench import scale
from tests.support.experiments import EXPERIMENT, TERMINAL, UNIT, experiment

NAMESPACE = "bench-scale"
LENGTH = 10
PATIENCE = 1200.0


@dataclass(slots=True)
class Row:
    """The figures of one scenario."""

    name: str
    units: int
    seconds: float = 0.0
    memory: float = 0.0
    cold: float | None = None
    edges: list[float] = field(default_factory=list)
    writes: Counter[str] = field(default_factory=Counter)
    cpu: dict[str, float] = field(default_factory=dict)

    def text(self) -> str:
        """One line of the table."""
        rate = f"{self.units / self.seconds:8.1f}" if self.seconds else f"{'':8}"
        each = sum(self.writes.values()) / self.units
        low, high = (scale.percentile(self.edges, share) * 1000 for share in (0.5, 0.99))
        edge = f"{low:6.0f} {high:6.0f}" if self.edges else f"{'':13}"
        cold = f"{self.cold:6.1f}" if self.cold is not None else f"{'':6}"
        cpu = " ".join(f"{seconds / self.units * 1000:5.2f}" for seconds in self.cpu.values())
        return (
            f"{self.name:<26} {self.units:6} {rate} {each:6.2f} {edge} {self.memory:6.1f} {cold}"
            f"  {cpu}"
        )

    def details(self) -> str:
        """The writes for each unit, by verb and resource."""
        parts = (f"{what} {n / self.units:.2f}" for what, n in self.writes.most_common())
        return f"  {self.name}: {', '.join(parts)}"


@contextmanager
def _loaded(job_seconds: float) -> Iterator[tuple[Cluster, scale.SimulatedOperator]]:
    """A cluster with an operator that is not started yet."""
    with running_cluster("bench-scale") as cluster, tempfile.TemporaryDirectory() as folder:
        scale.install(cluster, NAMESPACE)
        log = Path(folder) / "operator.log"
        operator = scale.SimulatedOperator(cluster.kubeconfig, log, NAMESPACE, job_seconds)
        try:
            yield cluster, operator
        finally:
            operator.stop()


def throughput(
    name: str,
    kind: str,
    manifests: list[dict[str, Any]],
    units: int,
    *,
    chains: dict[str, int] | None = None,
    profile: Path | None = None,
) -> Row:
    """Creates the objects and waits until all have ended."""
    row = Row(name, units)
    with _loaded(1.0) as (cluster, operator):
        operator.start()
        cpu = scale.Cpu(cluster, operator.pid)
        sampler = scale.profile(operator.pid, 600, profile) if profile else None
        cpu.begin()
        scale.create(cluster.kubeconfig, NAMESPACE, manifests)
        scale.until(
            lambda: scale.all_in(cluster, NAMESPACE, kind, *TERMINAL),
            f"the end of all {kind}",
            timeout=PATIENCE,
            interval=2.0,
        )
        row.cpu = cpu.spent()
        row.memory = scale.memory(operator.pid)
        if sampler:
            scale.end(sampler)
        # The last finalizers go after the last status.
        scale.until(lambda: _idle(operator), "idleness", timeout=60, interval=0.5)
        found = scale.writes(cluster.audit_log, NAMESPACE)
    row.seconds = scale.span(found)
    row.edges = scale.edges(found, chains or {})
    row.writes = scale.of_operator(found, kind.partition(".")[0])
    return row


def _idle(operator: scale.SimulatedOperator) -> bool:
    return operator.value("runyard_queue_keys ") == 0


def standalone(units: int, profile: Path | None = None) -> Row:
    """Units that users wrote themselves."""
    manifests = [scale.unit(f"u{number}") for number in range(units)]
    return throughput(f"{units} units alone", UNIT, manifests, units, profile=profile)


def experiments(units: int, profile: Path | None = None) -> Row:
    """Experiments of a hundred independent tasks."""
    tasks = [scale.task(f"t{number}") for number in range(100)]
    manifests = [experiment(f"e{number}", *tasks) for number in range(units // 100)]
    name = f"{units // 100} experiments of 100"
    return throughput(name, EXPERIMENT, manifests, units, profile=profile)


def chains(number: int, profile: Path | None = None) -> Row:
    """Chains of ten tasks, all at once."""
    tasks = [scale.task("t0")]
    tasks += [scale.task(f"t{n}", after=[{"task": f"t{n - 1}"}]) for n in range(1, LENGTH)]
    names = {f"c{each}": LENGTH for each in range(number)}
    manifests = [experiment(each, *tasks) for each in names]
    title = f"{number} chains of {LENGTH}"
    units = number * LENGTH
    return throughput(title, EXPERIMENT, manifests, units, chains=names, profile=profile)


def cold(units: int, profile: Path | None = None) -> Row:
    """A start of the operator over units that all run.

    One unit is brought to Running by the operator; the others are copies of it.
    """
    row = Row(f"cold start, {units} running", units)
    with _loaded(86_400.0) as (cluster, operator):
        operator.start()
        scale.create(cluster.kubeconfig, NAMESPACE, [scale.unit("first")])
        scale.until(
            lambda: scale.all_in(cluster, NAMESPACE, UNIT, "Running"),
            "the first unit runs",
            timeout=60,
            interval=0.2,
        )
        operator.kill()
        scale.multiply(cluster, NAMESPACE, UNIT, "first", units - 1)
        started = time.monotonic()
        operator.start(wait_ready=False)
        cpu = scale.Cpu(cluster, operator.pid)
        sampler = scale.profile(operator.pid, 60, profile) if profile else None
        reconciles = 'runyard_reconcile_seconds_count{kind="ExecutionUnit"}'
        scale.until(
            lambda: operator.value(reconciles) >= units and _idle(operator) and operator.ready(),
            "all units were looked at",
            timeout=PATIENCE,
            interval=0.5,
        )
        row.cold = time.monotonic() - started
        row.memory = scale.memory(operator.pid)
        row.cpu = {"operator": cpu.spent()["operator"]}
        if sampler:
            scale.end(sampler)
    return row


SCENARIOS: dict[str, Callable[[int, Path | None], Row]] = {
    "units": standalone,
    "experiments": experiments,
    "chains": chains,
    "cold": cold,
}
DEFAULT = ("units:1000", "units:5000", "units:10000", "experiments:1000", "experiments:5000",
           "chains:20", "cold:5000")  # fmt: skip


def main() -> None:
    """Runs the scenarios one after the other and prints one table."""
    parser = argparse.ArgumentParser(description="Measure the operator at scale.")
    parser.add_argument("scenario", nargs="*", help=f"kind:number, kinds: {', '.join(SCENARIOS)}")
    parser.add_argument("--profile", type=Path, help="folder for the samples of py-spy")
    options = parser.parse_args()
    rows = []
    for each in options.scenario or DEFAULT:
        kind, _, number = each.partition(":")
        into = options.profile / f"{kind}-{number}.txt" if options.profile else None
        rows.append(SCENARIOS[kind](int(number), into))
        sys.stderr.write(f"{rows[-1].text()}\n")
    header = f"{'':<26} {'units':>6} {'units/s':>8} {'writes':>6} {'p50':>6} {'p99':>6} {'MiB':>6}"
    sys.stdout.write(f"{header} {'cold':>6}  CPU ms\n")
    sys.stdout.write("".join(f"{row.text()}\n" for row in rows))
    sys.stdout.write("Writes for each unit:\n")
    sys.stdout.write("".join(f"{row.details()}\n" for row in rows))


if __name__ == "__main__":
    main()
