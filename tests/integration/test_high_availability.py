"""Two operator processes and one lease, on a real API server.

Each process speaks to the API server as a user of its own, so that the audit log tells their writes
apart; what it says of their order is by the API server's clock alone.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import audit
from tests.support.experiments import EXPERIMENT, UNIT, experiment, finished, job, phase
from tests.support.kubectl import Kubectl
from tests.support.kubelet import Kubelet
from tests.support.operator import OperatorProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

LEASE = "leases.coordination.k8s.io"
Recruit = Callable[..., OperatorProcess]


def lease(kube: Kubectl) -> dict[str, Any]:
    """What the Lease says."""
    spec: dict[str, Any] = (kube.get(LEASE, "runyard-operator") or {}).get("spec", {})
    return spec


def user(kube: Kubectl, name: str) -> str:
    """How the API server calls a replica."""
    return f"system:serviceaccount:{kube.namespace}:{name}"


def enlist(kube: Kubectl, name: str, path: Path) -> Path:
    """The kubeconfig of a user who may do everything in the test's namespace."""
    kube.run("create", "serviceaccount", name)
    account = f"--serviceaccount={kube.namespace}:{name}"
    kube.run("create", "rolebinding", name, "--clusterrole=cluster-admin", account)
    token = kube.run("create", "token", name).strip()
    config = json.loads(kube.run("config", "view", "--raw", "-o", "json"))
    for each in config["users"]:
        each["user"] = {"token": token}
    path.write_text(json.dumps(config))
    return path


@pytest.fixture
def recruit(kube: Kubectl, tmp_path: Path) -> Iterator[Recruit]:
    """Starts one replica after the other; at the end the last of them cleans up."""
    recruits: list[OperatorProcess] = []

    def start(name: str, *flags: str) -> OperatorProcess:
        config = enlist(kube, name, tmp_path / f"{name}.kubeconfig")
        process = OperatorProcess(config, tmp_path / f"{name}.log", namespaces=(kube.namespace,))
        process.more = ("--leader-elect", "--operator-namespace", kube.namespace, *flags)
        recruits.append(process)
        process.start()
        return process

    yield start
    if recruits:
        recruits[-1].ensure()
    kube.run("delete", f"{EXPERIMENT},{UNIT}", "--all", "--timeout=120s")
    for each in recruits:
        each.kill()
        print(each.log.name, each.tail(60), sep="\n")


def chain(name: str) -> dict[str, Any]:
    """Three tasks, one after the other."""
    return experiment(
        name,
        job("a", "true"),
        job("b", "true", after=[{"task": "a"}]),
        job("c", "true", after=[{"task": "b"}]),
    )


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_leader_is_replaced(
    kube: Kubectl,
    recruit: Recruit,
    cluster: Any,
    blow: signal.Signals,
) -> None:
    """The standby takes over in the middle of an experiment, and each Job is made exactly once.

    The old leader's last write comes before the new one's first, also when it is let go on.
    """
    first = recruit("first")
    eventually(first.leading, "the first leads", explain=first.tail)
    second = recruit("second")
    assert not second.leading()
    kube.apply(chain("taken"))
    with Kubelet(kube, held={"a"}) as kubelet:
        eventually(lambda: phase(kube.get(UNIT, "taken-a")) == "Running", "a runs")
        before = lease(kube)["leaseTransitions"]
        struck = time.monotonic()
        first.send(blow)
        eventually(second.leading, "the second leads", explain=second.tail)
        print(f"takeover after {blow.name}: {time.monotonic() - struck:.1f} s")
        kubelet.held.clear()
        done = finished(kube, "taken")
    if blow is signal.SIGSTOP:
        first.send(signal.SIGCONT)
        assert first.ended() == 1, first.tail()
    assert phase(done) == "Succeeded"
    assert lease(kube)["leaseTransitions"] == before + 1
    counts = audit.created(cluster.audit_log, kube.namespace, "jobs")
    assert counts == {("jobs", f"taken-{task}-1"): 1 for task in "abc"}
    old, new = (audit.writes(cluster.audit_log, user(kube, name)) for name in ("first", "second"))
    assert old[-1] < new[0]


def test_a_stopped_leader_never_writes_again(kube: Kubectl, recruit: Recruit, cluster: Any) -> None:
    """Continued after its time it ends itself, though there is work and nobody else to do it."""
    only = recruit("only")
    eventually(only.leading, "it leads", explain=only.tail)
    only.send(signal.SIGSTOP)
    kube.apply(chain("late"))
    written = audit.writes(cluster.audit_log, user(kube, "only"))
    assert written
    time.sleep(lease(kube)["leaseDurationSeconds"])
    only.send(signal.SIGCONT)
    assert only.ended() == 1, only.tail()
    assert "it was not renewed in time" in only.tail()
    assert audit.writes(cluster.audit_log, user(kube, "only")) == written
    assert kube.list(UNIT) == []


def test_a_leader_that_is_asked_to_end_hands_over(kube: Kubectl, recruit: Recruit) -> None:
    """It gives the lease back: nobody waits until it runs out, which here takes ten minutes.

    A standby ends as well, and leaves the lease as it is.
    """
    kube.apply({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": "runyard-operator"}})  # fmt: skip
    first = recruit("first", "--lease-seconds", "600")
    eventually(first.leading, "the first leads", explain=first.tail)
    holder = lease(kube)["holderIdentity"]
    standby = recruit("standby")
    assert standby.stop() == 0, standby.tail()
    assert lease(kube)["holderIdentity"] == holder
    # The pause between two looks belongs to the duration, too; this one must not sleep long.
    second = recruit("second")
    assert first.stop() == 0, first.tail()
    eventually(second.leading, "the second leads", explain=second.tail)
    kube.apply(chain("handed"))
    with Kubelet(kube):
        assert phase(finished(kube, "handed")) == "Succeeded"
